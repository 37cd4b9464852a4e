//! What is found wrong with a store: each thing with its kind, its file and its place.

use crate::value::limits::FINDINGS_MAX;
use crate::value::position::Position;
use crate::value::stream::StreamId;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// What kind of thing is wrong, in one word that a program can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// `MANIFEST` is missing or damaged.
    Manifest,
    /// A file, or a part of one, that the operating system does not read.
    Unreadable,
    /// A segment of the journal is missing.
    SegmentMissing,
    /// A segment's header is damaged, or is not of this store or place.
    SegmentHeader,
    /// A segment is longer or shorter than it was made.
    SegmentLength,
    /// A frame of the journal is damaged, or gone. Events are lost, or some of them.
    Frame,
    /// A whole frame whose position or time does not follow from the one before.
    Sequence,
    /// The hash chain breaks: something was changed by somebody who knew how to correct checksums.
    Chain,
    /// An event or record whose checksum holds and whose content does not.
    Entry,
    /// A stream continues at another version than the next one.
    Version,
    /// An incomplete last frame, cut by a crash. None of it was acknowledged; opening the store saves it in a file
    /// of its own. An incomplete frame that was known to be durable is a [`Frame`](FindingKind::Frame) here, although
    /// opening the store also saves it as a torn write.
    TornWrite,
    /// Bytes that carry no meaning are not zero. Nothing is lost by it.
    Unused,
    /// The durable watermark is damaged, or names what is not there.
    DurableWatermark,
    /// The index cannot be opened, or cannot be trusted as a whole. Opening the store rebuilds it.
    Index,
    /// An event that differs between index and journal, or is missing in the index.
    IndexEvent,
    /// A stream's state in the index is not that of the journal.
    IndexStream,
    /// A record in the index is not that of the journal.
    IndexRecord,
    /// A sparse index entry that does not point where it must, or is missing.
    IndexPosition,
    /// A snapshot that cannot be read, or is of a version that its stream has not reached. Nothing is
    /// lost by it.
    Snapshot,
    /// A view that cannot be read, is ahead of the log, or was made from another history. It can be built
    /// again.
    View,
}

/// One thing that is wrong with a store; see [`Store::verify`](crate::Store::verify).
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The file, or for a database the directory, that it is in.
    pub file: PathBuf,
    /// Where in the file, in bytes from its start, if that is known.
    pub offset: Option<u64>,
    /// The positions of the events that it affects, where they are known.
    pub positions: Option<RangeInclusive<Position>>,
    /// The stream that it affects, where one is known.
    pub stream: Option<StreamId>,
    /// What is wrong, for a person to read.
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

    /// Adds what was found elsewhere, and told there.
    pub(crate) fn append(&mut self, other: Findings) {
        let room = FINDINGS_MAX - self.kept.len();
        self.more += other.more + other.kept.len().saturating_sub(room) as u64;
        self.kept.extend(other.kept.into_iter().take(room));
    }
}
