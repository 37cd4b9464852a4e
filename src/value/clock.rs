//! Where time comes from. The store records UTC microseconds that never decrease along positions.

use crate::value::callback::Holding;
use crate::value::failpoint::failpoint;
use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A source of the present time. The store asks it once for each commit, before it waits for anything.
///
/// A clock may call a store to read, but not to commit, acknowledge, wait or close: that would ask the clock again, and
/// returns [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock).
///
/// Recorded times never decrease: a commit gets the time of the one before if the clock shows an earlier one. See
/// [`Store::clock_behind`](crate::Store::clock_behind).
///
/// ```
/// use filmstrip::{Clock, Store};
/// use chrono::{DateTime, Utc};
///
/// struct Fixed(DateTime<Utc>);
/// impl Clock for Fixed {
///     fn now(&self) -> DateTime<Utc> {
///         self.0
///     }
/// }
/// # let directory = tempfile::tempdir()?;
/// let noon = "2024-05-01T12:00:00Z".parse()?;
/// let store = Store::builder().clock(Fixed(noon)).open(directory.path())?;
/// # store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns the present time.
    fn now(&self) -> DateTime<Utc>;

    /// Registers a waiter for a time, which is to be [told](ClockWatch::tell) whenever the clock is set, that is, moved
    /// by anything other than the passing of time. A clock that only runs needs no such method. If a clock is set
    /// without telling, waiters notice within a minute.
    fn watched_by(&self, watch: ClockWatch) {
        let _ = watch;
    }
}

/// A waiter for a time, to be told when a clock is set. See [`Clock::watched_by`].
///
/// ```
/// use filmstrip::clock::ClockWatch;
/// use filmstrip::Clock;
/// use chrono::{DateTime, Utc};
/// use std::sync::Mutex;
///
/// struct Settable {
///     now: Mutex<DateTime<Utc>>,
///     watches: Mutex<Vec<ClockWatch>>,
/// }
/// impl Settable {
///     fn set(&self, now: DateTime<Utc>) {
///         *self.now.lock().unwrap() = now;
///         self.watches.lock().unwrap().retain(ClockWatch::tell);
///     }
/// }
/// impl Clock for Settable {
///     fn now(&self) -> DateTime<Utc> {
///         *self.now.lock().unwrap()
///     }
///     fn watched_by(&self, watch: ClockWatch) {
///         self.watches.lock().unwrap().push(watch);
///     }
/// }
///
/// let clock = Settable { now: Mutex::new(Utc::now()), watches: Mutex::default() };
/// let noon = "2024-05-01T12:00:00Z".parse()?;
/// clock.set(noon);
/// assert_eq!(clock.now(), noon);
/// # Ok::<(), chrono::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClockWatch(Weak<Sender<()>>);

impl ClockWatch {
    /// Tells the waiter that the clock was set; call it after the clock shows the new time. Returns false if nobody
    /// waits any more, and the watch can be dropped.
    #[must_use = "a watch without a waiter is to be dropped"]
    pub fn tell(&self) -> bool {
        let Some(waiter) = self.0.upgrade() else { return false };
        // If there is no room, it is about to look anyway.
        let _ = waiter.try_send(());
        true
    }
}

/// The waiting side of a [`ClockWatch`].
pub(crate) struct ClockWaiter {
    /// Kept for the watch, which goes with it.
    _wake: Arc<Sender<()>>,
    woken: Receiver<()>,
}

impl ClockWaiter {
    /// Has `clock` watched.
    pub(crate) fn new(clock: &dyn Clock) -> ClockWaiter {
        let (wake, woken) = bounded(1);
        let wake = Arc::new(wake);
        clock.watched_by(ClockWatch(Arc::downgrade(&wake)));
        ClockWaiter { _wake: wake, woken }
    }

    /// The channel that receives when the clock is set.
    pub(crate) fn woken(&self) -> &Receiver<()> {
        &self.woken
    }
}

/// The operating system's clock, which a store uses by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// The application's clock, as the engine asks it: calls that would wait for its answer are refused meanwhile.
pub(crate) struct AskedClock(pub(crate) Box<dyn Clock>);

impl Clock for AskedClock {
    fn now(&self) -> DateTime<Utc> {
        if failpoint!("clock::holds_nothing") {
            return self.0.now();
        }
        let _held = Holding::Commits.begin();
        self.0.now()
    }

    fn watched_by(&self, watch: ClockWatch) {
        let _held = Holding::Commits.begin();
        self.0.watched_by(watch);
    }
}

/// The end of a wait that begins now; `None` if it is too long for any clock, and so has no end.
pub(crate) fn deadline_after(wait: Duration) -> Option<Instant> {
    if failpoint!("clock::deadline_overflows") {
        return Some(Instant::now() + wait);
    }
    Instant::now().checked_add(wait)
}

/// UTC microseconds since 1970, as on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Micros(pub(crate) i64);

impl Micros {
    pub(crate) fn of(time: DateTime<Utc>) -> Micros {
        Micros(time.timestamp_micros())
    }

    /// The same moment for the public API. A value beyond the calendar was never written by us, and a checksum would
    /// have caught it; it becomes the calendar's end, or its beginning, instead of a panic.
    pub(crate) fn to_utc(self) -> DateTime<Utc> {
        let furthest = if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        DateTime::from_timestamp_micros(self.0).unwrap_or(furthest)
    }
}
