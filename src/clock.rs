//! Where time comes from. The store records UTC microseconds that never decrease along positions.

use chrono::{DateTime, Utc};

/// A source of the present time. The store asks it once for each group of commits.
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
}

/// The operating system's clock: what a store uses unless its builder was given another.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// UTC microseconds since 1970, as they stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Micros(pub(crate) i64);

impl Micros {
    pub(crate) fn of(time: DateTime<Utc>) -> Micros {
        Micros(time.timestamp_micros())
    }

    /// The same moment for the public API. A value that no calendar holds was never written by us;
    /// the checksums would have told, so it is shown as the calendar's end instead of panicking.
    pub(crate) fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}
