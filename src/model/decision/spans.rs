//! What decisions tell those who listen to their spans.

use crate::model::decision::outcome::{DecideError, Decided};
use crate::telemetry::spans::{Entered, enter_span};

/// The span of a decision.
pub(super) fn decide() -> Entered {
    enter_span!(
        INFO,
        "decide",
        db.system.name = "filmstrip",
        db.operation.name = "decide",
        filmstrip.retries = tracing::field::Empty,
        filmstrip.outcome = tracing::field::Empty,
        error.r#type = tracing::field::Empty,
    )
}

/// Tells how a decision has ended.
#[cold]
pub(super) fn tell<T, E>(span: &Entered, outcome: &Result<Decided<T>, DecideError<E>>) {
    match outcome {
        Ok(decided) => {
            span.record("filmstrip.retries", decided.retries);
            let is_new = !decided.already_executed;
            span.outcome(if is_new { "done" } else { "already_executed" }, None);
        }
        Err(DecideError::Rejected(_)) => span.outcome("rejected", None),
        Err(DecideError::Conflict(_)) => span.outcome("conflict", None),
        Err(DecideError::Store(error)) => span.outcome("failed", Some(error)),
    }
}
