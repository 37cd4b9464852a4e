//! Values that every layer speaks in: errors, limits, times, positions, names, events, filters.
//!
//! Nothing here knows bytes on disk, a file or a thread.

pub(crate) mod callback;
pub(crate) mod clock;
pub(crate) mod corruption;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod failpoint;
pub(crate) mod filter;
pub(crate) mod filter_index;
pub(crate) mod filter_names;
pub(crate) mod filter_words;
pub(crate) mod finding;
pub(crate) mod fork;
pub(crate) mod head_hash;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod position;
pub(crate) mod progress;
#[cfg(test)]
#[allow(dead_code, reason = "for the proofs")]
pub(crate) mod random;
pub(crate) mod shown;
pub(crate) mod stream;
pub(crate) mod tag;
pub(crate) mod tasks;
pub(crate) mod text;
