//! The file `views.closed`: a note of the views' state when they were closed cleanly.
//!
//! * It is written after the views are closed, and removed before they are opened. So if it exists, it is right, and
//!   views that have less were damaged. sled does not report that: it creates an empty database in place of a missing
//!   one, and can open a truncated one.
//! * Without it nothing is known: the views were not closed cleanly, or an older version closed them.

use crate::codec::views::ClosedViews;
use crate::index::quarantine::quarantine;
use crate::storage::disk::{Disk, Kind};
use crate::storage::regular::is_loop;
use crate::storage::replace;
use crate::storage::stat;
use crate::value::corruption::{Corruption, NoteFault};
use crate::value::error::{Error, Result, is_exhaustion};
use crate::value::failpoint::failpoint;
use crate::value::limits::VIEWS_NOTE_BYTES_MAX;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) const NAME: &str = "views.closed";
/// The names of two more: that the views are to be wiped, and that they hold something of a private event.
pub(super) const FORGETTING: &str = "views.forgetting";
pub(super) const PRIVATE: &str = "views.private";
/// The suffix of a note's name while it is being written.
pub(super) const NEW: &str = ".new";

/// Whether `name` is the name of a note, or of one that is being written.
pub(super) fn is_note(name: &str) -> bool {
    [NAME, FORGETTING, PRIVATE].contains(&name.strip_suffix(NEW).unwrap_or(name))
}

/// Writes the note in `store_dir` of the closed views in `directory`, which have these trees.
pub(super) fn write(
    disk: &dyn Disk,
    store_dir: &Path,
    directory: &Path,
    trees: Vec<String>,
) -> Result<()> {
    let db = database(directory);
    let bytes = stat::length_at(&db).map_err(|e| Error::io("look at", &db, e))?;
    let note = ClosedViews { bytes, trees }.encode();
    if note.len() as u64 > VIEWS_NOTE_BYTES_MAX {
        return Ok(());
    }
    replace::replace(disk, &store_dir.join(NAME), NEW, &note)
}

/// Removes the note durably, if there is one, before the views change.
pub(super) fn remove(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    let path = store_dir.join(NAME);
    match disk.remove(&path) {
        Ok(()) => disk.sync_dir(store_dir).map_err(|e| Error::io("sync", store_dir, e)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e)
            if e.kind() == ErrorKind::IsADirectory
                && !failpoint!("views::keep_what_is_no_directory") =>
        {
            // Not ours: quarantine it, and keep it.
            let moved = quarantine(disk, store_dir, NAME)?.unwrap_or_default();
            tracing::warn!(moved = %moved.display(), "a directory was in the place of a file of the views");
            Ok(())
        }
        Err(e) => Err(Error::io("remove", &path, e)),
    }
}

/// Compares the views in `directory`, which nobody may have open, with the note in `store_dir`. Returns what they
/// lack, by path. `there` are the trees in a copy of the views, if one could be opened.
pub(crate) fn lacking(
    disk: &dyn Disk,
    store_dir: &Path,
    directory: &Path,
    there: Option<Vec<String>>,
) -> Result<Vec<(PathBuf, String)>> {
    let (path, db) = (store_dir.join(NAME), database(directory));
    let note = match read(disk, &path)? {
        _ if failpoint!("views::forget_what_was_closed") => return Ok(Vec::new()),
        Ok(None) => return Ok(Vec::new()),
        Ok(Some(note)) => note,
        Err(what) => return Ok(vec![(path, what.to_string())]),
    };
    let mut lacking = Vec::new();
    let bytes = match stat::length_at(&db) {
        Ok(bytes) => bytes,
        Err(e)
            if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                || is_loop(&e) =>
        {
            let what = "it is missing, and was there when the views were closed".to_owned();
            return Ok(vec![(db, what)]);
        }
        Err(e) => return Err(Error::io("look at", &db, e)),
    };
    if bytes < note.bytes {
        let had = note.bytes;
        let what = format!("it has {bytes} bytes, and had {had} when the views were closed");
        lacking.push((db, what));
    }
    if let Some(there) = there {
        for tree in note.trees.iter().filter(|tree| !there.contains(tree)) {
            let what = format!("{tree} is missing, and was there when the views were closed");
            lacking.push((directory.to_owned(), what));
        }
    }
    Ok(lacking)
}

fn database(directory: &Path) -> PathBuf {
    directory.join("db")
}

/// The note, if there is one, or the reason why it cannot be used.
///
/// # Errors
/// The system's resources are exhausted, which says nothing about the note.
fn read(disk: &dyn Disk, path: &Path) -> Result<Result<Option<ClosedViews>, Corruption>> {
    let unread = |e: std::io::Error| match is_exhaustion(&e) {
        true => Err(Error::io("read", path, e)),
        false => Ok(Err(NoteFault::Unreadable(e.to_string().into()).into())),
    };
    match disk.kind(path) {
        Ok(None) => return Ok(Ok(None)),
        Ok(Some(Kind::File)) => {}
        Ok(Some(_)) => return Ok(Err(NoteFault::NoFile.into())),
        Err(e) => return unread(e),
    }
    match disk.open(path).and_then(|file| file.length()) {
        Ok(met) if met > VIEWS_NOTE_BYTES_MAX => {
            return Ok(Err(NoteFault::Length { met, allowed: VIEWS_NOTE_BYTES_MAX }.into()));
        }
        Ok(_) => {}
        Err(e) => return unread(e),
    }
    match replace::read(disk, path, VIEWS_NOTE_BYTES_MAX) {
        Ok(bytes) => Ok(ClosedViews::decode(&bytes).map(Some)),
        Err(e) => unread(e),
    }
}
