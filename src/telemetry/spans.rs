//! Spans of `tracing`: what the engine is doing, for those who listen.
//!
//! * Without a subscriber a span is one look at a static. Nothing of an event's payload is ever in one.
//! * A subscriber is the application's code: it may panic, and must not commit, for a commit has spans itself.

use crate::value::callback::Holding;
use crate::value::error::{Error, Result, catch};
use tracing::Span;
use tracing::field::{Value, debug};
use tracing::level_filters::LevelFilter;
use tracing::span::EnteredSpan;

/// Enters a span until what it returns is dropped. Takes what the macros of `tracing` take: a level, a name, fields.
macro_rules! enter_span {
    ($level:ident, $name:literal $($fields:tt)*) => {
        $crate::telemetry::spans::Entered::new(
            tracing::level_filters::LevelFilter::$level,
            || tracing::span!(target: "filmstrip", tracing::Level::$level, $name $($fields)*),
        )
    };
}
pub(crate) use enter_span;

/// A span that is entered, if anybody listens.
pub(crate) struct Entered(Option<EnteredSpan>);

impl Entered {
    #[inline]
    pub(crate) fn new(level: LevelFilter, span: impl FnOnce() -> Span) -> Entered {
        // A static that no subscriber has raised, mostly.
        if level > LevelFilter::current() {
            return Entered(None);
        }
        Entered::listened_to(span)
    }

    #[cold]
    fn listened_to(span: impl FnOnce() -> Span) -> Entered {
        let _held = Holding::Commits.begin();
        let span = catch(span).ok().filter(|span| !span.is_disabled());
        Entered(span.and_then(|span| catch(|| span.entered()).ok()))
    }

    /// Whether anybody listens to it.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Calls `tell` with the span, if anybody listens.
    #[inline]
    pub(crate) fn tell(&self, tell: impl FnOnce(&Span)) {
        if let Some(span) = &self.0 {
            let _held = Holding::Commits.begin();
            let _ = catch(|| tell(span));
        }
    }

    /// Sets a field that the span was made with.
    #[inline]
    pub(crate) fn record(&self, field: &str, value: impl Value) {
        self.tell(|span| {
            span.record(field, value);
        });
    }

    /// Sets the field `filmstrip.outcome`, and `error.type` to the kind of `error`.
    pub(crate) fn outcome(&self, outcome: &'static str, error: Option<&Error>) {
        self.tell(|span| {
            span.record("filmstrip.outcome", outcome);
            if let Some(error) = error {
                span.record("error.type", debug(error.kind()));
            }
        });
    }

    /// Sets the same fields to `done`, or to `failed` and the kind of the error.
    pub(crate) fn ended<T>(&self, result: &Result<T>) {
        match result {
            Ok(_) => self.outcome("done", None),
            Err(error) => self.outcome("failed", Some(error)),
        }
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            let _held = Holding::Commits.begin();
            let _ = catch(|| drop(span));
        }
    }
}
