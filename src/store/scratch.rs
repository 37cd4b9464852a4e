//! Directories in the system's temporary directory that go with the process: copies of a store's databases, to be
//! looked at, and temporary stores. They are private, and removed even after a kill.

use crate::index::checkpoint::CHECKPOINT;
use crate::index::quarantine::INDEX;
use crate::kv::files::holds_a_database;
use crate::storage::disk::{Kind, RealDisk, holds_only};
use crate::storage::scratch::ScratchDirectory;
use crate::store::directory::contents::holds_a_store;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::views::VIEWS;
use std::path::Path;

/// What a directory is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A copy of the index or the views of a store.
    Copy,
    /// A temporary store.
    Store,
}

/// The directory of a temporary store in the one that is made for it.
pub(super) const STORE: &str = "store";
/// Nobody but the owner reads what is in it.
pub(super) const PRIVATE: u32 = 0o700;
/// A directory in the system's temporary directory that goes with this.
pub(super) struct Scratch(ScratchDirectory);

impl Purpose {
    const ALL: [Purpose; 2] = [Purpose::Copy, Purpose::Store];

    fn prefix(self) -> &'static str {
        match self {
            Purpose::Copy => "filmstrip-verify-",
            Purpose::Store => "filmstrip-temporary-",
        }
    }

    /// Whether nothing is in the directory, however deep, but what is put there for this.
    fn is_all(self, path: &Path) -> bool {
        holds_only(&RealDisk, path, |name, kind| match (self, name, kind) {
            (Purpose::Copy, INDEX | VIEWS, Kind::Directory) => {
                holds_a_database(&RealDisk, &path.join(name))
            }
            (Purpose::Copy, CHECKPOINT, kind) => kind != Kind::Directory,
            (Purpose::Store, STORE, Kind::Directory) => holds_a_store(&path.join(name)),
            _ => false,
        })
    }
}

impl Scratch {
    /// Makes one, and removes what a kill has left of earlier ones.
    pub(super) fn new(purpose: Purpose) -> Result<Scratch> {
        let mode = if failpoint!("store::public_copy") { 0o755 } else { PRIVATE };
        let directory = ScratchDirectory::create(purpose.prefix(), mode);
        let directory = directory
            .map_err(|e| Error::io("create a directory in", &ScratchDirectory::above(), e))?;
        directory.remove_abandoned(|name, path| {
            let starts_with = |purpose: &Purpose| {
                name.as_encoded_bytes().starts_with(purpose.prefix().as_bytes())
            };
            let purpose = Purpose::ALL.into_iter().find(starts_with);
            purpose.is_some_and(|purpose| purpose.is_all(path))
        });
        Ok(Scratch(directory))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::scratch::lock;
    use crate::store::Store;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    /// A directory as one of ours is named. It goes with the test, even with one that a planted defect fails.
    fn named(purpose: Purpose, name: &str) -> TempDir {
        let prefix = format!("{}{name}-", purpose.prefix());
        tempfile::Builder::new().prefix(&prefix).tempdir().unwrap()
    }

    /// The copies that verifying looks at were readable for every user, and stayed after a kill.
    #[test]
    fn a_copy_is_private_and_one_that_a_kill_left_is_removed_by_the_next() {
        let directories = ["abandoned", "used", "strangers"].map(|name| named(Purpose::Copy, name));
        let [abandoned, used, strangers] = directories.each_ref().map(TempDir::path);
        // A verification beside this test would take it for abandoned until it is locked.
        let lock = lock(used).unwrap();
        fs::write(strangers.join("thesis.txt"), "years of work").unwrap();
        fs::create_dir(abandoned.join("views")).unwrap();
        let scratch = Scratch::new(Purpose::Copy).unwrap();
        let mode = scratch.path().metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, PRIVATE, "{mode:o}");
        assert!(!abandoned.exists() && used.exists() && strangers.join("thesis.txt").exists());
        drop(lock);
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    /// Directories that a kill had left were recognised by the names at their top, and then removed with everything in
    /// them.
    #[test]
    fn a_strangers_file_at_any_depth_keeps_an_abandoned_directory() {
        const COPIES: &[&str] =
            &["index", "index/packs", "index/blobs", "views", "views/blobs", "index/db"];
        const STORES: &[&str] =
            &["store/journal", "store/index.damaged-3", "store/journal/durable", "store/lock"];
        let of = |purpose, below: &'static [&str]| below.iter().map(move |below| (purpose, *below));
        let cases = of(Purpose::Copy, COPIES).chain(of(Purpose::Store, STORES));
        let strangers: Vec<_> = cases
            .map(|(purpose, below)| {
                let directory = named(purpose, "strangers");
                let _lock = lock(directory.path()).unwrap();
                let below = directory.path().join(below);
                fs::create_dir_all(&below).unwrap();
                fs::write(below.join("thesis.txt"), "years of work").unwrap();
                (directory, below)
            })
            .collect();
        let abandoned = named(Purpose::Copy, "abandoned");
        // Until it is as it is to be found: another test may look for abandoned ones.
        let abandoned_lock = lock(abandoned.path()).unwrap();
        for below in ["index/packs", "index/blobs", "views/blobs"] {
            fs::create_dir_all(abandoned.path().join(below)).unwrap();
        }
        for below in ["index/packs/00000000000000000007", "index/db", "views/conf", CHECKPOINT] {
            fs::write(abandoned.path().join(below), "ours").unwrap();
        }
        drop(abandoned_lock);
        let _scratch = Scratch::new(Purpose::Copy).unwrap();
        // Another test may be removing it, and then this one did not.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while abandoned.path().exists() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(!abandoned.path().exists(), "nothing but ours is in it");
        for (_directory, below) in &strangers {
            assert!(below.join("thesis.txt").exists(), "{} is gone", below.display());
        }
    }

    /// A temporary store whose process was killed stayed for ever. It is removed by the next one that is made, unless
    /// somebody has it open, or put something of his own there.
    #[test]
    fn a_temporary_store_that_a_kill_left_is_removed_by_the_next() {
        let directories =
            ["abandoned", "begun", "used", "strangers"].map(|name| named(Purpose::Store, name));
        let [abandoned, begun, used, strangers] = directories.each_ref().map(TempDir::path);
        // Until they are as they are to be found, they are locked: another test may look for abandoned ones.
        let [abandoned_lock, used_lock, strangers_lock] =
            [abandoned, used, strangers].map(|path| lock(path).unwrap());
        for path in [abandoned, used, strangers] {
            let store = Store::open(path.join(STORE)).unwrap();
            let event = crate::value::event::NewEvent::bytes("T", "x");
            store.append("A-1", crate::value::position::ExpectedVersion::Any, [event]).unwrap();
            store.close().unwrap();
        }
        fs::write(strangers.join(STORE).join("thesis.txt"), "years of work").unwrap();
        drop((abandoned_lock, strangers_lock));
        let store = Store::temporary().unwrap();
        // Another test may be removing one of them, and then this store did not.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while abandoned.exists() || begun.exists() {
            assert!(std::time::Instant::now() < deadline, "an abandoned one stays");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(used.join("store/journal").exists());
        assert!(strangers.join("store/thesis.txt").exists());
        // A store that is open is locked.
        let another = Store::temporary().unwrap();
        assert!(store.path().join("journal").exists());
        drop((store, another, used_lock));
    }
}
