//! Reads single events by position: events that are retried or were parked.

use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::position::Position;
use std::sync::Arc;

/// Reads single events. Fast if they are read in order, even if a frame holds many of them.
pub(crate) struct EventCursor {
    log: Arc<Log>,
    frames: FrameCursor,
    /// The frame of the last event, read up to that event.
    events: Option<FrameEvents>,
    /// How many frames were looked up.
    #[cfg(test)]
    pub(crate) looked_up: usize,
}

impl EventCursor {
    pub(crate) fn new(log: &Arc<Log>) -> EventCursor {
        EventCursor {
            log: Arc::clone(log),
            frames: FrameCursor::new(Arc::clone(log)),
            events: None,
            #[cfg(test)]
            looked_up: 0,
        }
    }

    /// The event at `position`, which the log must hold.
    pub(crate) fn event_at(&mut self, position: Position) -> Result<RecordedEvent> {
        let wanted = position.get();
        let mut events = match self
            .events
            .take()
            .filter(|events| events.is_before(wanted) && !failpoint!("log::look_up_each_event"))
        {
            Some(events) => events,
            None => {
                #[cfg(test)]
                {
                    self.looked_up += 1;
                }
                self.frames.leave_unless_near(wanted);
                FrameEvents::new(self.frames.frame_holding(wanted)?, wanted..=wanted)
            }
        };
        events.want(wanted..=wanted);
        let event = events.next(&self.log.journal, &Filter::all()).unwrap_or_else(|| {
            let message = format!("the log holds no event at position {position}");
            Err(Error::new(ErrorKind::Corrupt, message))
        })?;
        self.events = Some(events);
        Ok(event)
    }

    /// Drops the frame and ends the scan.
    pub(crate) fn forget(&mut self) {
        self.events = None;
        self.frames.leave();
    }
}
