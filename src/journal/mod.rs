//! The journal: append-only segment files in time order. It is the truth; the index is derived.
//!
//! * A frame is acknowledged only after one `fdatasync` that followed its one write.
//! * Only one write is ever in flight, and each is one frame.
//! * A segment file gets its final name only after it is filled with zeros and its header is synced, and it is
//!   used only after that name is synced. So a segment that is short or has no header is damaged, never torn.
//! * Nothing before the last frame is ever truncated, whatever its damage.
//!
//! The journal does not know stream heads, the index or its callers.

// Numbers from damaged files pass through here.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub(crate) mod backup;
mod compared;
pub(crate) mod extent;
pub(crate) mod lenient_scan;
pub(crate) mod manifest;
pub(crate) mod names;
pub(crate) mod prepare;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod scattered;
pub(crate) mod segment;
pub(crate) mod shipped;
pub(crate) mod torn;
pub(crate) mod watermark;
pub(crate) mod write;

#[cfg(test)]
mod tests;
