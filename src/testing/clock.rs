//! A clock for tests.

use crate::value::clock::{Clock, ClockWatch, Micros};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock that only moves when it is set or advanced. Clones show the same time.
///
/// ```
/// use filmstrip::testing::ManualClock;
/// use filmstrip::Clock;
/// use std::time::Duration;
/// let clock = ManualClock::new("2024-05-01T12:00:00Z".parse()?);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_rfc3339(), "2024-05-01T12:01:00+00:00");
/// # Ok::<(), chrono::ParseError>(())
/// ```
///
/// A store that waits for a time, such as a process's deadline, is woken when the clock is moved.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    micros: AtomicI64,
    watches: Mutex<Vec<ClockWatch>>,
}

impl ManualClock {
    /// Makes a clock that shows `start`, to the microsecond.
    #[must_use]
    pub fn new(start: DateTime<Utc>) -> ManualClock {
        let (micros, watches) = (AtomicI64::new(Micros::of(start).0), Mutex::default());
        ManualClock(Arc::new(Hands { micros, watches }))
    }

    /// Sets the clock to `time`, which may be earlier.
    pub fn set(&self, time: DateTime<Utc>) {
        self.0.micros.store(Micros::of(time).0, Ordering::SeqCst);
        self.tell();
    }

    /// Moves the clock on by `step`, to the microsecond.
    pub fn advance(&self, step: Duration) {
        let micros = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        let moved = |now: i64| Some(now.saturating_add(micros));
        // The closure always answers, so the update cannot fail.
        let _ = self.0.micros.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
        self.tell();
    }

    fn tell(&self) {
        self.0.watches.lock().retain(ClockWatch::tell);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        Micros(self.0.micros.load(Ordering::SeqCst)).to_utc()
    }

    fn watched_by(&self, watch: ClockWatch) {
        self.0.watches.lock().push(watch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let start: DateTime<Utc> = "2024-05-01T12:00:00Z".parse().unwrap();
        let clock = ManualClock::new(start);
        let other = clock.clone();
        assert_eq!(clock.now(), start);
        other.advance(Duration::from_millis(1_500));
        assert_eq!(clock.now(), start + chrono::TimeDelta::milliseconds(1_500));
        clock.set(start);
        assert_eq!(other.now(), start);
    }
}
