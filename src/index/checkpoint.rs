//! The file `index.checkpoint`, which is replaced atomically.

use crate::codec::checkpoint::StoredCheckpoint;
use crate::kv::failure::OpenError;
use crate::storage::disk::{Disk, Kind};
use crate::storage::held::Held;
use crate::storage::replace;
use crate::value::corruption::CheckpointFault;
use crate::value::error::{Error, Result, Unfit};
use crate::value::failpoint::failpoint;
use crate::value::limits::CHECKPOINT_BYTES_MAX;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The checkpoint in the directory of the store.
pub(crate) const CHECKPOINT: &str = "index.checkpoint";
/// The suffix of the name of a checkpoint that is being written.
const NEW: &str = ".new";
/// The prefix of the name that a directory in the place of a checkpoint is renamed to.
const DAMAGED: &str = "index.checkpoint.damaged-";

/// Whether `name` is the name of a checkpoint, of one that is being written, or of a directory that was in its place.
pub(crate) fn is_checkpoint(name: &str) -> bool {
    name == CHECKPOINT || name == "index.checkpoint.new" || name.starts_with(DAMAGED)
}

/// The checkpoint's file.
pub(crate) struct CheckpointFile {
    disk: Arc<dyn Disk>,
    store_dir: PathBuf,
    path: PathBuf,
}

impl CheckpointFile {
    pub(crate) fn of(disk: &Arc<dyn Disk>, store_dir: &Path) -> CheckpointFile {
        let (disk, path) = (Arc::clone(disk), store_dir.join(CHECKPOINT));
        CheckpointFile { disk, store_dir: store_dir.to_owned(), path }
    }

    /// Reads the checkpoint; `None` if there is none.
    pub(crate) fn read(&self) -> Result<Option<StoredCheckpoint>, OpenError> {
        match replace::read(&*self.disk, &self.path, CHECKPOINT_BYTES_MAX) {
            Ok(bytes) => Ok(StoredCheckpoint::decode(&bytes).map(Some)?),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if Unfit::within(&e).is_some() => {
                Err(CheckpointFault::Unfit(e.to_string().into()).into())
            }
            Err(e) => Err(OpenError::System(Error::io("read", &self.path, e))),
        }
    }

    /// Replaces the checkpoint. On return `checkpoint` is on disk; before that, the previous one is. Checks `index`,
    /// the index's directory, right before each step, to notice that the store's directory was moved.
    pub(crate) fn replace(&self, checkpoint: &StoredCheckpoint, index: &Held) -> Result<()> {
        let check = || match failpoint!("index::trust_the_checkpoints_path") {
            true => Ok(()),
            false => index.check_before("write the checkpoint of"),
        };
        replace::replace_if(&*self.disk, &self.path, NEW, &checkpoint.encode(), &check)
    }

    /// Removes the checkpoint durably, if it exists. A directory in its place is not ours: it is renamed and kept.
    pub(crate) fn remove(&self) -> Result<()> {
        let kind = |path: &Path| self.disk.kind(path).ok().flatten();
        let removed = match kind(&self.path) {
            Some(Kind::Directory) => {
                let named = |number: u64| self.store_dir.join(format!("{DAMAGED}{number}"));
                let mut names = (1..).map(named);
                let free = names.find(|path| kind(path).is_none());
                self.disk.rename(&self.path, &free.expect("some number is free"))
            }
            _ => self.disk.remove(&self.path),
        };
        match removed {
            Ok(()) => {
                let synced = self.disk.sync_dir(&self.store_dir);
                synced.map_err(|e| Error::io("sync", &self.store_dir, e))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("remove", &self.path, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::checkpoint::StoredCheckpoint;
    use crate::storage::disk::RealDisk;
    use crate::value::error;
    use std::fs;
    use uuid::Uuid;

    /// While an index was being built, the store's directory was renamed and replaced by another. The index left its
    /// checkpoint in the new directory, because the directory was checked only before sled was opened, which takes
    /// many milliseconds.
    #[test]
    fn a_checkpoint_is_not_written_beside_another_index() {
        let directory = tempfile::tempdir().unwrap();
        let (store, renamed) = (directory.path().join("store"), directory.path().join("renamed"));
        let make = || fs::create_dir_all(store.join("index")).unwrap();
        make();
        let index = Held::open(&store.join("index")).unwrap();
        fs::rename(&store, &renamed).unwrap();
        make();
        let checkpoint = StoredCheckpoint::initial(Uuid::from_u128(1), Uuid::from_u128(2));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let error = CheckpointFile::of(&disk, &store).replace(&checkpoint, &index).unwrap_err();
        assert_eq!(error.kind(), error::ErrorKind::Moved, "{error}");
        assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
    }
}
