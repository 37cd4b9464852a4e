//! A commit in the making: the reactions of several instances, and what effects have led to.

use crate::log::commit::{Commit, EncodedCommit, check_event_type};
use crate::value::error::Result;
use crate::value::event::NewEvent;
use crate::value::limits::{REACTIONS_BYTES_MIN, REACTIONS_EVENTS_MIN};
use crate::value::position::{ExpectedVersion, Version};
use crate::value::stream::StreamId;

#[derive(Default)]
pub(super) struct Plan {
    appends: Vec<(StreamId, Version, Vec<NewEvent>)>,
    events: usize,
    bytes: usize,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    /// Whether it is to be written before more is added.
    pub(super) fn is_large(&self) -> bool {
        self.events >= REACTIONS_EVENTS_MIN || self.bytes >= REACTIONS_BYTES_MIN
    }

    /// What an instance has decided, at the version `expected` of its stream.
    pub(super) fn add(&mut self, stream: &StreamId, expected: Version, events: Vec<NewEvent>) {
        self.events += events.len();
        self.bytes += events.iter().map(bytes).sum::<usize>();
        self.appends.push((stream.clone(), expected, events));
    }

    /// The commit, with these records.
    pub(super) fn into_commit(self, records: Vec<(String, Vec<u8>)>) -> Result<EncodedCommit> {
        let commit =
            self.appends.into_iter().fold(Commit::new(), |commit, (stream, at, events)| {
                commit.append(stream, ExpectedVersion::Exact(at), events)
            });
        let records = records.into_iter();
        EncodedCommit::new(records.fold(commit, |commit, (key, value)| commit.state(key, value)))
    }
}

/// Checks that `events` can be a part of a commit, where one instance's are so many or so long that they may not.
pub(super) fn check(stream: &StreamId, events: &[NewEvent]) -> Result<()> {
    let bytes: usize = events.iter().map(bytes).sum();
    if events.len() < REACTIONS_EVENTS_MIN && bytes < REACTIONS_BYTES_MIN {
        return events.iter().try_for_each(|event| check_event_type(&event.event_type));
    }
    let commit = Commit::new().append(stream, ExpectedVersion::Any, events.to_vec());
    EncodedCommit::new(commit).map(drop)
}

/// About as many bytes as an event takes.
fn bytes(event: &NewEvent) -> usize {
    let entries = event.metadata.entries.iter();
    let entries: usize = entries.map(|(key, value)| key.len() + value.len() + 8).sum();
    let user = event.metadata.user.as_ref().map_or(0, String::len);
    event.payload.len() + event.event_type.len() + entries + user + 128
}
