//! What can be done for a damaged store. Each thing is a choice of its own, and loses nothing
//! silently.
//!
//! * Nothing is changed in a damaged store but by the one choice that says so, and even that moves
//!   aside instead of deleting.

use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::index::aside::{INDEX, move_aside};
use crate::journal::disk::{Disk, RealDisk};
use crate::log::core::journal_directory;
use crate::position::Position;
use crate::store::Store;
use crate::store::directory::{self, Lock};
use crate::store::verify::{Verification, read_manifest, store_of_journal, verify_still};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// A store that nobody has open, to be looked at and repaired; see [`Store::repair`].
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("orders");
/// let store = Store::open(&path)?;
/// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
/// store.close()?;
///
/// let repair = Store::repair(&path)?; // changes nothing
/// assert!(repair.verify()?.is_whole());
/// repair.rebuild_index()?; // what there was is moved aside
/// drop(repair);
/// assert_eq!(Store::open(&path)?.head().get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Repair {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    store: Uuid,
    /// Held from the begin, if the store has a lock file: so nobody opens it meanwhile.
    lock: Option<Lock>,
}

/// What [`Repair::rebuild_index`] and [`Store::rebuild_index`] have done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexRebuilt {
    /// Where the index that there was lies now; `None` if there was none. The newest two that were
    /// moved aside are kept.
    pub moved_to: Option<PathBuf>,
    /// How far the new index holds the journal; the start if it is built when the store is opened.
    pub position: Position,
}

impl Store {
    /// Takes hold of the store in the directory `path`, which nobody has open, to verify it and to
    /// choose what to do. Nothing is changed by it, and the store cannot be opened while this lives.
    ///
    /// # Errors
    /// * [`Locked`](crate::ErrorKind::Locked): it is open.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): there is no store.
    /// * [`UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat): a newer version wrote it.
    /// * [`Corrupt`](crate::ErrorKind::Corrupt): neither the manifest nor any segment says which store it is.
    pub fn repair(path: impl AsRef<Path>) -> Result<Repair> {
        let path = path.as_ref().to_owned();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let journal = journal_directory(&path);
        if !path.join("MANIFEST").exists() && !journal.is_dir() {
            let message = format!("{} is no store", path.display());
            return Err(Error::invalid(message));
        }
        let lock = directory::lock_if_there(&path)?;
        let store = match read_manifest(&*disk, &path, &mut Findings::default())? {
            Ok(manifest) => manifest.store,
            Err(error) => store_of_journal(&*disk, &journal)?.ok_or(error)?,
        };
        Ok(Repair { path, disk, store, lock })
    }

    /// Moves the index aside and builds it again from the journal, as far as it was. Readers and
    /// writers of the index wait meanwhile. Snapshots are not in the new one; they come again.
    ///
    /// It is never needed: an index that is missing, old or damaged is built again by itself. It is
    /// for who wants to be sure.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), or what building it met; then opening the store builds it.
    pub fn rebuild_index(&self) -> Result<IndexRebuilt> {
        let (moved_to, position) = self.log.index.rebuild()?;
        Ok(IndexRebuilt { moved_to: Some(moved_to), position: Position::new(position) })
    }
}

impl Repair {
    /// Everything that is wrong with the store; see [`Store::verify_at`].
    ///
    /// # Errors
    /// What hindered the verification itself. Damage is no error.
    pub fn verify(&self) -> Result<Verification> {
        let mut findings = Findings::default();
        // What the manifest lacks is a finding, and was no hindrance.
        let _ = read_manifest(&*self.disk, &self.path, &mut findings)?;
        verify_still(&self.path, &self.disk, self.store, findings)
    }

    /// Moves the index aside, so that opening the store builds it again from the journal.
    ///
    /// This also opens a store whose index is ahead of its journal. That proves that the journal has
    /// lost what had been durable: look at what [`verify`](Repair::verify) says, and keep the index
    /// that was moved aside.
    ///
    /// # Errors
    /// What moving it met.
    pub fn rebuild_index(&self) -> Result<IndexRebuilt> {
        let _lock = match &self.lock {
            Some(_) => None,
            None => Some(directory::lock(&self.path)?),
        };
        let is_there = self.path.join(INDEX).exists();
        let moved_to = move_aside(&self.path)?;
        let moved_to = is_there.then_some(moved_to);
        Ok(IndexRebuilt { moved_to, position: Position::START })
    }
}

impl std::fmt::Debug for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repair").field("path", &self.path).field("store", &self.store).finish()
    }
}
