//! Sorted tables: the events themselves, in the order of their streams.
//!
//! * A flush batch or a compaction writes a table. The table is immutable, and durable before a checkpoint names it.
//!   Opening the index removes files that no checkpoint names.
//! * Tables are in order from the oldest to the newest. A stream's events continue from one table to the next without
//!   a gap, so the newest table that holds the stream has its state.
//! * Before its streams, a table has the tags of its events, each with its postings (`codec::sst::posting`).
//! * Each table has a tree in sled, keyed by stream and version, with the places of its index blocks. If sled loses an
//!   entry, a look-up notices it (`codec::sst::block_index`).

// Numbers from damaged files pass through here.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub(crate) mod block_cache;
pub(crate) mod compaction;
pub(crate) mod cursor;
pub(crate) mod finder;
pub(crate) mod postings;
pub(crate) mod reader;
pub(crate) mod set;
pub(crate) mod writer;
