//! The journal: append-only segment files in time order. It is the truth; the index is derived.
//!
//! * A frame is acknowledged only after one `fdatasync` that followed its one write.
//! * Only one write is ever in flight, and each is one frame.
//! * A segment file has its final name only when it is zero-filled, its header is synced, and its
//!   directory entry is synced: so a segment that is short or headless is damaged, never torn.
//! * What is before the last frame is never cut away, whatever happened to it.
//!
//! Nothing here knows streams' heads, the index or a caller: bytes in, frames out.

// Numbers of a file that rot has changed come by here.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub(crate) mod backup;
pub(crate) mod lenient_scan;
pub(crate) mod manifest;
pub(crate) mod names;
pub(crate) mod prepare;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod segment;
pub(crate) mod torn;
pub(crate) mod watermark;
pub(crate) mod write;

#[cfg(test)]
mod tests;
