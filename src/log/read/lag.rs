//! How far something that follows the log is from its head.

use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use std::sync::Arc;

/// Returns the number of events after `position`, and the seconds since the first of them was recorded: NaN while the
/// index is being rebuilt, or if the event cannot be read. A follower that stopped at damage must still be shown.
pub(crate) fn lag(log: &Arc<Log>, position: u64) -> Result<(u64, f64)> {
    let lag = log.head.position().saturating_sub(position);
    if lag == 0 {
        return Ok((0, 0.0));
    }
    if log.index.is_busy() {
        return Ok((lag, f64::NAN));
    }
    let frame = match FrameCursor::new(Arc::clone(log)).frame_holding(position + 1) {
        Ok(frame) => frame,
        Err(_) if !failpoint!("stats::fail_at_damage") => return Ok((lag, f64::NAN)),
        Err(error) => return Err(error),
    };
    let micros = log.now().0.saturating_sub(frame.header.time.0).max(0);
    Ok((lag, micros as f64 / 1e6))
}
