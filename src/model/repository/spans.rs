//! What a repository tells those who listen to its spans.

use crate::model::aggregate::Aggregate;
use crate::model::repository::outcome::{ExecuteError, Executed};
use crate::telemetry::spans::{Entered, enter_span};
use crate::value::stream::StreamId;

/// The span of a command to `stream`.
pub(super) fn execute(stream: &StreamId, category: &str) -> Entered {
    enter_span!(
        INFO,
        "execute",
        db.system.name = "filmstrip",
        db.operation.name = "execute",
        db.collection.name = category,
        filmstrip.stream = stream.as_str(),
        filmstrip.version = tracing::field::Empty,
        filmstrip.retries = tracing::field::Empty,
        filmstrip.outcome = tracing::field::Empty,
        error.r#type = tracing::field::Empty,
    )
}

/// Tells how a command has ended.
#[cold]
pub(super) fn tell<A: Aggregate>(
    span: &Entered,
    outcome: &Result<Executed<A>, ExecuteError<A::Error>>,
) {
    match outcome {
        Ok(executed) => {
            span.record("filmstrip.version", executed.version.get());
            span.record("filmstrip.retries", executed.retries);
            let is_new = !executed.already_executed;
            span.outcome(if is_new { "done" } else { "already_executed" }, None);
        }
        Err(ExecuteError::Rejected(_)) => span.outcome("rejected", None),
        Err(ExecuteError::Conflict(_)) => span.outcome("conflict", None),
        Err(ExecuteError::Store(error)) => span.outcome("failed", Some(error)),
    }
}
