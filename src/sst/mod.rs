//! Sorted tables: the events themselves, in the order of their streams.
//!
//! * A table is written by a flush batch, or by compacting others; it is immutable and durable before a checkpoint
//!   names it. A file that no checkpoint names is nothing, and is removed when the index is opened.
//! * Tables are kept from the oldest to the newest. A stream's events go on from one to the next, without a
//!   gap: so its state is what the newest table that holds it says.
//! * A tree of sled's for each table, keyed by stream and version, leads to its index blocks. If sled loses an
//!   entry, a look-up notices it (`codec::sst::block_index`).

// Numbers of a file that rot has changed come by here.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub(crate) mod block_cache;
pub(crate) mod compaction;
pub(crate) mod cursor;
pub(crate) mod reader;
pub(crate) mod set;
pub(crate) mod writer;
