//! The directory that takes backups: what may be in it, and where the next check of it begins.

use crate::journal::manifest;
use crate::storage::disk::{Disk, Kind, refuse_no_directory};
use crate::storage::replace;
use crate::store::directory;
use crate::store::directory::contents::{BACKUP_LOCK, LOCK, foreign_in_journal, is_volumes};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::BACKUP_NOTE_BYTES_MAX;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// What a directory of backups may hold.
const OURS: [&str; 4] = ["MANIFEST", "MANIFEST.tmp", "journal", BACKUP_LOCK];

/// Refuses a directory `path` that cannot take a backup of `store`, which is at `origin`.
pub(super) fn refuse(disk: &dyn Disk, path: &Path, origin: &Path, store: Uuid) -> Result<()> {
    refuse_foreign(disk, path)?;
    match manifest::read(disk, path)? {
        Some(manifest) if manifest.store != store => {
            let (path, met) = (path.display(), manifest.store);
            let message =
                format!("{path} holds a backup of the store {met}; this store is {store}");
            return Err(Error::invalid(message));
        }
        _ => {}
    }
    if directory::lies_in_store(path, origin) {
        let message = format!("{} is inside the store that is to be backed up", path.display());
        return Err(Error::invalid(message));
    }
    if directory::has_part_of(path, origin) {
        let message = format!("the store that is to be backed up is inside {}", path.display());
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// The segment that the next check of a backup in `path` begins with. The file of the lock says so; if it says
/// nothing, the first one.
pub(super) fn next_check(disk: &dyn Disk, path: &Path) -> Result<u64> {
    let noted = replace::read_whole(disk, &path.join(BACKUP_LOCK), BACKUP_NOTE_BYTES_MAX)?;
    let noted = noted.unwrap_or_default();
    let noted = std::str::from_utf8(&noted).ok().and_then(|noted| noted.trim_end().parse().ok());
    Ok(noted.unwrap_or(1))
}

/// Notes where the next check begins. It need not be durable: if it is lost, something is checked again.
pub(super) fn note_next_check(disk: &dyn Disk, path: &Path, segment: u64) -> Result<()> {
    let path = path.join(BACKUP_LOCK);
    let note = || disk.open_to_write(&path)?.write_all_at(format!("{segment:020}\n").as_bytes(), 0);
    note().map_err(|e| Error::io("write", &path, e))
}

/// Bytes of the note in the file of the lock.
const NOTE_BYTES: u64 = 21;

/// Refuses a file of the lock that the note would destroy: one that is longer than a note, or a link to somewhere else.
fn refuse_foreign_note(disk: &dyn Disk, path: &Path) -> Result<()> {
    let note = path.join(BACKUP_LOCK);
    let is_ours = || match disk.kind(&note)? {
        Some(Kind::File) => match disk.open(&note).and_then(|file| file.length()) {
            // It is gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            length => Ok(length? <= NOTE_BYTES),
        },
        Some(Kind::Link) => Ok(false),
        // What is no file is refused where it is to be locked.
        _ => Ok(true),
    };
    match is_ours().map_err(|e| Error::io("look at", &note, e))? {
        false if !failpoint!("store::overwrite_foreign_note") => {
            let note = note.display();
            Err(Error::invalid(format!(
                "{note} was not made by a backup; back up into another directory"
            )))
        }
        _ => Ok(()),
    }
}

fn refuse_foreign(disk: &dyn Disk, path: &Path) -> Result<()> {
    refuse_no_directory(disk, path)?;
    refuse_foreign_note(disk, path)?;
    let names = disk.list(path).map_err(|e| Error::io("list", path, e))?;
    let is_ours = |name: &str| OURS.contains(&name) || is_volumes(path, name);
    let foreign = match names.iter().find(|name| !is_ours(name)) {
        Some(foreign) => Some(foreign.clone()),
        None => foreign_in_journal(path, disk)?,
    };
    let Some(foreign) = foreign else { return Ok(()) };
    let path = path.display();
    let message = match names.iter().any(|name| name == LOCK) {
        true => format!("{path} has been opened as a store; back up into another directory"),
        false => format!("{path} is not a directory of backups: it holds {foreign:?}"),
    };
    Err(Error::new(ErrorKind::InvalidInput, message))
}
