//! The index: the journal's events in stream order, in sled. Derived; the journal is the truth.
//!
//! * What it answers is right, or it answers with an error. An index that is missing, damaged, too
//!   old or not this store's is moved aside when it is opened, and an empty one stands in its place.
//! * It holds every event up to its checkpoint's position, in `tables`, and none beyond it. Records may
//!   be of the flush batch that a crash cut short.
//! * What it holds of an event is never written again, but by compacting tables.
//! * The checkpoint is replaced after all that it covers is durable.

pub(crate) mod checkpoint;
pub(crate) mod core;
pub(crate) mod flush_batch;
pub(crate) mod ingest;
pub(crate) mod inspect;
pub(crate) mod overflow;
pub(crate) mod quarantine;
pub(crate) mod read;
pub(crate) mod snapshots;
#[cfg(test)]
mod tests;
pub(crate) mod trees;
pub(crate) mod verify;
