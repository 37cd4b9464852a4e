//! The bytes on disk: pure functions between values and bytes, each with a golden-byte test.
//!
//! Nothing here uses files. Integers are little-endian, except in sled keys, where byte order matters.
//! `docs/FORMAT.md` describes every form.

// Numbers from damaged files pass through here.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub(crate) mod aggregate;
pub(crate) mod bin;
pub(crate) mod checkpoint;
pub(crate) mod cursor;
pub(crate) mod digest;
pub(crate) mod entry;
pub(crate) mod envelope;
pub(crate) mod extras;
pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod keys;
pub(crate) mod length;
pub(crate) mod overflow;
pub(crate) mod parked;
#[cfg(feature = "erasure")]
pub(crate) mod private_part;
pub(crate) mod process;
pub(crate) mod projection;
pub(crate) mod record;
pub(crate) mod row;
#[cfg(feature = "erasure")]
pub(crate) mod sealed_envelope;
pub(crate) mod snapshot;
pub(crate) mod sparse_index;
pub(crate) mod sst;
pub(crate) mod state;
pub(crate) mod step_words;
pub(crate) mod tags;
pub(crate) mod varint;
pub(crate) mod view_entry;
pub(crate) mod views;
