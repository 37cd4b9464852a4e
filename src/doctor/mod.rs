//! A store that nobody has open, looked at whole: everything that is wrong with it, and what can be saved.
//!
//! Nothing here is needed to append or to read.

pub(crate) mod audit;
pub(crate) mod export;
