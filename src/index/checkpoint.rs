//! The file `index.checkpoint`, replaced as a whole or not at all.

use crate::codec::checkpoint::StoredCheckpoint;
use crate::error::{Error, Result};
use crate::index::database::OpenError;
use crate::index::files::sync;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Where the checkpoint is kept.
pub(crate) struct CheckpointFile {
    store_dir: PathBuf,
    path: PathBuf,
}

impl CheckpointFile {
    pub(crate) fn of(store_dir: &Path) -> CheckpointFile {
        CheckpointFile { store_dir: store_dir.to_owned(), path: store_dir.join("index.checkpoint") }
    }

    /// What it says; `None` if there is none.
    pub(crate) fn read(&self) -> Result<Option<StoredCheckpoint>, OpenError> {
        match fs::read(&self.path) {
            Ok(bytes) => StoredCheckpoint::decode(&bytes).map(Some).map_err(OpenError::Unusable),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == ErrorKind::IsADirectory => {
                Err(OpenError::Unusable("its checkpoint is a directory".to_owned()))
            }
            Err(e) => Err(OpenError::System(Error::io("read", &self.path, e))),
        }
    }

    /// Has `checkpoint` on disk when it returns; until then, the one before.
    pub(crate) fn replace(&self, checkpoint: &StoredCheckpoint) -> Result<()> {
        let new = self.path.with_extension("checkpoint.new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&checkpoint.encode())?;
            file.sync_all()
        };
        write().map_err(|e| Error::io("write", &new, e))?;
        fs::rename(&new, &self.path).map_err(|e| Error::io("replace", &self.path, e))?;
        sync(&self.store_dir)
    }

    /// Removes it for good, if it is there.
    pub(crate) fn remove(&self) -> Result<()> {
        let removed = match self.path.is_dir() {
            true => fs::remove_dir_all(&self.path),
            false => fs::remove_file(&self.path),
        };
        match removed {
            Ok(()) => sync(&self.store_dir),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("remove", &self.path, e)),
        }
    }
}
