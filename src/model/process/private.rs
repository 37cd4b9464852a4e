//! What may not be recorded of a step that has failed.

use crate::codec::process::StoredStep;
use crate::log::read::event_cursor::EventCursor;
use crate::log::read::private::leaving_sealed;
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::aggregate::stream_in;
use crate::model::process::contract::ProcessManager;
use crate::model::process::runner::Runner;
use crate::value::error::Result;
use crate::value::position::Position;
use std::sync::Arc;

impl<M: ProcessManager> Runner<M> {
    /// Whether the step was handed something private: its event, or the state of its instance. What cannot be found out
    /// is taken for private.
    pub(super) fn is_private(&self, id: &str, step: StoredStep) -> bool {
        if !self.log().privacy.is_marked() {
            return false;
        }
        let event_is = match step {
            StoredStep::Event(position) | StoredStep::Route(position) => {
                self.event_is_private(Position::new(position))
            }
            StoredStep::Effect(_) | StoredStep::Deadline(_) => Ok(false),
        };
        // The instance of a step that could not be routed is not known, and has no name.
        event_is.unwrap_or(true) || (!id.is_empty() && self.instance_is_private(id).unwrap_or(true))
    }

    fn event_is_private(&self, position: Position) -> Result<bool> {
        let event = leaving_sealed(|| EventCursor::new(self.log()).event_at(position))?;
        Ok(event.key_id().is_some())
    }

    fn instance_is_private(&self, id: &str) -> Result<bool> {
        let (log, stream) = (self.log(), stream_in(M::NAME, id)?);
        let Some(state) = log.stream_state(&stream)? else { return Ok(false) };
        let range =
            StreamRange { first: 1, last: state.version.get(), backwards: false, limit: u64::MAX };
        leaving_sealed(|| {
            for event in StreamEvents::new(Arc::clone(log), stream, range) {
                if event?.key_id().is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}
