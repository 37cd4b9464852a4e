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

/// Makes a span that is never entered: of what a task waits for, which has no thread. Takes what [`enter_span`] takes.
#[cfg(feature = "async")]
macro_rules! task_span {
    ($level:ident, $name:literal $($fields:tt)*) => {
        $crate::telemetry::spans::TaskSpan::new(
            tracing::level_filters::LevelFilter::$level,
            || tracing::span!(target: "filmstrip", tracing::Level::$level, $name $($fields)*),
        )
    };
}
#[cfg(feature = "async")]
pub(crate) use task_span;

/// A span that is entered, if anybody listens.
pub(crate) type Entered = Listened<EnteredSpan>;

/// A span that is not entered, if anybody listens.
#[cfg(feature = "async")]
pub(crate) type TaskSpan = Listened<Opened>;

/// A span, entered or not, if anybody listens.
pub(crate) struct Listened<S>(Option<S>);

/// A span that was made.
pub(crate) trait Listening: Sized {
    fn begin(span: Span) -> Self;
    fn span(&self) -> &Span;
}

impl Listening for EnteredSpan {
    fn begin(span: Span) -> EnteredSpan {
        span.entered()
    }

    fn span(&self) -> &Span {
        self
    }
}

#[cfg(feature = "async")]
pub(crate) struct Opened(Span);

#[cfg(feature = "async")]
impl Listening for Opened {
    fn begin(span: Span) -> Opened {
        Opened(span)
    }

    fn span(&self) -> &Span {
        &self.0
    }
}

impl<S: Listening> Listened<S> {
    #[inline]
    pub(crate) fn new(level: LevelFilter, span: impl FnOnce() -> Span) -> Listened<S> {
        // A static that no subscriber has raised, mostly.
        if level > LevelFilter::current() {
            return Listened(None);
        }
        Listened::listened_to(span)
    }

    #[cold]
    fn listened_to(span: impl FnOnce() -> Span) -> Listened<S> {
        let _held = Holding::Commits.begin();
        let span = catch(span).ok().filter(|span| !span.is_disabled());
        Listened(span.and_then(|span| catch(|| S::begin(span)).ok()))
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
            let _ = catch(|| tell(span.span()));
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

impl<S> Drop for Listened<S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            let _held = Holding::Commits.begin();
            let _ = catch(|| drop(span));
        }
    }
}
