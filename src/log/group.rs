//! Group commit: callers' threads write for each other.
//!
//! * They take turns (`log::turns`): who leads writes one group, which is one frame and one `fdatasync`.
//!   A hop to a writer thread would cost half of that.
//! * Everyone is answered: a leader that fails or panics answers its group, and everybody who waits.
//! * A reply comes after the tail and the head have moved: a caller that got its position may read.
//! * After a failed write the store is `Refusing`, for good: what is durable, only reopening decides.

use crate::clock::Micros;
use crate::codec::entry;
use crate::codec::envelope::Digest;
use crate::codec::frame::{self, ChainHasher, Kind, Meaning};
use crate::codec::state::StreamState;
use crate::error::{Error, ErrorKind, Result, panic_message};
use crate::journal::write::{WriteError, Writer, Written};
use crate::log::admit::{Placement, Verdict, admit};
use crate::log::commit::Proposal;
use crate::log::core::Log;
use crate::log::gather::{Heads, gather};
use crate::log::indexer;
use crate::log::outcome::{AppendError, Appended, Committed};
use crate::log::turns::{Ticket, Turns};
use crate::position::{Position, Version};
#[cfg(test)]
use crate::proof::bugs::{self, Bug};
use crate::stream::StreamId;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a caller gets.
pub(crate) type Outcome = Result<Committed, AppendError>;

/// One commit that waits.
type Waiting = Ticket<Proposal, Outcome>;

/// Orders commits: those who wait take turns at writing groups of them.
pub(crate) struct Sequencer {
    turns: Turns<Proposal, Outcome>,
    leading: Mutex<Leading>,
}

/// What only the leader touches.
struct Leading {
    writer: Writer,
    heads: Heads,
}

impl Sequencer {
    pub(crate) fn new(writer: Writer) -> Sequencer {
        let leading = Mutex::new(Leading { writer, heads: Heads::default() });
        Sequencer { turns: Turns::new(), leading }
    }

    /// Makes `proposal` durable, together with whatever else waits.
    pub(crate) fn commit(&self, log: &Log, proposal: Proposal) -> Outcome {
        let bytes = proposal.bytes();
        self.turns.take(proposal, bytes, |group| self.write_group(log, group))?
    }

    /// Takes no more commits and waits until those under way are answered. Returns whether this was
    /// the first call.
    pub(crate) fn close(&self) -> bool {
        self.turns.close()
    }

    /// Writes the closing frame, if every write was whole.
    pub(crate) fn close_journal(&self) -> Result<()> {
        self.turns.refused()?;
        match self.leading.lock().writer.close() {
            Ok(()) => Ok(()),
            Err(WriteError::NotWritten(error) | WriteError::Unknown(error)) => Err(error),
        }
    }

    /// Writes `group`; one outcome for each ticket, whatever happens.
    fn write_group(&self, log: &Log, group: &[Arc<Waiting>]) -> Vec<Outcome> {
        let write = || {
            let leading = &mut *self.leading.lock();
            write_group(log, leading, group)
        };
        let failed = match catch_unwind(AssertUnwindSafe(write)) {
            Ok(Ok(outcomes)) => return outcomes,
            Ok(Err(failed)) => failed,
            Err(panic) => {
                let message = format!("a commit panicked: {}", panic_message(&*panic));
                Failed::Unknown(Error::new(ErrorKind::Panicked, message))
            }
        };
        match failed {
            Failed::NotWritten(error) => group.iter().map(|_| Err(error.clone().into())).collect(),
            Failed::Refused(error) => {
                self.refuse(&error);
                group.iter().map(|_| Err(error.clone().into())).collect()
            }
            Failed::Unknown(cause) => {
                self.refuse(&cause);
                group.iter().map(|_| Err(unknown(&cause).into())).collect()
            }
        }
    }

    /// Takes no more commits, and answers all that wait.
    fn refuse(&self, cause: &Error) {
        tracing::error!(%cause, "the store refuses further commits until it is reopened");
        #[cfg(test)]
        if bugs::has(Bug::ReusePositionAfterFailedGroup) {
            return;
        }
        self.turns.refuse(cause, |refusal| Err(refusal.into()));
    }
}

/// Why a whole group failed.
enum Failed {
    /// Nothing was written, and the store goes on.
    NotWritten(Error),
    /// Nothing was written, and nothing will be.
    Refused(Error),
    /// Nobody knows what was written.
    Unknown(Error),
}

fn write_group(
    log: &Log,
    leading: &mut Leading,
    group: &[Arc<Waiting>],
) -> Result<Vec<Outcome>, Failed> {
    log.indexer.wait_for_room(|| indexer::is_full(log)).map_err(Failed::Refused)?;
    let proposals: Vec<&Proposal> = group.iter().map(|ticket| &ticket.wanted).collect();
    let facts = gather(log, &mut leading.heads, &proposals).map_err(Failed::NotWritten)?;
    let time = Micros::of(log.clock.now()).max(leading.writer.end().time);
    let verdicts = admit(facts, &proposals);
    let (buffer, meaning) = assemble(leading, time, &proposals, &verdicts);
    if buffer.len() > frame::HEADER_BYTES {
        let written = leading.writer.write(buffer, &meaning).map_err(|error| match error {
            WriteError::NotWritten(error) => Failed::NotWritten(error),
            WriteError::Unknown(error) => Failed::Unknown(error),
        })?;
        publish(log, leading, &written, &proposals, &verdicts).map_err(Failed::Unknown)?;
        #[cfg(test)]
        if bugs::has(Bug::PublishBeforeDurable) {
            leading.writer.sync_late();
        }
    }
    let head = log.head.position();
    let outcomes = proposals.iter().zip(verdicts);
    Ok(outcomes.map(|(proposal, verdict)| outcome(proposal, verdict, head)).collect())
}

/// The frame of everything that was admitted; nothing but room for a header if nothing was.
fn assemble(
    leading: &Leading,
    time: Micros,
    proposals: &[&Proposal],
    verdicts: &[Verdict],
) -> (Vec<u8>, Meaning) {
    let end = leading.writer.end();
    let admitted = || {
        proposals.iter().zip(verdicts).filter_map(|(proposal, verdict)| match verdict {
            Verdict::Admitted(placement) => Some((*proposal, placement)),
            _ => None,
        })
    };
    let events: usize = admitted().map(|(proposal, _)| proposal.events.len()).sum();
    let bytes: usize = admitted().map(|(proposal, _)| proposal.bytes()).sum();
    let first_position = end.position + 1;
    let mut buffer =
        Vec::with_capacity(frame::padded((frame::HEADER_BYTES + bytes) as u64) as usize);
    buffer.resize(frame::HEADER_BYTES, 0);
    let events = u32::try_from(events).expect("the limits keep a group below 2³² events");
    let mut chain = ChainHasher::new(&end.chain, Kind::Group, first_position, time, events);
    for (proposal, placement) in admitted() {
        put(proposal, placement, &mut buffer, &mut chain);
    }
    let meaning =
        Meaning { kind: Kind::Group, events, first_position, time, chain: chain.finish() };
    (buffer, meaning)
}

fn put(proposal: &Proposal, placement: &Placement, buffer: &mut Vec<u8>, chain: &mut ChainHasher) {
    let start = buffer.len();
    buffer.extend_from_slice(&proposal.entries);
    for (append, first_version) in proposal.appends.iter().zip(&placement.first_versions) {
        let stream = append.stream.as_str().as_bytes();
        for (version, event) in (*first_version..).zip(&proposal.events[append.events.clone()]) {
            let entry = start + event.entry.start..start + event.entry.end;
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
    leading: &mut Leading,
    written: &Written,
    proposals: &[&Proposal],
    verdicts: &[Verdict],
) -> Result<()> {
    let heads = &leading.heads;
    let base =
        |stream: &StreamId, _| Ok(heads.get(stream).cloned().unwrap_or_else(StreamState::absent));
    // The head moves before the reply: a caller that got its position may read the head at once.
    let end = leading.writer.end();
    let shown = || log.head.advance(end.position, end.next, end.chain, end.time);
    let pushed = log.tail.push(written.at, &written.frame, base, shown);
    pushed.map_err(|what| Error::new(ErrorKind::OutcomeUnknown, what))?;
    remember_heads(leading, written.frame.header.time, proposals, verdicts);
    log.indexer.published(end.next);
    Ok(())
}

fn remember_heads(
    leading: &mut Leading,
    time: Micros,
    proposals: &[&Proposal],
    verdicts: &[Verdict],
) {
    for (proposal, verdict) in proposals.iter().zip(verdicts) {
        let Verdict::Admitted(placement) = verdict else { continue };
        for (append, first_version) in proposal.appends.iter().zip(&placement.first_versions) {
            let last = first_version + append.events.len() as u64 - 1;
            let state = leading.heads.get(&append.stream).cloned();
            let mut state = state.unwrap_or_else(StreamState::absent);
            if *first_version == 1 {
                state.created = time;
            }
            state.version = Version::new(last);
            state.written = time;
            leading.heads.put(&append.stream, state);
        }
    }
}

fn outcome(proposal: &Proposal, verdict: Verdict, head: u64) -> Outcome {
    match verdict {
        Verdict::Admitted(placement) => Ok(committed(proposal, &placement, head)),
        Verdict::AlreadyRecorded(appended) => {
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

fn committed(proposal: &Proposal, placement: &Placement, head: u64) -> Committed {
    let mut next_position = placement.first_position;
    let appends = proposal.appends.iter().zip(&placement.first_versions);
    let appended: Vec<Appended> = appends
        .map(|(append, first)| {
            let events = append.events.len() as u64;
            next_position += events;
            Appended {
                stream: append.stream.clone(),
                first: Version::new(*first),
                version: Version::new(first + events - 1),
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
