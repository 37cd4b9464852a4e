//! What a group's commits are judged by, and what is decided about each.

use crate::codec::digest::Digest;
use crate::log::commit::condition::Match;
use crate::log::commit::outcome::{Appended, Conflict};
use std::collections::HashMap;
use uuid::Uuid;

/// The durable state that the group's commits depend on. Streams are numbered in the order in which they are first
/// mentioned.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) head: u64,
    /// The streams that each encoded commit names.
    pub(crate) mentions: Vec<Mentions>,
    /// The version of each stream.
    pub(crate) versions: Vec<u64>,
    /// The tracked position of each consumer that an encoded commit tracks.
    pub(crate) tracked: HashMap<String, u64>,
    /// The durable events right after an expected version that no longer holds, by stream and version.
    pub(crate) stored: HashMap<(usize, u64), StoredEvent>,
    /// What encoded commits assume of earlier ones, by their numbers in the group, in order.
    pub(crate) assumed: Vec<(usize, Assumed)>,
    /// The first durable match of each condition that has one: the number of its encoded commit, its place there, and
    /// the match; in order. Nothing, if no encoded commit has a condition.
    pub(crate) matches: Option<Vec<(usize, usize, Match)>>,
}

/// An earlier commit that a commit was decided on before it was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assumed {
    /// It was in an earlier group; whether it is durable.
    Known(bool),
    /// It has this number in the same group.
    InGroup(usize),
}

/// The numbers of the streams that an encoded commit names.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    pub(crate) appends: Vec<usize>,
    pub(crate) checks: Vec<usize>,
}

/// The parts of a durable event that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    pub(crate) id: Uuid,
    pub(crate) digest: Digest,
    pub(crate) position: u64,
}

/// The decision about one encoded commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted(Placement),
    /// The events and all records of the commit are recorded already.
    AlreadyRecorded(Vec<Appended>),
    /// The events are recorded already. Only the records are written, with this placement.
    RecordsOnly(Placement, Vec<Appended>),
    /// All conditions and checks of a commit that writes nothing hold, for this head.
    Holds(u64),
    Conflict(Conflict),
    /// The condition with this place in the commit has its first match at a position.
    Matched {
        condition: usize,
        position: u64,
    },
    AlreadyTracked {
        consumer: String,
        tracked: u64,
        offered: u64,
    },
}

impl Admission {
    /// The placement of what is written; `None` if nothing is written.
    pub(crate) fn placement(&self) -> Option<&Placement> {
        match self {
            Admission::Admitted(placement) | Admission::RecordsOnly(placement, _) => {
                Some(placement)
            }
            _ => None,
        }
    }
}

/// The places of an admitted commit's events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The position of its first event. Without events, the position of the next event of the log.
    pub(crate) first_position: u64,
    /// The place of each of its appends.
    pub(crate) appends: Vec<PlacedAppend>,
}

/// The place of an append's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacedAppend {
    /// The number of its stream.
    pub(crate) stream: usize,
    pub(crate) first_version: u64,
}

impl Assumed {
    /// Whether the commit that is assumed is durable, or will be with its group, of which so many are decided.
    pub(super) fn holds(self, admissions: &[Admission]) -> bool {
        match self {
            Assumed::Known(is_kept) => is_kept,
            Assumed::InGroup(number) => {
                matches!(admissions.get(number), Some(Admission::Admitted(_)))
            }
        }
    }
}
