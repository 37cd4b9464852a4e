//! Finding the store that is to be followed.

use crate::journal::manifest::{self, Manifest};
use crate::storage::disk::{Disk, RealDisk, refuse_no_directory};
use crate::storage::files::{absolute, resolve};
use crate::value::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The absolute path of the store in `path`, its disk and its manifest.
pub(super) fn open_path(path: &Path) -> Result<(PathBuf, Arc<dyn Disk>, Manifest)> {
    let path = absolute(path)?;
    let path = match resolve(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::invalid(format!(
                "{} is not a store: it does not exist",
                path.display()
            )));
        }
        resolved => resolved.map_err(|e| Error::io("find", &path, e))?,
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    refuse_no_directory(&*disk, &path)?;
    let manifest = manifest::read(&*disk, &path)?.ok_or_else(|| {
        let message = format!("{} is not a store: it has no MANIFEST", path.display());
        Error::invalid(message)
    })?;
    Ok((path, disk, manifest))
}
