//! The clock of a store that is imported into: it shows the time at which the next events were recorded.

use filmstrip::Clock;
use filmstrip::chrono::{DateTime, Utc};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// No time is set: the system's clock is asked.
const NOW: i64 = i64::MIN;

/// Clones show the same time.
#[derive(Clone)]
pub(super) struct ImportClock(Arc<AtomicI64>);

impl ImportClock {
    pub(super) fn new() -> ImportClock {
        ImportClock(Arc::new(AtomicI64::new(NOW)))
    }

    pub(super) fn set(&self, time: Option<DateTime<Utc>>) {
        let micros = time.map_or(NOW, |time| time.timestamp_micros());
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for ImportClock {
    fn now(&self) -> DateTime<Utc> {
        match self.0.load(Ordering::SeqCst) {
            NOW => Utc::now(),
            micros => DateTime::from_timestamp_micros(micros).unwrap_or_else(Utc::now),
        }
    }
}
