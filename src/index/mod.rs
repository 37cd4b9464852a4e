//! The index: the journal's events in stream order. Derived; the journal is the truth.
//!
//! It joins two rooms. `sst` has the events and the states of their streams, in sorted tables. `kv` has, in sled,
//! a tree for each table that leads to its index blocks, and the trees `global` (the sparse index), `records`,
//! `snapshots`, `pieces` and `marker`.
//!
//! * It returns the right answer or an error. An index that is missing, damaged, too old or not this store's is
//!   quarantined when it is opened, and an empty one takes its place.
//! * It holds every event up to its checkpoint's position, in tables, and none after it. Records may be of a
//!   flush batch that a crash cut short.
//! * It never writes an event again, except to compact tables.
//! * The checkpoint is replaced after all that it covers is durable.

pub(crate) mod checkpoint;
pub(crate) mod core;
pub(crate) mod flush_batch;
pub(crate) mod ingest;
pub(crate) mod inspect;
pub(crate) mod quarantine;
pub(crate) mod read;
pub(crate) mod snapshots;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod trees;
pub(crate) mod verify;
