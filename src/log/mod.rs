//! The engine's heart: commits become durable frames, frames become visible, readers find events.
//!
//! * Positions and versions are given out in one place, `admit`, which touches no clock, disk or
//!   channel.
//! * Nobody sees an event before it is durable.
//! * The head is at or past every position that an append has returned.
//! * Readers take the tail first and the index second; what is in neither place does not exist.

pub(crate) mod admit;
pub(crate) mod ahead;
pub(crate) mod audit;
pub(crate) mod commit;
pub(crate) mod control;
pub(crate) mod core;
pub(crate) mod engine;
pub(crate) mod export;
pub(crate) mod gather;
pub(crate) mod group;
pub(crate) mod handle;
pub(crate) mod head;
pub(crate) mod indexer;
pub(crate) mod indexing;
pub(crate) mod located;
pub(crate) mod outcome;
pub(crate) mod read_all;
pub(crate) mod read_stream;
pub(crate) mod streams;
pub(crate) mod tail;
pub(crate) mod turns;
