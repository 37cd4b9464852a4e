//! An event's version in its stream, its position in the global sequence, and the version that a writer expects.

use std::fmt;

/// An event's place in its stream; the first is 1. A stream's version is its last event's.
///
/// ```
/// use filmstrip::Version;
/// assert_eq!(Version::NONE, Version::new(0));
/// assert!(Version::new(2) > Version::new(1));
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Version(u64);

impl Version {
    /// The version of a stream without events: 0.
    pub const NONE: Version = Version(0);

    /// Makes the version with this number.
    #[must_use]
    pub const fn new(version: u64) -> Version {
        Version(version)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An event's place in the global sequence; the first is 1, and there are no gaps.
///
/// ```
/// use filmstrip::Position;
/// assert_eq!(Position::START, Position::new(0));
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before every event: 0.
    pub const START: Position = Position(0);

    /// Makes the position with this number.
    #[must_use]
    pub const fn new(position: u64) -> Position {
        Position(position)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version that a writer expects a stream to have: the condition of optimistic concurrency.
///
/// ```
/// use filmstrip::{ExpectedVersion, Version};
/// assert_eq!(ExpectedVersion::from(Version::new(3)), ExpectedVersion::Exact(Version::new(3)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Any version, or none.
    Any,
    /// The stream has no events.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// The stream's version is this one; `Exact(Version::NONE)` is `NoStream`.
    Exact(Version),
}

impl ExpectedVersion {
    /// Returns whether a stream at version `actual` is as expected.
    #[must_use]
    pub fn holds_for(self, actual: Version) -> bool {
        match self {
            ExpectedVersion::Any => true,
            ExpectedVersion::NoStream => actual == Version::NONE,
            ExpectedVersion::StreamExists => actual > Version::NONE,
            ExpectedVersion::Exact(expected) => actual == expected,
        }
    }

    /// The one version that satisfies the expectation, if there is only one.
    pub(crate) fn exact(self) -> Option<Version> {
        match self {
            ExpectedVersion::NoStream => Some(Version::NONE),
            ExpectedVersion::Exact(version) => Some(version),
            ExpectedVersion::Any | ExpectedVersion::StreamExists => None,
        }
    }
}

impl From<Version> for ExpectedVersion {
    fn from(version: Version) -> ExpectedVersion {
        ExpectedVersion::Exact(version)
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpectedVersion::Any => f.write_str("any version"),
            ExpectedVersion::NoStream => f.write_str("no stream"),
            ExpectedVersion::StreamExists => f.write_str("an existing stream"),
            ExpectedVersion::Exact(version) => write!(f, "version {version}"),
        }
    }
}
