//! Finds the first event in a range of positions that a filter accepts.

use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
use crate::value::error::Result;
use crate::value::filter::Filter;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The position of the first event after `after` and up to `to` that `filter` accepts. `to` is not past the head.
pub(crate) fn first_match(
    log: &Arc<Log>,
    filter: &Filter,
    after: u64,
    to: u64,
) -> Result<Option<u64>> {
    let mut cursor = FrameCursor::new(Arc::clone(log));
    let mut next = after.saturating_add(1);
    while next <= to {
        log.refuse_if_ended()?;
        let frame = cursor.frame_holding(next)?;
        let wanted = next..=to;
        next = frame.header.next_position();
        if let Some(event) = FrameEvents::new(frame, wanted).next(&log.journal, filter) {
            return Ok(Some(event?.position.get()));
        }
    }
    Ok(None)
}
