//! A step that has failed, and whose fault that is.

use crate::codec::process::StoredStep;
use crate::codec::step_words::StepEvent;
use crate::model::policy::{is_down, of_store, outage_delay};
use crate::value::error::HandlerError;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use std::time::Duration;

/// An instance whose step fails.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failing {
    /// So often through its own fault.
    pub(super) failures: u32,
    /// So often through that of a store, which passes by itself.
    pub(super) outages: u32,
}

/// A step that has failed.
pub(super) struct Failed {
    pub(super) step: StoredStep,
    /// What it is, in words.
    pub(super) at: String,
    pub(super) cause: HandlerError,
}

/// Whose fault a failure is.
pub(super) enum Fault {
    /// Nobody's for long: it is tried again after this time.
    Passing(Duration),
    /// Every instance's: its store does not work.
    Store,
    Instance,
}

/// Whose fault a failure is, and if it passes, when it is tried again after so many.
pub(super) fn fault_of(cause: &HandlerError, outages: u32) -> Fault {
    let Some(error) = of_store(&**cause) else { return Fault::Instance };
    if failpoint!("process::blame_instance_for_outage") {
        return Fault::Instance;
    }
    if let Some(delay) = outage_delay(&error, outages) {
        return Fault::Passing(delay);
    }
    if is_down(&error) { Fault::Store } else { Fault::Instance }
}

/// An event as a step names it.
pub(super) fn step_event(event: &RecordedEvent) -> StepEvent<'_> {
    let RecordedEvent { position, event_type, stream, .. } = event;
    StepEvent { position: position.get(), event_type, stream: stream.as_str() }
}
