//! What the engine counts and times while it works. It reads no file and knows no log.
//!
//! * Hot paths touch a few counters of their own. `store::stats` adds them up.

pub(crate) mod counters;
