//! The index: the journal's events in stream order, in sled. Derived; the journal is the truth.
//!
//! * What it answers is right, or it answers with an error. An index that is missing, damaged, too
//!   old or not this store's is moved aside when it is opened, and an empty one stands in its place.
//! * It holds every event up to its checkpoint's position. After a crash it may hold some beyond it:
//!   a stream's state tells how far that stream is held, and the runs were durable before the state
//!   was, so a state never promises what is not there.
//! * A state never goes back, and a run that a state promises is never written again.
//! * The checkpoint is replaced after all that it covers is durable.

pub(crate) mod aside;
pub(crate) mod checkpoint;
pub(crate) mod core;
pub(crate) mod database;
pub(crate) mod files;
pub(crate) mod inspect;
pub(crate) mod pace;
pub(crate) mod pieces;
pub(crate) mod read;
pub(crate) mod snapshots;
#[cfg(test)]
mod tests;
pub(crate) mod trees;
pub(crate) mod verify;
pub(crate) mod views;
pub(crate) mod window;
pub(crate) mod write;
