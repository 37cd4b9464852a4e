//! A commit in the making: the reactions of several instances, and what effects have led to.
//!
//! * It is written before anything is added to one that is large. So with the largest reaction it is still a commit.

use crate::log::commit::Commit;
use crate::log::commit::encoded::{EncodedCommit, check_event_type};
use crate::value::error::{Error, Result};
use crate::value::event::NewEvent;
use crate::value::failpoint::failpoint;
use crate::value::limits::{
    REACTION_BYTES_MAX, REACTION_EVENTS_MAX, REACTIONS_BYTES_MIN, REACTIONS_EVENTS_MIN,
};
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
        self.bytes += bytes(stream, &events);
        self.appends.push((stream.clone(), expected, events));
    }

    /// The streams that it appends to.
    pub(super) fn streams(&self) -> Vec<StreamId> {
        self.appends.iter().map(|(stream, ..)| stream.clone()).collect()
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
    if events.len() < REACTIONS_EVENTS_MIN && bytes(stream, events) < REACTIONS_BYTES_MIN {
        return events.iter().try_for_each(|event| check_event_type(&event.event_type));
    }
    let within = |met: usize, allowed: usize, unit: &str| match met > allowed {
        true if !failpoint!("process::take_any_reaction") => {
            Err(Error::too_large("what an instance records at once", met, allowed, unit))
        }
        _ => Ok(()),
    };
    within(events.len(), REACTION_EVENTS_MAX, "events")?;
    let commit = Commit::new().append(stream, ExpectedVersion::Any, events.to_vec());
    within(EncodedCommit::new(commit)?.bytes(), REACTION_BYTES_MAX, "bytes")
}

/// At least as many bytes as the events of one stream take.
fn bytes(stream: &StreamId, events: &[NewEvent]) -> usize {
    let of_event = |event: &NewEvent| {
        let entries = event.metadata.entries.iter();
        let entries: usize = entries.map(|(key, value)| key.len() + value.len() + 8).sum();
        let user = event.metadata.user.as_ref().map_or(0, String::len);
        let tags: usize = event.tags.iter().map(|tag| tag.len() + 8).sum();
        event.payload.len() + event.event_type.len() + entries + user + tags + 128
    };
    events.iter().map(of_event).sum::<usize>() + events.len() * stream.as_str().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::event::Metadata;
    use uuid::Uuid;

    fn stream() -> StreamId {
        StreamId::new(format!("P-{}", "i".repeat(1_000))).unwrap()
    }

    fn event(bytes: usize) -> NewEvent {
        let metadata = Metadata::default().correlation_id(Uuid::max()).causation_id(Uuid::max());
        let metadata = metadata.command_id(Uuid::max()).user("ann").entry("tenant", "t");
        NewEvent::bytes("Told", vec![0; bytes]).metadata(metadata)
    }

    fn some(events: usize, bytes: usize) -> Vec<NewEvent> {
        (0..events).map(|_| event(bytes)).collect()
    }

    /// The story: each part of a commit was small enough by itself, and all together were not: the process stopped at
    /// its own commit, and again whenever it was resumed.
    #[test]
    fn what_is_not_large_and_the_largest_reaction_are_one_commit() {
        let mut plan = Plan::default();
        while plan.events < REACTIONS_EVENTS_MIN - 1 {
            plan.add(
                &StreamId::new(format!("P-{}", plan.events)).unwrap(),
                Version::NONE,
                vec![event(1)],
            );
            assert!(!plan.is_large());
        }
        let many = some(REACTION_EVENTS_MAX, 1);
        let stream = StreamId::new("P-many").unwrap();
        check(&stream, &many).unwrap();
        let one_more = check(&stream, &[many.clone(), vec![event(1)]].concat()).unwrap_err();
        let expected =
            "what an instance records at once is 57345 events; at most 57344 are allowed";
        assert_eq!(one_more.to_string(), expected);
        plan.add(&stream, Version::NONE, many);
        assert!(plan.is_large());
        let commit = plan.into_commit(Vec::new()).unwrap();
        assert_eq!(commit.events.len(), REACTIONS_EVENTS_MIN - 1 + REACTION_EVENTS_MAX);
    }

    #[test]
    fn the_same_holds_for_their_bytes() {
        let (mut plan, stream) = (Plan::default(), stream());
        plan.add(
            &StreamId::new("P-small").unwrap(),
            Version::NONE,
            vec![event(REACTIONS_BYTES_MIN - 500)],
        );
        assert!(!plan.is_large());
        // What the events take besides their payloads.
        let commit = Commit::new().append(&stream, ExpectedVersion::Any, some(4, 14 << 20));
        let besides = EncodedCommit::new(commit).unwrap().bytes() - 4 * (14 << 20);
        let mut largest = some(3, 14 << 20);
        largest.push(event((14 << 20) - besides));
        check(&stream, &largest).unwrap();
        *largest.last_mut().unwrap() = event((14 << 20) - besides + 1);
        let error = check(&stream, &largest).unwrap_err();
        let expected =
            "what an instance records at once is 58720257 bytes; at most 58720256 are allowed";
        assert_eq!(error.to_string(), expected);
        *largest.last_mut().unwrap() = event((14 << 20) - besides);
        plan.add(&stream, Version::NONE, largest);
        plan.into_commit(Vec::new()).unwrap();
    }

    #[test]
    fn events_are_not_taken_for_shorter_than_they_are() {
        let long = stream();
        for bytes in [0, 1, 300, 100_000] {
            let events = some(10, bytes);
            let commit = Commit::new().append(&long, ExpectedVersion::Any, events.clone());
            let taken = EncodedCommit::new(commit).unwrap().bytes();
            assert!(super::bytes(&long, &events) >= taken, "{taken} bytes");
        }
    }
}
