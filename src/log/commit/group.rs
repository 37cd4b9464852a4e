//! Group commit: callers' threads write for each other.
//!
//! * Callers lead in turn (`log::commit::queue`): the leader writes one group, as one frame with one `fdatasync`. A
//!   writer thread would add two wake-ups to each commit; one wake-up took a tenth of an `fdatasync`
//!   (docs/decisions/0014).
//! * Every caller gets a reply: a leader that fails or panics replies to its group and to all waiting callers.
//! * A caller gets its reply after the tail and the head have moved, so it can read at its position at once.
//! * After a failed write the store stays `ReadOnly` until it is reopened; only reopening decides what is durable.

use crate::codec::digest::Digest;
use crate::codec::entry;
use crate::codec::frame::{self, ChainHasher, EntryLocation, Kind, Location, Meaning};
use crate::codec::state::StreamState;
use crate::journal::write::{End, WriteError, Writer, Written};
use crate::log::commit::admit::{Admission, Placement, admit};
use crate::log::commit::gather::{Gathered, gather};
use crate::log::commit::outcome::{AppendError, Appended, Committed};
use crate::log::commit::queue::{CommitQueue, Terms, Turn};
use crate::log::commit::{EncodedCommit, EncodedEvent};
use crate::log::core::Log;
use crate::log::indexer;
use crate::log::tail::PublishedRun;
use crate::log::tail::stream_table::Slot;
use crate::value::callback::Holding;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::position::{Position, Version};
use parking_lot::Mutex;

/// Spare bytes that a frame's buffer may keep, besides an eighth of the frame. Shrinking a buffer costs a call to the
/// allocator, and often a copy, for each frame. In return the newest frames keep at most an eighth more than
/// `TAIL_BODY_BYTES_MAX`. Without a bound, buffers were shrunk to free 40 bytes; the value was not measured
/// separately.
const SPARE_BYTES_MAX: usize = 64;

/// The result that a caller gets, and when what was written of its commit was recorded.
pub(crate) type Outcome = Result<(Committed, Micros), AppendError>;

/// The leader's message to a caller, who turns it into an `Outcome` on its own thread.
type Reply = Result<DecidedCommit, AppendError>;

/// An encoded commit, the decision about it, and the head and the time after its group.
struct DecidedCommit {
    encoded: EncodedCommit,
    admission: Admission,
    head: u64,
    time: Micros,
}

/// The commit queue, and the journal's writer, which the leader locks.
pub(crate) struct GroupCommit {
    queue: CommitQueue<EncodedCommit, Reply>,
    /// Only the leader locks it.
    writer: Mutex<Writer>,
}

impl GroupCommit {
    pub(crate) fn new(writer: Writer) -> GroupCommit {
        GroupCommit { queue: CommitQueue::new(Terms::default()), writer: Mutex::new(writer) }
    }

    /// Makes `encoded` durable, together with the other waiting commits. Calls `queued`, which must not panic, once
    /// its place is fixed.
    pub(crate) fn commit(
        &self,
        log: &Log,
        mut encoded: EncodedCommit,
        queued: impl FnOnce(),
    ) -> Outcome {
        // Before any wait: the clock is the application's code and may block.
        encoded.time = log.ask_clock()?;
        let bytes = encoded.bytes();
        let reply = match self.queue.join(encoded, bytes, queued)? {
            Turn::Answered(reply) => reply,
            Turn::Leads(mut leader) => loop {
                let replies = self.replies_to(log, leader.take_group());
                if let Some(own) = leader.reply(replies, || indexer::is_full(log)) {
                    break own;
                }
            },
        };
        reply.and_then(outcome)
    }

    /// Refuses further commits and waits until those in flight are durable. Returns whether this was the first call.
    pub(crate) fn close(&self) -> bool {
        self.queue.close()
    }

    /// Writes the closing frame if no write has failed, and ends the preparing of segments.
    pub(crate) fn close_journal(&self) -> Result<()> {
        let writer = &mut *self.writer.lock();
        let closed = self.queue.refused().and_then(|()| match writer.close() {
            Ok(()) => Ok(()),
            Err(
                WriteError::NotWritten(error)
                | WriteError::Stopped(error)
                | WriteError::Unknown(error),
            ) => Err(error),
        });
        // The next opening of the store prepares segments under the same names.
        writer.end_preparing();
        closed
    }

    /// Writes `group` and returns a reply for each of its commits, even after an error or a panic.
    fn replies_to(&self, log: &Log, group: Vec<EncodedCommit>) -> Vec<Reply> {
        let callers = group.len();
        let write = || {
            // Subscribers of `tracing` run inside this closure.
            let _held = (!failpoint!("log::lead_unnoticed")).then(|| Holding::Commits.begin());
            let writer = &mut *self.writer.lock();
            write_group(log, writer, group)
        };
        let failed = match catch(write) {
            Ok(Ok(replies)) => return replies,
            Ok(Err(failed)) => failed,
            Err(panic) => {
                let message = format!("a commit panicked: {}", panic);
                Failed::Unknown(Error::new(ErrorKind::Panicked, message))
            }
        };
        match failed {
            Failed::NotWritten(error) => to_each(callers, &error),
            Failed::Stopped(error) => {
                self.refuse(&error);
                to_each(callers, &error)
            }
            Failed::Unknown(cause) => {
                self.refuse(&cause);
                to_each(callers, &unknown(&cause))
            }
        }
    }

    /// Refuses further commits, and replies to all waiting callers.
    fn refuse(&self, cause: &Error) {
        // The `tracing` subscriber is the application's code; if it panics, callers must still get a reply.
        let tell = || {
            let _held = Holding::Commits.begin();
            tracing::error!(%cause, "the store refuses further commits until it is reopened");
        };
        let _ = catch(tell);
        if failpoint!("log::reuse_position_after_failed_group") {
            return;
        }
        self.queue.refuse(cause, |refusal| Err(refusal.into()));
    }
}

/// Why a whole group failed.
enum Failed {
    /// Nothing was written; further commits are possible.
    NotWritten(Error),
    /// Nothing was written, and no further write is allowed.
    Stopped(Error),
    /// It is unknown what was written.
    Unknown(Error),
}

fn write_group(
    log: &Log,
    writer: &mut Writer,
    mut group: Vec<EncodedCommit>,
) -> Result<Vec<Reply>, Failed> {
    let room = log.indexer.wait_for_room(|| indexer::is_full(log), || log.index.signs_of_life());
    room.map_err(Failed::NotWritten)?;
    let Gathered { facts, streams } = match gather(log, &group) {
        Ok(gathered) => gathered,
        Err(error) => return write_others(log, writer, group, error),
    };
    let asked_at = group.iter().map(|encoded| encoded.time).max().unwrap_or_default();
    let (now, last) = (asked_at, writer.end().time);
    log.note_clock(now, last);
    let time = now.max(last);
    let admissions = admit(facts, &group);
    for (encoded, admission) in group.iter_mut().zip(&admissions) {
        if let Admission::RecordsOnly(..) = admission {
            encoded.drop_events();
        }
    }
    let buffer = first_frame(&mut group, &admissions);
    let mut admitted = admitted(&group, &admissions);
    if !admitted.is_empty() {
        let (buffer, meaning) = assemble(&writer.end(), time, buffer, &mut admitted);
        let written = writer.write(buffer, &meaning).map_err(|error| match error {
            WriteError::NotWritten(error) => Failed::NotWritten(error),
            WriteError::Stopped(error) => Failed::Stopped(error),
            WriteError::Unknown(error) => Failed::Unknown(error),
        })?;
        publish(log, &writer.end(), &written, &admitted, &streams).map_err(Failed::Unknown)?;
        let promised = admitted.iter().filter_map(|admitted| admitted.encoded.promised.as_ref());
        promised.for_each(|promised| promised.promise.keep());
        if failpoint!("log::publish_before_durable") {
            writer.sync_late();
        }
    }
    let head = log.head.position();
    let decided = group.into_iter().zip(admissions);
    let decided =
        decided.map(|(encoded, admission)| Ok(DecidedCommit { encoded, admission, head, time }));
    Ok(decided.collect())
}

/// Writes the commits of `group` whose facts can be gathered. The others failed with an error such as `error`, which
/// gathering for the whole group returned. So streams in the tail stay writable while the index cannot be rebuilt.
fn write_others(
    log: &Log,
    writer: &mut Writer,
    group: Vec<EncodedCommit>,
    error: Error,
) -> Result<Vec<Reply>, Failed> {
    let gathered = |encoded: &EncodedCommit| gather(log, std::slice::from_ref(encoded)).map(drop);
    let failures: Vec<Option<Error>> =
        group.iter().map(|encoded| gathered(encoded).err()).collect();
    if failures.iter().all(|failure| failure.is_none() == failures[0].is_none()) {
        return Err(Failed::NotWritten(error));
    }
    let others = group.into_iter().zip(&failures).filter(|(_, failure)| failure.is_none());
    let others = others.map(|(encoded, _)| encoded).collect();
    let mut written = write_group(log, writer, others)?.into_iter();
    let replies = failures.into_iter().map(|failure| match failure {
        Some(error) => Err(error.into()),
        None => written.next().expect("each encoded commit of a group has a reply"),
    });
    Ok(replies.collect())
}

/// A copy of `error` for each of `callers`.
fn to_each(callers: usize, error: &Error) -> Vec<Reply> {
    (0..callers).map(|_| Err(error.clone().into())).collect()
}

/// An encoded commit that goes into the group's frame.
struct PlacedCommit<'a> {
    encoded: &'a EncodedCommit,
    placement: &'a Placement,
    /// How many bytes later its entries are than they would be in a frame of their own.
    offset: usize,
}

impl<'a> PlacedCommit<'a> {
    /// Its events, for a frame at `at`.
    fn runs(
        &self,
        at: Location,
        streams: &[(Slot, StreamState)],
    ) -> impl Iterator<Item = PublishedRun<'a, impl Iterator<Item = EntryLocation>>> {
        let PlacedCommit { encoded, placement, offset } = *self;
        let located = move |event: &EncodedEvent| EntryLocation {
            segment: at.segment,
            offset: (at.offset as usize + offset + event.entry.start) as u32,
            length: event.entry.len() as u32,
        };
        let appends = encoded.appends.iter().zip(&placement.appends);
        appends.map(move |(append, placed)| PublishedRun {
            stream: &append.stream,
            found: streams[placed.stream],
            first_version: placed.first_version,
            first_position: placement.first_position + append.events.start as u64,
            locations: encoded.events[append.events.clone()].iter().map(located),
        })
    }
}

/// The buffer of the first admitted commit. Its entries are already at their place in the frame, so a lone commit is
/// not copied. That saved 8 % of the instructions of an append of 64 events.
fn first_frame(group: &mut [EncodedCommit], admissions: &[Admission]) -> Vec<u8> {
    let mut decided = group.iter_mut().zip(admissions);
    let first = decided.find(|(_, admission)| admission.placement().is_some());
    first.map(|(encoded, _)| std::mem::take(&mut encoded.frame)).unwrap_or_default()
}

fn admitted<'a>(group: &'a [EncodedCommit], admissions: &'a [Admission]) -> Vec<PlacedCommit<'a>> {
    let decided = group.iter().zip(admissions);
    let admitted = decided.filter_map(|(encoded, admission)| {
        Some(PlacedCommit { encoded, placement: admission.placement()?, offset: 0 })
    });
    admitted.collect()
}

/// Builds the frame of all admitted commits in `buffer`, which is the first one's.
fn assemble(
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

/// Makes a durable group visible: moves the tail and the head together, and wakes the followers that may want it.
fn publish(
    log: &Log,
    end: &End,
    written: &Written,
    admitted: &[PlacedCommit<'_>],
    streams: &[(Slot, StreamState)],
) -> Result<()> {
    let unwanted = log.head.judge(|| log.interest.may_want(&written.frame));
    let mut is_awaited = false;
    // The head moves before the reply, so a caller that has its position finds the head at or past it.
    let shown = || {
        let place = (end.position, end.next);
        is_awaited = log.head.advance(place, end.chain, end.time, unwanted);
    };
    let runs = admitted.iter().flat_map(|admitted| admitted.runs(written.at, streams));
    let records = admitted.iter().flat_map(|admitted| admitted.encoded.records.iter().cloned());
    let published = log.tail.publish(written.at, &written.frame, runs, records, shown);
    published.map_err(|what| Error::new(ErrorKind::OutcomeUnknown, what))?;
    // They read what is in the tail, whose lock was held until here.
    if is_awaited {
        log.head.wake();
    }
    log.indexer.published(end.next);
    Ok(())
}

fn outcome(decided: DecidedCommit) -> Outcome {
    let DecidedCommit { encoded, admission, head, time } = decided;
    match admission {
        Admission::Admitted(placement) => Ok((committed(encoded, &placement, head), time)),
        Admission::AlreadyRecorded(appended) | Admission::RecordsOnly(_, appended) => {
            let position = appended.iter().map(|a| a.position).max();
            let position = position.unwrap_or(Position::new(head));
            Ok((Committed { appended, position, already_recorded: true }, time))
        }
        Admission::Conflict(conflict) => Err(AppendError::Conflict(conflict)),
        Admission::AlreadyTracked { consumer, tracked, offered } => {
            let message = format!(
                "consumer {consumer:?} has tracked position {tracked} already; {offered} is not \
                 past it"
            );
            Err(Error::new(ErrorKind::AlreadyTracked, message).into())
        }
    }
}

fn committed(encoded: EncodedCommit, placement: &Placement, head: u64) -> Committed {
    let mut next_position = placement.first_position;
    let appends = encoded.appends.into_iter().zip(&placement.appends);
    let appended: Vec<Appended> = appends
        .map(|(append, placed)| {
            let events = append.events.len() as u64;
            next_position += events;
            Appended {
                stream: append.stream,
                first: Version::new(placed.first_version),
                version: Version::new(placed.first_version + events - 1),
                position: Position::new(next_position - 1),
                already_recorded: false,
            }
        })
        .collect();
    let position = if appended.is_empty() { head } else { next_position - 1 };
    Committed { appended, position: Position::new(position), already_recorded: false }
}

fn unknown(cause: &Error) -> Error {
    let message = format!(
        "it is not known whether the commit is durable ({cause}); reopen the store and read"
    );
    Error::with_source(ErrorKind::OutcomeUnknown, message, cause.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::envelope;
    use crate::codec::frame::Frame;
    use crate::log::commit::Commit;
    use crate::log::commit::admit::PlacedAppend;
    use crate::log::read::located::{Located, each_located};
    use crate::log::tail::stream_table::Streams;
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
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
