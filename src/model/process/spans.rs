//! The spans of a process's steps.

use crate::model::policy::of_store;
use crate::telemetry::spans::Entered;
use crate::value::error::HandlerError;

/// Enters the span of a step of the process `M` that handles `event` for the instance of `stream`, which is at `place`.
macro_rules! enter_step {
    ($name:literal, $event:expr, $stream:expr, $($place:tt)+) => {
        $crate::telemetry::spans::enter_span!(
            INFO,
            $name,
            messaging.system = "filmstrip",
            messaging.operation.r#type = "process",
            messaging.consumer.group.name = M::NAME,
            messaging.message.id = tracing::field::display($event.id),
            filmstrip.stream = $stream.as_str(),
            $($place)+,
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        )
    };
}
pub(super) use enter_step;

/// Tells how the application's code has ended.
pub(super) fn ended<T>(span: &Entered, result: &Result<T, HandlerError>) {
    match result {
        Ok(_) => span.outcome("done", None),
        Err(cause) if span.is_on() => span.outcome("failed", of_store(&**cause).as_ref()),
        Err(_) => {}
    }
}
