//! Group commit: callers' threads write for each other.
//!
//! * They take turns (`log::turns`): who leads writes a group, which is one frame and one `fdatasync`.
//!   A hop to a writer thread would cost half of that.
//! * Everyone is answered: a leader that fails or panics answers its group, and everybody who waits.
//! * A reply comes after the tail and the head have moved: a caller that got its position may read.
//! * After a failed write the store is `Refusing`, for good: what is durable, only reopening decides.

use crate::codec::digest::Digest;
use crate::codec::entry;
use crate::codec::frame::{self, ChainHasher, EntryLocation, Kind, Location, Meaning};
use crate::codec::state::StreamState;
use crate::journal::write::{End, WriteError, Writer, Written};
use crate::log::commit::admit::{Placement, Verdict, admit};
use crate::log::commit::gather::{Gathered, gather};
use crate::log::commit::outcome::{AppendError, Appended, Committed};
use crate::log::commit::queue::{Terms, Turns};
use crate::log::commit::{Proposal, ProposedEvent};
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

/// Bytes that a frame's buffer may have too many of, and an eighth of the frame: giving them back costs more.
const SPARE_BYTES_MAX: usize = 64;

/// What a caller gets.
pub(crate) type Outcome = Result<Committed, AppendError>;

/// What the leader tells a caller: the rest is the caller's own work.
type Answer = Result<Judged, AppendError>;

/// A proposal, what became of it, and where the head is then.
struct Judged {
    proposal: Proposal,
    verdict: Verdict,
    head: u64,
}

/// Orders commits: those who wait take turns at writing groups of them.
pub(crate) struct Sequencer {
    turns: Turns<Proposal, Answer>,
    /// Only the leader takes it.
    writer: Mutex<Writer>,
}

impl Sequencer {
    pub(crate) fn new(writer: Writer) -> Sequencer {
        Sequencer { turns: Turns::new(Terms::default()), writer: Mutex::new(writer) }
    }

    /// Makes `proposal` durable, together with whatever else waits.
    pub(crate) fn commit(&self, log: &Log, mut proposal: Proposal) -> Outcome {
        // Before anything is waited for: the clock is the application's, and may wait for whom it likes.
        proposal.time = log.ask_clock()?;
        let bytes = proposal.bytes();
        let lead = |group| self.write_group(log, group);
        let answer = self.turns.take(proposal, bytes, lead, || indexer::is_full(log))?;
        answer.and_then(outcome)
    }

    /// Takes no more commits and waits until those under way are durable. Returns whether this was the
    /// first call.
    pub(crate) fn close(&self) -> bool {
        self.turns.close()
    }

    /// Writes the closing frame, if every write was whole, and nothing more.
    pub(crate) fn close_journal(&self) -> Result<()> {
        let writer = &mut *self.writer.lock();
        let closed = self.turns.refused().and_then(|()| match writer.close() {
            Ok(()) => Ok(()),
            Err(WriteError::NotWritten(error) | WriteError::Unknown(error)) => Err(error),
        });
        // Whoever opens the store next prepares segments under the same names.
        writer.end_preparing();
        closed
    }

    /// Writes `group`; one answer for each proposal, whatever happens.
    fn write_group(&self, log: &Log, group: Vec<Proposal>) -> Vec<Answer> {
        let callers = group.len();
        let write = || {
            // Who listens to `tracing` is called from in here.
            let _held = (!failpoint!("log::lead_unnoticed")).then(|| Holding::Commits.begin());
            let writer = &mut *self.writer.lock();
            write_group(log, writer, group)
        };
        let failed = match catch(write) {
            Ok(Ok(answers)) => return answers,
            Ok(Err(failed)) => failed,
            Err(panic) => {
                let message = format!("a commit panicked: {}", panic);
                Failed::Unknown(Error::new(ErrorKind::Panicked, message))
            }
        };
        match failed {
            Failed::NotWritten(error) => to_each(callers, &error),
            Failed::Unknown(cause) => {
                self.refuse(&cause);
                to_each(callers, &unknown(&cause))
            }
        }
    }

    /// Takes no more commits, and answers all that wait.
    fn refuse(&self, cause: &Error) {
        // Whoever listens is the application's, and a panic there must leave nobody waiting.
        let tell = || {
            let _held = Holding::Commits.begin();
            tracing::error!(%cause, "the store refuses further commits until it is reopened");
        };
        let _ = catch(tell);
        if failpoint!("log::reuse_position_after_failed_group") {
            return;
        }
        self.turns.refuse(cause, |refusal| Err(refusal.into()));
    }
}

/// Why a whole group failed.
enum Failed {
    /// Nothing was written, and the store goes on.
    NotWritten(Error),
    /// Nobody knows what was written.
    Unknown(Error),
}

fn write_group(
    log: &Log,
    writer: &mut Writer,
    mut group: Vec<Proposal>,
) -> Result<Vec<Answer>, Failed> {
    let room = log.indexer.wait_for_room(|| indexer::is_full(log), || log.index.steps());
    room.map_err(Failed::NotWritten)?;
    let Gathered { facts, streams } = match gather(log, &group) {
        Ok(gathered) => gathered,
        Err(error) => return write_others(log, writer, group, error),
    };
    let asked_at = group.iter().map(|proposal| proposal.time).max().unwrap_or_default();
    let (now, last) = (asked_at, writer.end().time);
    log.note_clock(now, last);
    let time = now.max(last);
    let verdicts = admit(facts, &group);
    for (proposal, verdict) in group.iter_mut().zip(&verdicts) {
        if let Verdict::RecordsOnly(..) = verdict {
            proposal.drop_events();
        }
    }
    let buffer = first_frame(&mut group, &verdicts);
    let mut admitted = admitted(&group, &verdicts);
    if !admitted.is_empty() {
        let (buffer, meaning) = assemble(&writer.end(), time, buffer, &mut admitted);
        let written = writer.write(buffer, &meaning).map_err(|error| match error {
            WriteError::NotWritten(error) => Failed::NotWritten(error),
            WriteError::Unknown(error) => Failed::Unknown(error),
        })?;
        publish(log, &writer.end(), &written, &admitted, &streams).map_err(Failed::Unknown)?;
        if failpoint!("log::publish_before_durable") {
            writer.sync_late();
        }
    }
    let head = log.head.position();
    let judged = group.into_iter().zip(verdicts);
    Ok(judged.map(|(proposal, verdict)| Ok(Judged { proposal, verdict, head })).collect())
}

/// Writes those of `group` whose streams are known. Of the others nothing can be known: `error` was met when
/// the index was asked for some of them.
fn write_others(
    log: &Log,
    writer: &mut Writer,
    group: Vec<Proposal>,
    error: Error,
) -> Result<Vec<Answer>, Failed> {
    let gathered = |proposal: &Proposal| gather(log, std::slice::from_ref(proposal)).map(drop);
    let failures: Vec<Option<Error>> = group.iter().map(|p| gathered(p).err()).collect();
    if failures.iter().all(|failure| failure.is_none() == failures[0].is_none()) {
        return Err(Failed::NotWritten(error));
    }
    let others = group.into_iter().zip(&failures).filter(|(_, failure)| failure.is_none());
    let others = others.map(|(proposal, _)| proposal).collect();
    let mut written = write_group(log, writer, others)?.into_iter();
    let answers = failures.into_iter().map(|failure| match failure {
        Some(error) => Err(error.into()),
        None => written.next().expect("each proposal of a group has an answer"),
    });
    Ok(answers.collect())
}

/// The same error for so many callers.
fn to_each(callers: usize, error: &Error) -> Vec<Answer> {
    (0..callers).map(|_| Err(error.clone().into())).collect()
}

/// A proposal that goes into the group's frame.
struct Admitted<'a> {
    proposal: &'a Proposal,
    placement: &'a Placement,
    /// By how much its entries lie further back than in a frame of their own.
    offset: usize,
}

impl<'a> Admitted<'a> {
    /// Its events, once its frame lies at `at`.
    fn runs(
        &self,
        at: Location,
        streams: &[(Slot, StreamState)],
    ) -> impl Iterator<Item = PublishedRun<'a, impl Iterator<Item = EntryLocation>>> {
        let Admitted { proposal, placement, offset } = *self;
        let located = move |event: &ProposedEvent| EntryLocation {
            segment: at.segment,
            offset: (at.offset as usize + offset + event.entry.start) as u32,
            length: event.entry.len() as u32,
        };
        let appends = proposal.appends.iter().zip(&placement.appends);
        appends.map(move |(append, placed)| PublishedRun {
            stream: &append.stream,
            found: streams[placed.stream],
            first_version: placed.first_version,
            first_position: placement.first_position + append.events.start as u64,
            locations: proposal.events[append.events.clone()].iter().map(located),
        })
    }
}

/// The buffer of the first proposal that was admitted, in which its entries stand as in the frame.
fn first_frame(group: &mut [Proposal], verdicts: &[Verdict]) -> Vec<u8> {
    let mut judged = group.iter_mut().zip(verdicts);
    let first = judged.find(|(_, verdict)| verdict.placement().is_some());
    first.map(|(proposal, _)| std::mem::take(&mut proposal.frame)).unwrap_or_default()
}

fn admitted<'a>(group: &'a [Proposal], verdicts: &'a [Verdict]) -> Vec<Admitted<'a>> {
    let judged = group.iter().zip(verdicts);
    let admitted = judged.filter_map(|(proposal, verdict)| {
        Some(Admitted { proposal, placement: verdict.placement()?, offset: 0 })
    });
    admitted.collect()
}

/// The frame of everything that was admitted, in the `buffer` of the first of it.
fn assemble(
    end: &End,
    time: Micros,
    mut buffer: Vec<u8>,
    admitted: &mut [Admitted<'_>],
) -> (Vec<u8>, Meaning) {
    let events: usize = admitted.iter().map(|admitted| admitted.proposal.events.len()).sum();
    // Of the first one, whose entries stand in `buffer` already, these are the records.
    let bytes: usize = admitted.iter().map(|admitted| admitted.proposal.bytes()).sum();
    let first_position = end.position + 1;
    let whole = frame::padded((buffer.len().max(frame::HEADER_BYTES) + bytes) as u64) as usize;
    buffer.reserve_exact(whole.saturating_sub(buffer.len()));
    buffer.resize(buffer.len().max(frame::HEADER_BYTES), 0);
    let events = u32::try_from(events).expect("the limits keep a group below 2³² events");
    let mut chain = ChainHasher::new(&end.chain, Kind::Group, first_position, time, events);
    for (n, Admitted { proposal, placement, offset }) in admitted.iter_mut().enumerate() {
        if n > 0 {
            *offset = buffer.len() - frame::HEADER_BYTES;
            buffer.extend_from_slice(proposal.entries());
        }
        seal(proposal, placement, *offset, &mut buffer, &mut chain);
    }
    // It is kept in memory for a while, so it keeps little that it does not need.
    if buffer.capacity() - whole > SPARE_BYTES_MAX + whole / 8 {
        buffer.shrink_to(whole);
    }
    let meaning =
        Meaning { kind: Kind::Group, events, first_position, time, chain: chain.finish() };
    (buffer, meaning)
}

/// Gives the proposal's entries, which stand in `buffer` so far back, what was open, and appends its records.
fn seal(
    proposal: &Proposal,
    placement: &Placement,
    offset: usize,
    buffer: &mut Vec<u8>,
    chain: &mut ChainHasher,
) {
    for (append, placed) in proposal.appends.iter().zip(&placement.appends) {
        let stream = append.stream.as_str().as_bytes();
        let events = &proposal.events[append.events.clone()];
        for (version, event) in (placed.first_version..).zip(events) {
            let entry = offset + event.entry.start..offset + event.entry.end;
            entry::seal_event(&mut buffer[entry], version);
            let digest: &Digest = &event.digest;
            chain.event(stream, version, digest);
        }
    }
    for (n, record) in proposal.records.iter().enumerate() {
        let bytes = record.encode();
        entry::put_record(&bytes, n == 0 && proposal.events.is_empty(), buffer);
        chain.record(&bytes);
    }
}

/// Makes a durable group visible, in the tail and at the head at once, and wakes the followers.
fn publish(
    log: &Log,
    end: &End,
    written: &Written,
    admitted: &[Admitted<'_>],
    streams: &[(Slot, StreamState)],
) -> Result<()> {
    // The head moves before the reply: a caller that got its position may read the head at once.
    let shown = || log.head.advance(end.position, end.next, end.chain, end.time);
    let runs = admitted.iter().flat_map(|admitted| admitted.runs(written.at, streams));
    let records = admitted.iter().flat_map(|admitted| admitted.proposal.records.iter().cloned());
    let published = log.tail.publish(written.at, &written.frame, runs, records, shown);
    published.map_err(|what| Error::new(ErrorKind::OutcomeUnknown, what))?;
    log.indexer.published(end.next);
    Ok(())
}

fn outcome(judged: Judged) -> Outcome {
    let Judged { proposal, verdict, head } = judged;
    match verdict {
        Verdict::Admitted(placement) => Ok(committed(proposal, &placement, head)),
        Verdict::AlreadyRecorded(appended) | Verdict::RecordsOnly(_, appended) => {
            let position = appended.iter().map(|a| a.position).max();
            let position = position.unwrap_or(Position::new(head));
            Ok(Committed { appended, position, already_recorded: true })
        }
        Verdict::Conflict(conflict) => Err(AppendError::Conflict(conflict)),
        Verdict::AlreadyTracked { consumer, tracked, offered } => {
            let message = format!(
                "consumer {consumer:?} has tracked position {tracked} already; {offered} is not \
                 past it"
            );
            Err(Error::new(ErrorKind::AlreadyTracked, message).into())
        }
    }
}

fn committed(proposal: Proposal, placement: &Placement, head: u64) -> Committed {
    let mut next_position = placement.first_position;
    let appends = proposal.appends.into_iter().zip(&placement.appends);
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
    use crate::proof::random::{Random, first_seed, rounds};
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
    use crate::value::stream::StreamId;
    use uuid::Uuid;

    const AT: Location = Location { segment: 3, offset: 4_096 };
    const HEAD: u64 = 10;

    /// Events of up to two streams, a record, or both.
    fn proposal(random: &mut Random, number: u64) -> Proposal {
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
        Proposal::new(commit).unwrap()
    }

    /// What `admit` could say of `group`: some are refused, the first ones too.
    fn verdicts(random: &mut Random, group: &[Proposal]) -> Vec<Verdict> {
        let mut first_position = HEAD + 1;
        let judge = |proposal: &Proposal| {
            if random.below(3) == 0 {
                let consumer = "consumer".to_owned();
                return Verdict::AlreadyTracked { consumer, tracked: 2, offered: 1 };
            }
            let place = |_| PlacedAppend { stream: 0, first_version: 1 + random.below(9) };
            let appends = (0..proposal.appends.len()).map(place).collect();
            let placement = Placement { first_position, appends };
            first_position += proposal.events.len() as u64;
            Verdict::Admitted(placement)
        };
        group.iter().map(judge).collect()
    }

    /// Stream, version, position and id of each event that was admitted, in order.
    fn expected(group: &[Proposal], verdicts: &[Verdict]) -> Vec<(StreamId, u64, u64, Uuid)> {
        let mut events = Vec::new();
        for (proposal, verdict) in group.iter().zip(verdicts) {
            let Verdict::Admitted(placement) = verdict else { continue };
            for (append, placed) in proposal.appends.iter().zip(&placement.appends) {
                for (n, event) in (0..).zip(&proposal.events[append.events.clone()]) {
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
            let mut group: Vec<_> = (0..=random.below(5)).map(|n| proposal(random, n)).collect();
            let verdicts = verdicts(random, &group);
            let expected = expected(&group, &verdicts);
            let buffer = first_frame(&mut group, &verdicts);
            let mut admitted = admitted(&group, &verdicts);
            if admitted.is_empty() {
                assert!(buffer.is_empty(), "seed {seed}");
                continue;
            }
            let end = End { next: AT, position: HEAD, time: Micros(5), chain: [1; 32] };
            let (mut buffer, meaning) = assemble(&end, Micros(6), buffer, &mut admitted);
            let header = frame::complete(&mut buffer, &meaning, Uuid::nil(), AT);
            let spare = buffer.capacity() - buffer.len();
            // Records are counted a few bytes too long.
            let spare_max = 2 * SPARE_BYTES_MAX + buffer.len() / 7;
            assert!(spare <= spare_max, "seed {seed}: {spare} bytes to spare");
            let frame = Frame::written(header, buffer.into());

            let (mut held, mut records) = (Vec::new(), 0);
            each_located(AT, &frame, |located| {
                match located {
                    Located::Event(event) => held.push(event),
                    Located::Record { .. } => records += 1,
                }
                Ok(())
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
            let tracking = admitted.iter().filter(|admitted| !admitted.proposal.records.is_empty());
            assert_eq!(records, tracking.count(), "seed {seed}");
        }
    }
}
