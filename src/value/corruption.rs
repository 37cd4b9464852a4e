//! Damage in bytes that were read, as a value: which thing is damaged, and how.
//!
//! * The code that reads a file knows the place: an [`Error`](crate::value::error::Error) or a
//!   [`Finding`](crate::value::finding::Finding) adds file, offset and position.
//! * The text is for people. Code that depends on the kind of damage matches on the kind.

use std::fmt;
use uuid::Uuid;

/// Which thing is damaged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Corruption {
    /// The file ends within a frame.
    FrameCut {
        held: u64,
        padded: u64,
    },
    FramePadding,
    FrameChecksum,
    /// A frame holds another number of events than its header says.
    FrameEvents {
        said: u32,
        held: u64,
    },
    /// The entry at this byte of a frame's body reaches beyond it.
    EntryCut(u64),
    EntryLength,
    EntryChecksum,
    EntryKind(u8),
    EventEntry,
    Envelope,
    StreamName,
    /// There is another event, or none, where this one must be.
    OtherEvent {
        stream: Box<str>,
        version: u64,
    },
    /// A stream's event does not follow the one before it.
    VersionOrder {
        stream: Box<str>,
        version: u64,
        before: u64,
    },
    /// Bytes follow one of the small forms.
    FormTrailing {
        left: u64,
        form: u64,
    },
    /// One of the small forms cannot be decoded, for the decoder's reason.
    Form(Box<str>),
    /// The versions of a process's pending effects.
    EffectOrder,
    EventBlock,
    KeyRun,
    IndexBlock,
    /// The tree of a table's index blocks does not lead to one, or to the wrong one.
    IndexBlockTree,
    /// A table's list of its index blocks.
    IndexBlockList,
    /// A table's run does not follow the one before it.
    KeyRunOrder {
        stream: Box<str>,
        version: u64,
    },
    /// A tag's run holds what is no posting, or one that does not follow the one before it.
    Posting,
    SparseEntry,
    Record,
    RecordOf(Box<str>),
    /// A record of the index is newer than any that its checkpoint allows.
    RecordEpoch {
        written: u64,
        checkpoint: u64,
    },
    /// The index holds other records than its checkpoint says.
    Records {
        held: u64,
        said: u64,
    },
    Snapshot(Box<str>),
    /// The file of the index's checkpoint.
    Checkpoint(CheckpointFault),
    /// The index's directory beside its checkpoint.
    Index(IndexFault),
    /// sled's files, in sled's words or for a reason that it does not know.
    Database(Box<str>),
    /// The note of what the views were when they were closed.
    ViewsNote(NoteFault),
}

/// How the file of the index's checkpoint is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckpointFault {
    Magic,
    Format {
        met: u32,
        known: u32,
    },
    Length {
        met: u64,
        expected: u64,
    },
    Checksum,
    /// A number that is counted up is beyond what there can be.
    Number {
        what: &'static str,
        met: u64,
        allowed: u64,
    },
    /// It is not a file that a checkpoint can be.
    Unfit(Box<str>),
}

/// How what is in the index's directory is not the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexFault {
    NoCheckpoint,
    Missing,
    NoDirectory,
    OtherStore { met: Uuid, store: Uuid },
    NoTree(&'static str),
    NoTreeOfTable(u64),
    NoMarker,
}

/// How the note of the closed views is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoteFault {
    Magic,
    Format { met: u32, known: u32 },
    Checksum,
    NoFile,
    Length { met: u64, allowed: u64 },
    Unreadable(Box<str>),
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corruption::FrameCut { held, padded } => {
                write!(f, "a frame of {padded} bytes is cut to {held}")
            }
            Corruption::FramePadding => f.write_str("the padding after a frame is not zero"),
            Corruption::FrameChecksum => f.write_str("a frame's checksum does not match"),
            Corruption::FrameEvents { said, held } => {
                write!(f, "a frame of {said} events holds {held}")
            }
            Corruption::EntryCut(at) => {
                write!(f, "an entry at byte {at} of a frame's body is cut short")
            }
            Corruption::EntryLength => {
                f.write_str("an entry has another length than its reference says")
            }
            Corruption::EntryChecksum => f.write_str("an entry's checksum does not match"),
            Corruption::EntryKind(kind) => write!(f, "an entry has the unknown kind {kind}"),
            Corruption::EventEntry => f.write_str("an event entry is malformed"),
            Corruption::Envelope => f.write_str("an event's envelope is malformed"),
            Corruption::StreamName => f.write_str("a stream's name is not text"),
            Corruption::OtherEvent { stream, version } => {
                write!(f, "the event of version {version} of {stream} is not there")
            }
            Corruption::VersionOrder { stream, version, before } => {
                write!(f, "stream {stream} continues at version {version} after {before}")
            }
            Corruption::FormTrailing { left, form } => {
                write!(f, "{left} bytes follow a form of {form}")
            }
            Corruption::Form(why) | Corruption::Database(why) => f.write_str(why),
            Corruption::EffectOrder => f.write_str("the versions of its effects are not in order"),
            Corruption::EventBlock => f.write_str("an event block is malformed"),
            Corruption::KeyRun => f.write_str("a run of events is malformed"),
            Corruption::IndexBlock => f.write_str("an index block is malformed"),
            Corruption::IndexBlockTree => {
                f.write_str("the tree of its block index leads to a wrong place")
            }
            Corruption::IndexBlockList => f.write_str("the list of its index blocks is malformed"),
            Corruption::KeyRunOrder { stream, version } => {
                write!(f, "version {version} of {stream} does not follow")
            }
            Corruption::Posting => f.write_str("a posting of a tag is malformed or out of order"),
            Corruption::SparseEntry => f.write_str("a sparse index entry is damaged"),
            Corruption::Record => f.write_str("a record is damaged"),
            Corruption::RecordOf(key) => write!(f, "the record {key} is damaged"),
            Corruption::RecordEpoch { written, checkpoint } => {
                write!(f, "a value is of epoch {written}, the checkpoint of {checkpoint}")
            }
            Corruption::Records { held, said } => write!(
                f,
                "its records are not those of its checkpoint: {held} instead of {said}, some lost \
                 or of another time"
            ),
            Corruption::Snapshot(place) => write!(f, "the snapshot of {place} cannot be read"),
            Corruption::Checkpoint(fault) => fault.fmt(f),
            Corruption::Index(fault) => fault.fmt(f),
            Corruption::ViewsNote(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for CheckpointFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointFault::Magic => f.write_str("the checkpoint does not begin with its magic"),
            CheckpointFault::Format { met, known } => {
                write!(f, "the checkpoint has format {met}; {known} is known")
            }
            CheckpointFault::Length { met, expected } => {
                write!(f, "the checkpoint is {met} bytes instead of {expected}")
            }
            CheckpointFault::Checksum => f.write_str("the checkpoint's checksum does not match"),
            CheckpointFault::Number { what, met, allowed } => {
                write!(f, "the checkpoint has the {what} {met}; at most {allowed} is allowed")
            }
            CheckpointFault::Unfit(why) => write!(f, "the checkpoint cannot be used: {why}"),
        }
    }
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexFault::NoCheckpoint => f.write_str("it has no checkpoint"),
            IndexFault::Missing => f.write_str("it is missing, but its checkpoint exists"),
            IndexFault::NoDirectory => f.write_str("it is not a directory"),
            IndexFault::OtherStore { met, store } => {
                write!(f, "it belongs to store {met}, not to {store}")
            }
            IndexFault::NoTree(name) => write!(f, "it lacks its tree {name:?}"),
            IndexFault::NoTreeOfTable(number) => {
                write!(f, "it lacks the tree of table {number}")
            }
            IndexFault::NoMarker => f.write_str("it lacks its marker"),
        }
    }
}

impl fmt::Display for NoteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoteFault::Magic => f.write_str("it does not begin with its magic"),
            NoteFault::Format { met, known } => write!(f, "it has format {met}; {known} is known"),
            NoteFault::Checksum => f.write_str("its checksum does not match"),
            NoteFault::NoFile => f.write_str("it is not a file"),
            NoteFault::Length { met, allowed } => {
                write!(f, "it has {met} bytes; at most {allowed} are allowed")
            }
            NoteFault::Unreadable(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

impl From<CheckpointFault> for Corruption {
    fn from(fault: CheckpointFault) -> Corruption {
        Corruption::Checkpoint(fault)
    }
}

impl From<IndexFault> for Corruption {
    fn from(fault: IndexFault) -> Corruption {
        Corruption::Index(fault)
    }
}

impl From<NoteFault> for Corruption {
    fn from(fault: NoteFault) -> Corruption {
        Corruption::ViewsNote(fault)
    }
}

impl From<Corruption> for String {
    fn from(corruption: Corruption) -> String {
        corruption.to_string()
    }
}
