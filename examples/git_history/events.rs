//! The facts that are recorded: what happened to a file, and which git commits are taken.

use filmstrip::Event;
use serde::{Deserialize, Serialize};

/// What a git commit did to a file; the events of a stream `File-<path>`.
///
/// Each carries the git commit's id in its metadata (`commit`), and the whole path (`path`) where the
/// stream's name had to be shortened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "in the store an event type's name stands alone")]
pub(crate) enum FileEvent {
    /// It appeared, with so many lines; a binary file has none to count.
    FileAdded { lines: Option<u64> },
    /// Its lines or its mode changed.
    FileChanged { added: u64, removed: u64 },
    /// It is or was binary, so that git counts no lines of the change, only those of the outcome.
    FileReplaced { lines: Option<u64> },
    /// It went away.
    FileDeleted,
}

impl Event for FileEvent {}

/// How far a git commit is ingested; the events of a stream `Commit-<id>`. They come after the
/// files' events in the same commit of the store, so the newest one says where to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum CommitEvent {
    /// Of a git commit too large for one commit of the store: so many of its files are in.
    PartTaken { parent: Option<String>, files: u64 },
    /// All of it is in.
    CommitTaken { parent: Option<String>, files: u64, author: String, subject: String },
}

impl Event for CommitEvent {}

/// The metadata entry of a file's event that names its git commit.
pub(crate) const COMMIT_ENTRY: &str = "commit";
/// The metadata entry with the whole path, percent-encoded, where the stream's name is shortened.
pub(crate) const PATH_ENTRY: &str = "path";
