//! Opening a database, or refusing one that is damaged, and a process that cannot open any.

use super::Database;
#[cfg(test)]
use super::hooks;
use crate::kv::failure::{OpenError, is_failed_write, is_the_systems, unusable_or_system};
use crate::kv::files::{
    can_be_read, remove_unfinished_snapshots, sync_files, unfit_in, wait_for_release,
};
use crate::kv::sync_policy::{SyncPolicy, Unsynced};
use crate::storage::disk::Disk;
use crate::storage::held::Held;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::fork::Owner;
use crate::value::limits::SLED_CACHE_BYTES_MIN;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::{Arc, OnceLock};

impl Database {
    /// Opens the database in the directory `path`, which must exist; creates one if the directory is empty.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache_bytes: u64,
    ) -> Result<Database, OpenError> {
        Database::open_paced(disk, path, cache_bytes, SyncPolicy::default())
    }

    pub(crate) fn open_paced(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache_bytes: u64,
        pace: SyncPolicy,
    ) -> Result<Database, OpenError> {
        refuse_forked().map_err(OpenError::System)?;
        if let Some(reason) = unfit_in(&**disk, path) {
            return Err(Corruption::Database(reason.into()).into());
        }
        let held = Arc::new(Held::open(path).map_err(OpenError::System)?);
        wait_for_release(&path.join("db")).map_err(OpenError::System)?;
        if let Some(name) = remove_unfinished_snapshots(&**disk, path).map_err(OpenError::System)? {
            let reason = format!("it holds {name:?}, which sled would remove");
            return Err(Corruption::Database(reason.into()).into());
        }
        let db = open_sled(&**disk, path, &held, cache_bytes, pace)?;
        let file = match held.check_before("open").and_then(|()| sync_files(&**disk, path)) {
            Ok(file) => file,
            Err(error) => {
                // sled flushes when it is dropped, and panics if that fails.
                let _ = catch(move || drop(db));
                return Err(OpenError::System(error));
            }
        };
        let unsynced = Mutex::new(Unsynced { synced_to: -1, ..Unsynced::default() });
        let (db, path, panicked) = (Some(db), path.to_owned(), OnceLock::new());
        let owner = Owner::this_process();
        let disk = Arc::clone(disk);
        Ok(Database {
            owner,
            db,
            path,
            cache_bytes,
            file,
            disk,
            pace,
            held,
            panicked,
            unsynced,
            #[cfg(test)]
            counts: hooks::Counts::default(),
        })
    }
}

/// Opens sled, and tells a database that is damaged from a system that fails.
fn open_sled(
    disk: &dyn Disk,
    path: &Path,
    held: &Held,
    cache_bytes: u64,
    pace: SyncPolicy,
) -> Result<sled::Db, OpenError> {
    // While it opens, sled creates the missing parents of its files. If its directory was moved meanwhile, it would
    // create another one at the old path.
    let config = sled::Config::new()
        .path(held.steady_path())
        .cache_capacity(cache_bytes.max(SLED_CACHE_BYTES_MIN))
        .segment_size(pace.segment_bytes)
        .flush_every_ms(None);
    match catch(|| config.open()) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(e)))
            if is_the_systems(&e) || is_failed_write(&e, || can_be_read(disk, path)) =>
        {
            Err(OpenError::System(Error::io("open", path, e)))
        }
        Ok(Err(e)) => Err(unusable_or_system(path, "sled cannot open it", &e.to_string())),
        Err(panic) => {
            let what = "sled panicked while it opened it";
            Err(unusable_or_system(path, what, &panic.to_string()))
        }
    }
}

/// Refuses a process that was forked from one that had called this. sled starts its threads once for a process and not
/// again after a fork, so a database that is opened there would wait for them forever.
pub(crate) fn refuse_forked() -> Result<()> {
    static FIRST: OnceLock<Owner> = OnceLock::new();
    if FIRST.get_or_init(Owner::this_process).is_this_process() {
        return Ok(());
    }
    let message = "this process was forked from one that had opened a store, and cannot open any: \
                   open stores after the fork, or start another program";
    Err(Error::new(ErrorKind::Forked, message))
}
