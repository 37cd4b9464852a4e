//! What can be a tag.

use crate::value::error::{Error, Result};
use crate::value::limits::TAG_BYTES_MAX;

/// Whether this can be an event's tag.
pub(crate) fn check_tag(tag: &str) -> Result<()> {
    if tag.is_empty() {
        return Err(Error::invalid("a tag is empty; it needs at least 1 byte"));
    }
    if tag.len() > TAG_BYTES_MAX {
        return Err(Error::too_large("a tag", tag.len(), TAG_BYTES_MAX, "bytes"));
    }
    if tag.chars().any(char::is_control) {
        return Err(Error::invalid(format!("tag {tag:?} holds a control character")));
    }
    Ok(())
}
