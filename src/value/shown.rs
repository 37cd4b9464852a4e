//! Values as text, for JSON or whatever else serde writes: what a page of an operator's shows.
//!
//! * What is shown is never refused: a path that is not UTF-8 is shown, too.

use crate::value::failpoint::failpoint;
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};

/// A path as text. Each sequence of bytes that is not UTF-8 becomes U+FFFD.
pub(crate) fn path<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    if failpoint!("value::refuse_some_paths") {
        return path.serialize(to);
    }
    to.collect_str(&path.display())
}

/// The same, or nothing.
pub(crate) fn optional_path<S: Serializer>(
    optional: &Option<PathBuf>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match optional {
        Some(it) => path(it, to),
        None => to.serialize_none(),
    }
}
