//! The context of the current thread: the event that it handles, and the trace that it is part of.
//!
//! * Projections, processes and consumers of groups set the event here while they handle it. Commands that they execute
//!   meanwhile are caused by that event.
//! * A wrong cause is worse than none: a thread that holds several unanswered deliveries has no cause.

use crate::telemetry::spans::Entered;
use crate::value::callback::Holding;
use crate::value::error::catch;
use crate::value::event::{Metadata, RecordedEvent};
use crate::value::failpoint::failpoint;
use crate::value::limits::TRACE_LINKS_MAX;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tracing::Span;
use uuid::Uuid;

/// The key of the metadata entry with the trace in which an event was recorded.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The application's part of distributed tracing: returns the trace of the current thread, and links spans of the
/// engine to the traces that caused them. See [`StoreBuilder::trace_context`](crate::StoreBuilder::trace_context).
///
/// Both methods are called while commands are executed and events are handled, with no lock held; they should be quick.
/// They must not commit: a commit is refused. A panic counts as no trace.
pub trait TraceContext: Send + Sync + 'static {
    /// Returns the trace that the current thread is part of, as the value of the header `traceparent` of
    /// [W3C's Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header):
    /// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`, for example. Anything else counts as `None`.
    fn traceparent(&self) -> Option<String>;

    /// Links `span`, in which a follower handles an event, to the trace in which the event was recorded. For a batch of
    /// events, up to 32 traces are linked. By default this does nothing.
    fn link(&self, span: &Span, traceparent: &str) {
        let _ = (span, traceparent);
    }
}

/// An event that is being handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cause {
    event: Uuid,
    correlation: Uuid,
}

impl Cause {
    pub(crate) fn of(event: &RecordedEvent) -> Cause {
        Cause { event: event.id, correlation: correlation_of(event.id, &event.metadata) }
    }
}

/// Returns an event's correlation id: the one in its metadata or, if there is none, its own id.
pub(crate) fn correlation_of(event: Uuid, metadata: &Metadata) -> Uuid {
    metadata.correlation_id.unwrap_or(event)
}

thread_local! {
    static HANDLED: Cell<Option<Cause>> = const { Cell::new(None) };
    /// Whether this thread has ever taken a delivery.
    static TAKES: Cell<bool> = const { Cell::new(false) };
    /// Whether it works for many tasks, so that one of them may take what another one handles.
    static SERVES_MANY: Cell<bool> = const { Cell::new(false) };
    static DELIVERED: RefCell<Delivered> = RefCell::default();
}

/// The deliveries that a thread has taken.
#[derive(Default)]
struct Delivered {
    /// How many of them are unanswered.
    open: Arc<AtomicUsize>,
    /// The last one, and whether it is answered.
    last: Option<(Cause, Arc<AtomicBool>)>,
}

/// A delivery that a thread has taken. Dropping it answers it, on any thread.
pub(crate) struct Taken {
    open: Arc<AtomicUsize>,
    is_answered: Arc<AtomicBool>,
}

impl Taken {
    pub(crate) fn answered(&self) {
        if !self.is_answered.swap(true, Ordering::AcqRel) {
            self.open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.answered();
    }
}

/// A guard: while it lives, the current thread handles an event.
pub(crate) struct Handling(Option<Cause>);

impl Handling {
    #[inline]
    pub(crate) fn begin(event: &RecordedEvent) -> Handling {
        Handling::of(Cause::of(event))
    }

    #[inline]
    pub(crate) fn of(cause: Cause) -> Handling {
        Handling(HANDLED.replace(Some(cause)))
    }
}

impl Drop for Handling {
    #[inline]
    fn drop(&mut self) {
        HANDLED.set(self.0);
    }
}

/// From now on this thread works for many tasks.
#[cfg(feature = "async")]
pub(crate) fn serve_many() {
    SERVES_MANY.set(!failpoint!("context::take_for_all_tasks"));
}

/// Notes that this thread has taken the delivery of `event`; `None` if the thread is ending, or works for many tasks.
pub(crate) fn delivered(event: &RecordedEvent) -> Option<Taken> {
    if SERVES_MANY.get() {
        return None;
    }
    TAKES.set(true);
    let take = |delivered: &RefCell<Delivered>| {
        let mut delivered = delivered.try_borrow_mut().ok()?;
        let (open, is_answered) = (Arc::clone(&delivered.open), Arc::default());
        open.fetch_add(1, Ordering::AcqRel);
        delivered.last = Some((Cause::of(event), Arc::clone(&is_answered)));
        Some(Taken { open, is_answered })
    };
    DELIVERED.try_with(take).ok().flatten()
}

/// Returns the event that the current thread handles, if it is known.
#[inline]
pub(crate) fn current() -> Option<Cause> {
    if failpoint!("context::forget_cause") {
        return None;
    }
    match HANDLED.get() {
        None if TAKES.get() => DELIVERED.try_with(only_delivery).ok().flatten(),
        handled => handled,
    }
}

fn only_delivery(delivered: &RefCell<Delivered>) -> Option<Cause> {
    let delivered = delivered.try_borrow().ok()?;
    let (cause, is_answered) = delivered.last.as_ref()?;
    let is_only = delivered.open.load(Ordering::Acquire) == 1 || failpoint!("context::guess_cause");
    (is_only && !is_answered.load(Ordering::Acquire)).then_some(*cause)
}

/// Like [`stamp`], for a command of a task. It is called on the task, because the thread of the pool that executes the
/// command knows neither the event nor the trace.
#[cfg(feature = "async")]
pub(crate) fn stamp_for_task(metadata: &mut Metadata, hook: Option<&dyn TraceContext>) {
    if !failpoint!("context::stamp_on_the_pool_only") {
        stamp(metadata, hook);
    }
}

/// Sets the cause and the trace in `metadata`, if they are not set.
#[inline]
pub(crate) fn stamp(metadata: &mut Metadata, hook: Option<&dyn TraceContext>) {
    if let Some(cause) = current() {
        metadata.causation_id.get_or_insert(cause.event);
        metadata.correlation_id.get_or_insert(cause.correlation);
    }
    let Some(hook) = hook else { return };
    if !metadata.entries.contains_key(TRACEPARENT)
        && let Some(traceparent) = ask(hook)
    {
        metadata.entries.insert(TRACEPARENT.to_owned(), traceparent);
    }
}

/// Asks the application for the trace of the current thread.
pub(crate) fn ask(hook: &dyn TraceContext) -> Option<String> {
    let _held = Holding::Commits.begin();
    let answer = catch(|| hook.traceparent()).ok().flatten();
    answer.filter(|traceparent| is_traceparent(traceparent))
}

/// Links `span` to the trace in which `event` was recorded.
pub(crate) fn link(hook: Option<&dyn TraceContext>, span: &Entered, event: &RecordedEvent) {
    let Some(hook) = hook else { return };
    if let Some(traceparent) = traceparent_of(event) {
        span.tell(|span| hook.link(span, traceparent));
    }
}

/// Links `span` to the traces in which `events` were recorded: to each once, and to no more than allowed.
#[cold]
pub(crate) fn link_each(hook: Option<&dyn TraceContext>, span: &Entered, events: &[RecordedEvent]) {
    if hook.is_none() {
        return;
    }
    let mut linked = BTreeSet::new();
    for event in events {
        if linked.len() == TRACE_LINKS_MAX {
            return;
        }
        if traceparent_of(event).is_some_and(|traceparent| linked.insert(traceparent)) {
            link(hook, span, event);
        }
    }
}

/// Returns the trace in which `event` was recorded, if its metadata has one.
pub(crate) fn traceparent_of(event: &RecordedEvent) -> Option<&str> {
    let traceparent = event.metadata.entries.get(TRACEPARENT)?;
    is_traceparent(traceparent).then_some(traceparent)
}

/// Returns whether this is a `traceparent` of version 00, with ids in lower case, neither of them zero.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|b| b != b'0');
    let mut parts = text.split('-');
    let mut next = || parts.next().unwrap_or_default();
    let is_one = next() == "00" && is_id(next(), 32) && is_id(next(), 16) && is_hex(next(), 2);
    is_one && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_what_the_standard_says() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn a_hook_that_panics_or_talks_nonsense_says_nothing() {
        struct Hook(&'static str);
        impl TraceContext for Hook {
            fn traceparent(&self) -> Option<String> {
                assert!(!self.0.is_empty(), "asked for nothing");
                Some(self.0.to_owned())
            }
        }
        let stamped = |hook: &Hook| {
            let mut metadata = Metadata::default();
            stamp(&mut metadata, Some(hook));
            metadata
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(stamped(&Hook(good)), Metadata::default().entry(TRACEPARENT, good));
        for bad in ["", "nonsense"] {
            assert_eq!(stamped(&Hook(bad)), Metadata::default());
        }
        // What was said stays.
        let mut said = Metadata::default().entry(TRACEPARENT, "own");
        stamp(&mut said, Some(&Hook(good)));
        assert_eq!(said.entries[TRACEPARENT], "own");
    }
}
