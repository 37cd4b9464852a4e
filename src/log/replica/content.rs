//! What is in a frame that came from elsewhere: its events and records, for the tail.

use crate::codec::envelope;
use crate::codec::state::StreamState;
use crate::index::flush_batch::EventToIndex;
use crate::journal::write::{End, Written};
use crate::log::core::Log;
use crate::log::publish::Content;
use crate::log::read::located::{Located, each_located};
use crate::log::replica::failed::Failed;
use crate::log::tail::PublishedRun;
use crate::log::tail::stream_table::Slot;
use crate::log::tail::tags::PublishedTags;
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use crate::value::stream::StreamId;
use crate::value::tag::TagHash;
use std::collections::HashMap;
use std::iter;

/// Shows a durable frame, after which the journal ends at `end`.
pub(super) fn publish(log: &Log, end: &End, written: &Written) -> Result<(), Failed> {
    let (at, frame) = (written.at, &written.frame);
    let damaged = |what: Corruption| {
        Failed::Broken(log.journal.unreadable(at, frame.header.first_position, frame, what))
    };
    let (mut events, mut records) = (Vec::new(), Vec::new());
    each_located(at, frame, |located| match located {
        Located::Event(event) => events.push(event),
        Located::Record { key, value } => records.push((key, value)),
    })
    .map_err(damaged)?;
    let found = find_streams(log, &events).map_err(Failed::Again)?;
    let tagged: Vec<(&EventToIndex, Vec<TagHash>)> = events
        .iter()
        .map(|event| (event, envelope::tags(&event.envelope).map(TagHash::of).collect()))
        .filter(|(_, hashes): &(_, Vec<TagHash>)| !hashes.is_empty())
        .collect();
    let content = Content {
        tagged: tagged.iter().map(|(event, hashes)| PublishedTags {
            first_position: event.position,
            recorded_at: event.recorded_at,
            segment: at.segment,
            event_type: envelope::event_type(&event.envelope).unwrap_or_default(),
            hashes,
            locations: iter::once(event.location),
        }),
        runs: events.chunk_by(|one, next| one.stream == next.stream).map(|run| PublishedRun {
            stream: &run[0].stream,
            found: found[&run[0].stream],
            first_version: run[0].version,
            first_position: run[0].position,
            locations: run.iter().map(|event| event.location),
        }),
        records: records.into_iter(),
    };
    log.publish(end, written, content).map_err(damaged)?;
    let entries = frame.entries().flatten();
    log.count_frame(frame, entries.filter(|(offset, ..)| frame.begins_commit(*offset)).count());
    Ok(())
}

/// The slot in the tail and the state of each stream that `events` are of.
fn find_streams<'a>(
    log: &Log,
    events: &'a [EventToIndex],
) -> Result<HashMap<&'a StreamId, (Slot, StreamState)>> {
    let mut streams: Vec<&StreamId> = events.iter().map(|event| &event.stream).collect();
    streams.dedup();
    let mut found = HashMap::with_capacity(streams.len());
    for (stream, known) in streams.iter().zip(log.tail.find_each(&streams)) {
        if found.contains_key(stream) {
            continue;
        }
        let known = match known {
            Some(known) => known,
            None => {
                let state = log.index.ask(|index| index.stream_state(stream))?;
                let state = state.unwrap_or_else(StreamState::absent);
                (log.tail.remember(stream, state), state)
            }
        };
        found.insert(*stream, known);
    }
    Ok(found)
}
