//! Findings of a verification: each with its kind, its file and its place.

use crate::value::limits::FINDINGS_MAX;
use crate::value::position::Position;
use crate::value::shown;
use crate::value::stream::StreamId;
use serde::Serialize;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The kind of a finding, for a program to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// `MANIFEST` is missing or damaged.
    Manifest,
    /// The operating system cannot read a file, or a part of it.
    Unreadable,
    /// A segment of the journal is missing.
    SegmentMissing,
    /// A segment's header is damaged, or belongs to another store or place.
    SegmentHeader,
    /// A segment is longer or shorter than when it was created.
    SegmentLength,
    /// A frame of the journal is damaged or missing. Some or all of its events are lost.
    Frame,
    /// A whole frame's position or time does not follow from the frame before.
    Sequence,
    /// The hash chain breaks: something was changed, and its checksums were corrected.
    Chain,
    /// An event or record has a correct checksum and invalid content.
    Entry,
    /// A stream continues at another version than the next one.
    Version,
    /// An incomplete last frame, cut by a crash. None of it was acknowledged; opening the store saves it in a file
    /// of its own. An incomplete frame that was known to be durable is a [`Frame`](FindingKind::Frame) here, although
    /// opening the store also saves it as a torn write.
    TornWrite,
    /// Unused bytes are not zero. Nothing is lost.
    Unused,
    /// The durable watermark is damaged, or names something that does not exist.
    DurableWatermark,
    /// The index cannot be opened, or cannot be trusted as a whole. Opening the store rebuilds it.
    Index,
    /// An event differs between index and journal, or is missing in the index.
    IndexEvent,
    /// A stream's state in the index is not that of the journal.
    IndexStream,
    /// A record in the index is not that of the journal.
    IndexRecord,
    /// The index lacks an event for one of its tags, or has it in another place or for a tag that it does not have.
    IndexTag,
    /// A sparse index entry points to the wrong place, or is missing.
    IndexPosition,
    /// A snapshot cannot be read, or is of a version that its stream has not reached. Nothing is lost.
    Snapshot,
    /// A view cannot be read, is ahead of the log, or was made from another history. It can be rebuilt.
    View,
}

/// One problem found in a store; see [`Store::verify`](crate::Store::verify).
///
/// ```
/// use filmstrip::repair::FindingKind;
/// use filmstrip::Store;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("orders");
/// # Store::open(&path)?.close()?;
/// std::fs::write(path.join("journal/durable"), "scribbled over")?;
/// let verified = Store::verify_at(&path)?;
/// let finding = &verified.findings[0];
/// assert_eq!(finding.kind, FindingKind::DurableWatermark);
/// assert!(finding.file.ends_with("journal/durable"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of the finding.
    pub kind: FindingKind,
    /// The file, or for a database the directory, with the problem.
    #[serde(serialize_with = "shown::path")]
    pub file: PathBuf,
    /// The offset in the file in bytes, if it is known.
    pub offset: Option<u64>,
    /// The positions of the affected events, if they are known.
    pub positions: Option<RangeInclusive<Position>>,
    /// The affected stream, if one is known.
    pub stream: Option<StreamId>,
    /// What is wrong, in words.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, file: &Path, message: impl Into<String>) -> Finding {
        let (file, message) = (file.to_owned(), message.into());
        Finding { kind, file, offset: None, positions: None, stream: None, message }
    }

    pub(crate) fn at(mut self, offset: u64) -> Finding {
        self.offset = Some(offset);
        self
    }

    /// The positions from `first` to `last`; none if there are none between.
    pub(crate) fn positions(mut self, first: u64, last: u64) -> Finding {
        if first <= last {
            self.positions = Some(Position::new(first)..=Position::new(last));
        }
        self
    }

    pub(crate) fn stream(mut self, stream: &StreamId) -> Finding {
        self.stream = Some(stream.detached());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(offset) = self.offset {
            write!(f, ", byte {offset}")?;
        }
        match &self.positions {
            Some(range) if range.start() == range.end() => write!(f, ", position {}", range.end())?,
            Some(range) => write!(f, ", positions {} to {}", range.start(), range.end())?,
            None => {}
        }
        write!(f, ": {}", self.message)
    }
}

/// Findings as they come: all are counted, and the first `FINDINGS_MAX` are kept.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    pub(crate) more: u64,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        tracing::warn!(kind = ?finding.kind, finding = %finding, "the store is not whole");
        match self.kept.len() < FINDINGS_MAX {
            true => self.kept.push(finding),
            false => self.more += 1,
        }
    }

    /// Adds findings that were made, and logged, elsewhere.
    pub(crate) fn append(&mut self, other: Findings) {
        let room = FINDINGS_MAX - self.kept.len();
        self.more += other.more + other.kept.len().saturating_sub(room) as u64;
        self.kept.extend(other.kept.into_iter().take(room));
    }
}
