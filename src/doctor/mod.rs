//! Examines a whole store: finds everything that is wrong with it, and saves what can be saved. Copies a log, changed.
//!
//! Nothing here is needed to append or to read.

pub(crate) mod audit;
pub(crate) mod copy;
pub(crate) mod export;
mod new_journal;
