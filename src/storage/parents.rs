//! Makes a directory durable together with those that it is in.

use crate::storage::disk::Disk;
use crate::storage::files::resolve;
use crate::value::error::{Error, Result};
use std::io;
use std::path::Path;

/// Makes the directory itself durable: its entries, its own entry in the one above, and so on up to
/// the root. Which of them were made for this store, a crash in between makes everybody forget.
pub(crate) fn sync_with_parents(path: &Path, disk: &dyn Disk) -> Result<()> {
    let path = resolve(path).map_err(|e| Error::io("find", path, e))?;
    for (above, directory) in path.ancestors().enumerate() {
        match disk.sync_dir(directory) {
            // Nobody can have made a directory where nothing may be made or synced.
            Err(error) if above > 1 && cannot_be_synced(&error) => {}
            synced => synced.map_err(|e| Error::io("sync", directory, e))?,
        }
    }
    Ok(())
}

fn cannot_be_synced(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}
