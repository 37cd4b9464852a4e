//! How far a long walk over a journal is.

use crate::value::limits::{PROGRESS_BYTES, PROGRESS_LOG_BYTES};
use crate::value::position::Position;

/// How far a backup, a verification or an export is: what [`Store::verify_with`](crate::Store::verify_with) and others
/// report about every MiB, and at the end.
///
/// What has to read the journal more than once begins with 0 bytes again each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The position up to which the journal was handled.
    pub position: Position,
    /// Bytes of the journal that were handled.
    pub bytes: u64,
    /// Bytes of the journal that are to be handled.
    pub total_bytes: u64,
}

/// Reports the progress of one walk, not more often than somebody looks.
pub(crate) struct Reporter<'a> {
    report: &'a dyn Fn(Progress),
    what: &'static str,
    total_bytes: u64,
    reported: u64,
    logged: u64,
}

impl<'a> Reporter<'a> {
    /// For a walk over `total_bytes` of a journal that is `what`: "verified", for example.
    pub(crate) fn new(
        report: &'a dyn Fn(Progress),
        what: &'static str,
        total_bytes: u64,
    ) -> Reporter<'a> {
        Reporter { report, what, total_bytes, reported: 0, logged: 0 }
    }

    /// `bytes` were handled, up to `position`.
    pub(crate) fn reached(&mut self, position: u64, bytes: u64) {
        if bytes >= self.reported + PROGRESS_BYTES {
            self.reported = bytes;
            self.report(position, bytes);
        }
        if bytes >= self.logged + PROGRESS_LOG_BYTES {
            self.logged = bytes;
            tracing::info!(reached = position, bytes, "the journal is being {}", self.what);
        }
    }

    /// Everything was handled, up to `position`.
    pub(crate) fn ended(&self, position: u64) {
        self.report(position, self.total_bytes);
    }

    fn report(&self, position: u64, bytes: u64) {
        // What is read again after damage counts once.
        let (total_bytes, bytes) = (self.total_bytes, bytes.min(self.total_bytes));
        (self.report)(Progress { position: Position::new(position), bytes, total_bytes });
    }
}
