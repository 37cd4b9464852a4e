//! What can be a tag, and the hash by which memory knows one.

use crate::value::error::{Error, Result};
use crate::value::limits::TAG_BYTES_MAX;
use crate::value::text::has_control;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Whether this can be an event's tag.
pub(crate) fn check_tag(tag: &str) -> Result<()> {
    if tag.is_empty() {
        return Err(Error::invalid("a tag is empty; it needs at least 1 byte"));
    }
    if tag.len() > TAG_BYTES_MAX {
        return Err(Error::too_large("a tag", tag.len(), TAG_BYTES_MAX, "bytes"));
    }
    if has_control(tag) {
        return Err(Error::invalid(format!("tag {tag:?} holds a control character")));
    }
    Ok(())
}

/// A tag's hash. Of its 64 bits, so many as make it seldom that two tags of one memtable share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TagHash(u32);

impl TagHash {
    /// The hash has a key of this process, so that nobody can choose tags that share it.
    pub(crate) fn of(tag: &str) -> TagHash {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        TagHash(KEY.hash_one(tag) as u32)
    }

    /// Spreads the hash over 64 bits: a table of hashes uses both the highest and the lowest bits.
    pub(crate) fn spread(self) -> u64 {
        // 2⁶⁴ over the golden ratio (Knuth's multiplicative hash).
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
