//! The core of the engine: commits become durable frames, frames become visible, readers find events.
//!
//! * Positions and versions are assigned in one place, `admit`, which touches no clock, disk or channel.
//! * Nobody sees an event before it is durable.
//! * The head is at or past every position that an append has returned.
//! * Readers take the tail first and the index second; what is in neither place does not exist.

pub(crate) mod commit;
pub(crate) mod core;
pub(crate) mod engine;
pub(crate) mod handle;
pub(crate) mod indexer;
pub(crate) mod interest;
pub(crate) mod matching;
#[cfg(feature = "async")]
pub(crate) mod pool;
#[cfg(feature = "erasure")]
pub(crate) mod privacy;
pub(crate) mod publish;
#[cfg(feature = "async")]
pub(crate) mod queued;
pub(crate) mod read;
pub(crate) mod replica;
#[cfg(feature = "async")]
pub(crate) mod started_once;
pub(crate) mod tail;
