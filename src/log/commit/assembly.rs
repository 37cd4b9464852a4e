//! The frame of a group: its admitted commits, one after the other.

use crate::codec::digest::Digest;
use crate::codec::entry;
use crate::codec::envelope;
use crate::codec::frame::{self, ChainHasher, EntryLocation, Frame, Kind, Location, Meaning};
use crate::codec::state::StreamState;
use crate::journal::write::End;
use crate::log::commit::admission::{Admission, Placement};
use crate::log::commit::encoded::{EncodedCommit, EncodedEvent};
use crate::log::commit::tagged::TaggedRun;
use crate::log::tail::PublishedRun;
use crate::log::tail::stream_table::Slot;
use crate::log::tail::tags::PublishedTags;
use crate::value::clock::Micros;

/// Spare bytes that a frame's buffer may keep, besides an eighth of the frame. Shrinking a buffer costs a call to the
/// allocator, and often a copy, for each frame. In return the newest frames keep at most an eighth more than
/// `TAIL_BODY_BYTES_MAX`. Without a bound, buffers were shrunk to free 40 bytes; the value was not measured
/// separately.
const SPARE_BYTES_MAX: usize = 64;

/// An encoded commit that goes into the group's frame.
pub(super) struct PlacedCommit<'a> {
    pub(super) encoded: &'a EncodedCommit,
    placement: &'a Placement,
    /// How many bytes later its entries are than they would be in a frame of their own.
    offset: usize,
}

impl<'a> PlacedCommit<'a> {
    /// Its events, for a frame at `at`.
    pub(super) fn runs(
        &self,
        at: Location,
        streams: &[(Slot, StreamState)],
    ) -> impl Iterator<Item = PublishedRun<'a, impl Iterator<Item = EntryLocation>>> {
        let PlacedCommit { encoded, placement, offset } = *self;
        let located = move |event: &EncodedEvent| located(event, at, offset);
        let appends = encoded.appends.iter().zip(&placement.appends);
        appends.map(move |(append, placed)| PublishedRun {
            stream: &append.stream,
            found: streams[placed.stream],
            first_version: placed.first_version,
            first_position: placement.first_position + append.events.start as u64,
            locations: encoded.events[append.events.clone()].iter().map(located),
        })
    }

    /// Those of its events that have tags, for `frame` at `at`.
    pub(super) fn tagged(
        &self,
        at: Location,
        frame: &'a Frame,
    ) -> impl Iterator<Item = PublishedTags<'a, impl Iterator<Item = EntryLocation> + use<'a>>> + use<'a>
    {
        let PlacedCommit { encoded, placement, offset } = *self;
        encoded.tagged().map(move |TaggedRun { events, hashes }| {
            let run = &encoded.events[events.clone()];
            let envelope = &run[0].envelope;
            let envelope = &frame.bytes()[offset + envelope.start..offset + envelope.end];
            PublishedTags {
                first_position: placement.first_position + events.start as u64,
                recorded_at: frame.header.time,
                segment: at.segment,
                event_type: envelope::event_type(envelope).unwrap_or_default(),
                hashes,
                locations: run.iter().map(move |event| located(event, at, offset)),
            }
        })
    }
}

/// The entry of `event` in the frame at `at`, where it is `offset` bytes later than in a frame of its own.
fn located(event: &EncodedEvent, at: Location, offset: usize) -> EntryLocation {
    EntryLocation {
        segment: at.segment,
        offset: (at.offset as usize + offset + event.entry.start) as u32,
        length: event.entry.len() as u32,
    }
}

/// The buffer of the first admitted commit. Its entries are already at their place in the frame, so a lone commit is
/// not copied. That saved 8 % of the instructions of an append of 64 events.
pub(super) fn first_frame(group: &mut [EncodedCommit], admissions: &[Admission]) -> Vec<u8> {
    let mut decided = group.iter_mut().zip(admissions);
    let first = decided.find(|(_, admission)| admission.placement().is_some());
    first.map(|(encoded, _)| std::mem::take(&mut encoded.frame)).unwrap_or_default()
}

pub(super) fn admitted<'a>(
    group: &'a [EncodedCommit],
    admissions: &'a [Admission],
) -> Vec<PlacedCommit<'a>> {
    let decided = group.iter().zip(admissions);
    let admitted = decided.filter_map(|(encoded, admission)| {
        Some(PlacedCommit { encoded, placement: admission.placement()?, offset: 0 })
    });
    admitted.collect()
}

/// Builds the frame of all admitted commits in `buffer`, which is the first one's.
pub(super) fn assemble(
    end: &End,
    time: Micros,
    mut buffer: Vec<u8>,
    admitted: &mut [PlacedCommit<'_>],
) -> (Vec<u8>, Meaning) {
    let events: usize = admitted.iter().map(|admitted| admitted.encoded.events.len()).sum();
    // `first_frame` has taken the first commit's entries, so its `bytes` counts only records.
    let bytes: usize = admitted.iter().map(|admitted| admitted.encoded.bytes()).sum();
    let first_position = end.position + 1;
    let whole = frame::padded((buffer.len().max(frame::HEADER_BYTES) + bytes) as u64) as usize;
    buffer.reserve_exact(whole.saturating_sub(buffer.len()));
    buffer.resize(buffer.len().max(frame::HEADER_BYTES), 0);
    let events = u32::try_from(events).expect("the limits keep a group below 2³² events");
    let mut chain = ChainHasher::new(&end.chain, Kind::Group, first_position, time, events);
    for (n, PlacedCommit { encoded, placement, offset }) in admitted.iter_mut().enumerate() {
        if n > 0 {
            *offset = buffer.len() - frame::HEADER_BYTES;
            buffer.extend_from_slice(encoded.entries());
        }
        seal(encoded, placement, *offset, &mut buffer, &mut chain);
    }
    // The tail keeps the buffer for a while, so it may have little spare capacity.
    if buffer.capacity() - whole > SPARE_BYTES_MAX + whole / 8 {
        buffer.shrink_to(whole);
    }
    let meaning =
        Meaning { kind: Kind::Group, events, first_position, time, chain: chain.finish() };
    (buffer, meaning)
}

/// Completes the encoded commit's entries, which are `offset` bytes later in `buffer`, and appends its records.
fn seal(
    encoded: &EncodedCommit,
    placement: &Placement,
    offset: usize,
    buffer: &mut Vec<u8>,
    chain: &mut ChainHasher,
) {
    for (append, placed) in encoded.appends.iter().zip(&placement.appends) {
        let stream = append.stream.as_str().as_bytes();
        let events = &encoded.events[append.events.clone()];
        for (version, event) in (placed.first_version..).zip(events) {
            let entry = offset + event.entry.start..offset + event.entry.end;
            entry::seal_event(&mut buffer[entry], version);
            let digest: &Digest = &event.digest;
            chain.event(stream, version, digest);
        }
    }
    for (n, record) in encoded.records.iter().enumerate() {
        let bytes = record.encode();
        entry::put_record(&bytes, n == 0 && encoded.events.is_empty(), buffer);
        chain.record(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::envelope;
    use crate::codec::frame::Frame;
    use crate::log::commit::Commit;
    use crate::log::commit::admission::PlacedAppend;
    use crate::log::read::located::{Located, each_located};
    use crate::log::tail::stream_table::Streams;
    use crate::value::event::NewEvent;
    use crate::value::position::{ExpectedVersion, Position};
    use crate::value::random::{Random, first_seed, rounds};
    use crate::value::stream::StreamId;
    use uuid::Uuid;

    const AT: Location = Location { segment: 3, offset: 4_096 };
    const HEAD: u64 = 10;

    /// Events of up to two streams, a record, or both.
    fn encoded(random: &mut Random, number: u64) -> EncodedCommit {
        let mut commit = Commit::new();
        let streams = random.below(3);
        for stream in 0..streams {
            let events = (0..=random.below(4))
                .map(|_| NewEvent::bytes("T", vec![7; random.below(500) as usize]))
                .collect::<Vec<_>>();
            commit = commit.append(format!("S{number}-{stream}"), ExpectedVersion::Any, events);
        }
        if streams == 0 || random.below(3) == 0 {
            commit = commit.tracking("consumer", Position::new(u64::MAX));
        }
        EncodedCommit::new(commit).unwrap()
    }

    /// Random admissions for `group`: some commits are refused, and the first may be among them.
    fn admissions(random: &mut Random, group: &[EncodedCommit]) -> Vec<Admission> {
        let mut first_position = HEAD + 1;
        let admission = |encoded: &EncodedCommit| {
            if random.below(3) == 0 {
                let consumer = "consumer".to_owned();
                return Admission::AlreadyTracked { consumer, tracked: 2, offered: 1 };
            }
            let place = |_| PlacedAppend { stream: 0, first_version: 1 + random.below(9) };
            let appends = (0..encoded.appends.len()).map(place).collect();
            let placement = Placement { first_position, appends };
            first_position += encoded.events.len() as u64;
            Admission::Admitted(placement)
        };
        group.iter().map(admission).collect()
    }

    /// The stream, version, position and id of each admitted event, in order.
    fn expected(
        group: &[EncodedCommit],
        admissions: &[Admission],
    ) -> Vec<(StreamId, u64, u64, Uuid)> {
        let mut events = Vec::new();
        for (encoded, admission) in group.iter().zip(admissions) {
            let Admission::Admitted(placement) = admission else { continue };
            for (append, placed) in encoded.appends.iter().zip(&placement.appends) {
                for (n, event) in (0..).zip(&encoded.events[append.events.clone()]) {
                    let position = HEAD + 1 + events.len() as u64;
                    events.push((
                        append.stream.clone(),
                        placed.first_version + n,
                        position,
                        event.id,
                    ));
                }
            }
        }
        events
    }

    #[test]
    fn whoever_is_admitted_the_frame_holds_it_where_the_tail_is_told() {
        let state = StreamState::absent();
        let slot = Streams::default().remember(&StreamId::new("S-1").unwrap(), state);
        for seed in first_seed()..first_seed() + rounds(500) {
            let random = &mut Random::new(seed);
            let mut group: Vec<_> = (0..=random.below(5)).map(|n| encoded(random, n)).collect();
            let admissions = admissions(random, &group);
            let expected = expected(&group, &admissions);
            let buffer = first_frame(&mut group, &admissions);
            let mut admitted = admitted(&group, &admissions);
            if admitted.is_empty() {
                assert!(buffer.is_empty(), "seed {seed}");
                continue;
            }
            let end = End { next: AT, position: HEAD, time: Micros(5), chain: [1; 32] };
            let (mut buffer, meaning) = assemble(&end, Micros(6), buffer, &mut admitted);
            let header = frame::complete(&mut buffer, &meaning, Uuid::nil(), AT);
            let spare = buffer.capacity() - buffer.len();
            // `Record::bytes` overestimates by a few bytes.
            let spare_max = 2 * SPARE_BYTES_MAX + buffer.len() / 7;
            assert!(spare <= spare_max, "seed {seed}: {spare} bytes to spare");
            let frame = Frame::written(header, buffer.into());

            let (mut held, mut records) = (Vec::new(), 0);
            each_located(AT, &frame, |located| match located {
                Located::Event(event) => held.push(event),
                Located::Record { .. } => records += 1,
            })
            .unwrap();
            let known: Vec<_> = held
                .iter()
                .map(|event| {
                    let id = envelope::id(&event.envelope).unwrap();
                    (event.stream.clone(), event.version, event.position, id)
                })
                .collect();
            assert_eq!(known, expected, "seed {seed}");
            let streams = [(slot, state)];
            let told = admitted.iter().flat_map(|admitted| admitted.runs(AT, &streams));
            let told = told.flat_map(|run| {
                let numbers = (run.first_version..).zip(run.first_position..);
                numbers.zip(run.locations).map(move |((v, p), at)| (run.stream.clone(), v, p, at))
            });
            let places = held.iter().map(|e| (e.stream.clone(), e.version, e.position, e.location));
            assert!(told.eq(places), "seed {seed}: the tail is told other places");
            let tracking = admitted.iter().filter(|admitted| !admitted.encoded.records.is_empty());
            assert_eq!(records, tracking.count(), "seed {seed}");
        }
    }
}
