//! Copies of a store's databases, to be looked at: private, and removed even after a kill.

use crate::storage::held::leads_to;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::env;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "filmstrip-verify-";
/// What a copy has at its top.
const OURS: [&str; 3] = ["index", "index.checkpoint", "views"];
/// Nobody but the owner reads what is in it.
pub(super) const PRIVATE: u32 = 0o700;
/// How often another directory is made whose predecessor somebody took for abandoned.
const ATTEMPTS: u32 = 16;

/// A directory in the system's temporary directory that goes with this. It is locked meanwhile, which tells it
/// from one whose process was killed.
pub(super) struct Scratch {
    // Removed before the lock goes.
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        let make = || {
            for _ in 0..ATTEMPTS {
                let mut builder = tempfile::Builder::new();
                let is_public = failpoint!("store::public_copy");
                let private = Permissions::from_mode(if is_public { 0o755 } else { PRIVATE });
                let directory = builder.prefix(PREFIX).permissions(private).tempdir()?;
                if let Some(lock) = lock(directory.path()) {
                    return Ok(Scratch { directory, _lock: lock });
                }
            }
            Err(io::Error::other("each new directory was removed or locked by somebody else"))
        };
        let above = env::temp_dir();
        let scratch = make().map_err(|e| Error::io("create a directory in", &above, e))?;
        scratch.remove_abandoned(&above);
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Removes the copies of this user that a kill has left.
    fn remove_abandoned(&self, above: &Path) {
        let owner = |path: &Path| {
            let found = path.symlink_metadata().ok().filter(fs::Metadata::is_dir);
            found.map(|found| found.uid())
        };
        let ours = owner(self.path());
        let Ok(entries) = fs::read_dir(above) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_copy = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
            if !is_copy || owner(&path) != ours || path == self.path() || !holds_copies(&path) {
                continue;
            }
            let Some(_lock) = lock(&path) else { continue };
            match fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed an abandoned copy"),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "an abandoned copy stays");
                }
            }
        }
    }
}

/// Whether nothing is in the directory but what a copy has there.
fn holds_copies(path: &Path) -> bool {
    let is_ours = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| OURS.iter().any(|name| entry.file_name() == *name))
    };
    fs::read_dir(path).is_ok_and(|entries| entries.into_iter().all(is_ours))
}

/// The directory `path`, locked, if nobody else has it locked or removed.
fn lock(path: &Path) -> Option<File> {
    let directory = File::open(path).ok()?;
    directory.try_lock().ok()?;
    leads_to(path, &directory).ok()?.then_some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy_named(name: &str) -> std::path::PathBuf {
        let path = env::temp_dir().join(format!("{PREFIX}{name}-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&path).unwrap();
        path
    }

    /// The copies that verifying looks at were readable for every user, and stayed after a kill.
    #[test]
    fn a_copy_is_private_and_one_that_a_kill_left_is_removed_by_the_next() {
        let [abandoned, used, strangers] = ["abandoned", "used", "strangers"].map(copy_named);
        fs::create_dir(abandoned.join("views")).unwrap();
        fs::write(abandoned.join("views/db"), "rows").unwrap();
        fs::write(strangers.join("thesis.txt"), "years of work").unwrap();
        let lock = lock(&used).unwrap();
        let scratch = Scratch::new().unwrap();
        let mode = scratch.path().metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, PRIVATE, "{mode:o}");
        assert!(!abandoned.exists() && used.exists() && strangers.join("thesis.txt").exists());
        drop(lock);
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
        // Whoever verifies beside this test may have removed it already.
        let _ = fs::remove_dir(used);
        fs::remove_dir_all(strangers).unwrap();
    }
}
