//! How a backup is taken.

use crate::value::progress::Progress;

/// How a backup is taken; see [`Store::backup_with`](crate::Store::backup_with).
///
/// ```
/// use filmstrip::repair::BackupOptions;
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// # let directory = tempfile::tempdir()?;
/// # let backups = directory.path().join("backups");
/// let store = Store::temporary()?;
/// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
/// let report = |progress: filmstrip::repair::Progress| {
///     println!("{} of {} bytes", progress.bytes, progress.total_bytes);
/// };
/// store.backup_with(&backups, BackupOptions::new().check_all().report(&report))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
#[must_use = "options do nothing until a backup is taken with them"]
pub struct BackupOptions<'a> {
    pub(super) checks_all: bool,
    pub(super) report: &'a dyn Fn(Progress),
}

impl<'a> BackupOptions<'a> {
    /// As [`Store::backup`](crate::Store::backup) takes it.
    pub fn new() -> BackupOptions<'a> {
        BackupOptions { checks_all: false, report: &|_| {} }
    }

    /// Checks everything that earlier backups have copied. This takes as long as reading it.
    pub fn check_all(self) -> BackupOptions<'a> {
        BackupOptions { checks_all: true, ..self }
    }

    /// Calls `report` about every MiB, and at the end.
    pub fn report(self, report: &'a dyn Fn(Progress)) -> BackupOptions<'a> {
        BackupOptions { report, ..self }
    }
}

impl Default for BackupOptions<'_> {
    fn default() -> Self {
        BackupOptions::new()
    }
}

impl std::fmt::Debug for BackupOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupOptions")
            .field("checks_all", &self.checks_all)
            .finish_non_exhaustive()
    }
}
