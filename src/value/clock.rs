//! Where time comes from. The store records UTC microseconds that never decrease along positions.

use crate::value::callback::Holding;
use crate::value::failpoint::failpoint;
use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A source of the present time. The store asks it once for each commit, before it waits for anything.
///
/// What it calls of a store may read, but may not commit, acknowledge, wait or close: that would ask it again, and
/// is refused as [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock).
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
    /// The present time.
    fn now(&self) -> DateTime<Utc>;

    /// Takes note of somebody who waits for a time, and is to be [told](ClockWatch::tell) whenever
    /// the clock is set: moved by something else than time's passing. A clock that only runs has
    /// nothing to tell, and needs no such method. If a clock is set and does not tell, those who wait
    /// notice within a minute.
    fn watched_by(&self, watch: ClockWatch) {
        let _ = watch;
    }
}

/// Somebody who waits for a time, to be told when a clock is set. See [`Clock::watched_by`].
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
    /// Tells that the clock was set, after it shows the new time. False: nobody waits any more, and
    /// the watch can be forgotten.
    #[must_use = "a watch that nobody waits behind is to be forgotten"]
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

    /// Where it is heard that the clock was set.
    pub(crate) fn woken(&self) -> &Receiver<()> {
        &self.woken
    }
}

/// The operating system's clock: what a store uses unless its builder was given another.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock of the application's, as the engine asks it: what would wait for the answer is refused meanwhile.
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

/// UTC microseconds since 1970, as they stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Micros(pub(crate) i64);

impl Micros {
    pub(crate) fn of(time: DateTime<Utc>) -> Micros {
        Micros(time.timestamp_micros())
    }

    /// The same moment for the public API. A value that no calendar holds was never written by us;
    /// the checksums would have told, so it is shown as the calendar's end, or its beginning, instead of
    /// panicking.
    pub(crate) fn to_utc(self) -> DateTime<Utc> {
        let furthest = if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        DateTime::from_timestamp_micros(self.0).unwrap_or(furthest)
    }
}
