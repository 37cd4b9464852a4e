//! Damage to any file of a store: it is healed, or it is an error that names its place. Nothing wrong is
//! ever read, nothing panics, and nothing hangs.

mod forged;
mod index;
mod rot;
mod special;

use crate::common::domain::scratch;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn copy(from: &Path) -> TempDir {
    let to = scratch();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_into(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), &target).unwrap()),
        }
    }
}
