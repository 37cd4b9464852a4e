//! The index: the journal's events in stream order. It is derived; the journal is the truth.
//!
//! It joins two modules. `sst` holds the events and the states of their streams, in sorted tables. `kv` holds, in
//! sled, a tree for each table that leads to its index blocks, and the trees `global` (the sparse index), `records`,
//! `snapshots`, `pieces` and `marker`.
//!
//! * It returns the right answer or an error. An index that is missing, damaged, too old or of another store is
//!   replaced by an empty one when it is opened, and its files are quarantined.
//! * It holds every event up to its checkpoint's position, in tables, under its stream and each of its tags, and none
//!   after it. Records and sparse index entries may come from a flush batch that a crash interrupted.
//! * It never rewrites an event, except in a compaction.
//! * The checkpoint is replaced only after everything that it covers is durable.

pub(crate) mod checkpoint;
pub(crate) mod core;
pub(crate) mod flush_batch;
pub(crate) mod ingest;
pub(crate) mod inspect;
pub(crate) mod quarantine;
pub(crate) mod read;
pub(crate) mod read_only;
pub(crate) mod snapshots;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod trees;
pub(crate) mod verify;
