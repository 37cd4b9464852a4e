//! The file `index.checkpoint`, replaced as a whole or not at all.

use crate::codec::checkpoint::StoredCheckpoint;
use crate::kv::database::OpenError;
use crate::kv::files::{create_over, sync};
use crate::storage::held::Held;
use crate::storage::regular;
use crate::value::corruption::CheckpointFault;
use crate::value::error::{Error, Result, Unfit};
use crate::value::failpoint::failpoint;
use crate::value::limits::CHECKPOINT_BYTES_MAX;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const NAME: &str = "index.checkpoint";
/// What stands behind the name of a checkpoint that is being written.
const NEW: &str = "checkpoint.new";
/// What a directory in the place of a checkpoint is renamed to begins with.
const DAMAGED: &str = "index.checkpoint.damaged-";

/// Whether `name` is that of a checkpoint, one that is being written, or what was in its place.
pub(crate) fn is_checkpoint(name: &str) -> bool {
    name == NAME || name == "index.checkpoint.new" || name.starts_with(DAMAGED)
}

/// Where the checkpoint is kept.
pub(crate) struct CheckpointFile {
    store_dir: PathBuf,
    path: PathBuf,
}

impl CheckpointFile {
    pub(crate) fn of(store_dir: &Path) -> CheckpointFile {
        CheckpointFile { store_dir: store_dir.to_owned(), path: store_dir.join(NAME) }
    }

    /// What it says; `None` if there is none.
    pub(crate) fn read(&self) -> Result<Option<StoredCheckpoint>, OpenError> {
        match regular::read(&self.path, CHECKPOINT_BYTES_MAX) {
            Ok(bytes) => Ok(StoredCheckpoint::decode(&bytes).map(Some)?),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if Unfit::within(&e).is_some() => {
                Err(CheckpointFault::Unfit(e.to_string().into()).into())
            }
            Err(e) => Err(OpenError::System(Error::io("read", &self.path, e))),
        }
    }

    /// Has `checkpoint` on disk when it returns; until then, the one before. `index` is the directory of the index,
    /// by which the store's own is known, right before each step.
    pub(crate) fn replace(&self, checkpoint: &StoredCheckpoint, index: &Held) -> Result<()> {
        let new = self.path.with_extension(NEW);
        let check = || match failpoint!("index::trust_the_checkpoints_path") {
            true => Ok(()),
            false => index.check_before("write the checkpoint of"),
        };
        check()?;
        let write = || {
            let mut file = create_over(&new)?;
            file.write_all(&checkpoint.encode())?;
            file.sync_all()
        };
        write().map_err(|e| Error::io("write", &new, e))?;
        check()?;
        fs::rename(&new, &self.path).map_err(|e| Error::io("replace", &self.path, e))?;
        sync(&self.store_dir)
    }

    /// Removes it for good, if it is there. A directory in its place is no checkpoint of ours: it is moved
    /// aside, and stays.
    pub(crate) fn remove(&self) -> Result<()> {
        let is_directory = self.path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        let removed = match is_directory {
            true => {
                let named = |number: u64| self.store_dir.join(format!("{DAMAGED}{number}"));
                let mut names = (1..).map(named);
                let free = names.find(|path| path.symlink_metadata().is_err());
                fs::rename(&self.path, free.expect("numbers do not end"))
            }
            false => fs::remove_file(&self.path),
        };
        match removed {
            Ok(()) => sync(&self.store_dir),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("remove", &self.path, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::checkpoint::StoredCheckpoint;
    use crate::value::error;
    use uuid::Uuid;

    /// An index that was being built while the store's directory was renamed and replaced left its checkpoint in the
    /// directory that was there by then: whether that was still the same was asked before sled was opened, which
    /// takes many milliseconds.
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
        let error = CheckpointFile::of(&store).replace(&checkpoint, &index).unwrap_err();
        assert_eq!(error.kind(), error::ErrorKind::Moved, "{error}");
        assert_eq!(fs::read_dir(&store).unwrap().count(), 1);
    }
}
