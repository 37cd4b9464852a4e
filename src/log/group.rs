//! Group commit: callers' threads write for each other.
//!
//! * Whoever finds no leader leads: takes what waits, writes it as one group, and answers everybody
//!   in it. A hop to a writer thread would cost half an `fdatasync`.
//! * A leader writes one group, and hands over to the first who waits before it replies: so the next
//!   group is under way while the callers of this one are woken, and nobody leads for others for long.
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
use crate::limits::{GROUP_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::log::admit::{Placement, Verdict, admit};
use crate::log::commit::Proposal;
use crate::log::core::Log;
use crate::log::gather::{Heads, gather};
use crate::log::indexer;
use crate::log::outcome::{AppendError, Appended, Committed};
use crate::position::{Position, Version};
#[cfg(test)]
use crate::proof::bugs::{self, Bug};
use crate::stream::StreamId;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a caller gets.
pub(crate) type Outcome = Result<Committed, AppendError>;

/// Orders commits: a queue of those who wait, and what their leader needs.
pub(crate) struct Sequencer {
    queue: Mutex<Queue>,
    /// The queue has become shorter, or nobody leads any more.
    changed: Condvar,
    leading: Mutex<Leading>,
}

struct Queue {
    waiting: VecDeque<Arc<Ticket>>,
    bytes: usize,
    /// Somebody leads, or was told to.
    led: bool,
    /// Somebody has closed it.
    closed: bool,
    state: State,
}

/// Whether the journal can take more.
enum State {
    Accepting,
    Refusing { cause: Error },
}

/// What only the leader touches.
struct Leading {
    writer: Writer,
    heads: Heads,
}

/// One caller who waits.
struct Ticket {
    proposal: Proposal,
    state: Mutex<TicketState>,
    changed: Condvar,
}

enum TicketState {
    Waiting,
    Leads,
    Answered(Outcome),
    Taken,
}

impl Sequencer {
    pub(crate) fn new(writer: Writer) -> Sequencer {
        Sequencer {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                bytes: 0,
                led: false,
                closed: false,
                state: State::Accepting,
            }),
            changed: Condvar::new(),
            leading: Mutex::new(Leading { writer, heads: Heads::default() }),
        }
    }

    /// Makes `proposal` durable, together with whatever else waits.
    pub(crate) fn commit(&self, log: &Log, proposal: Proposal) -> Outcome {
        let ticket = Arc::new(Ticket {
            proposal,
            state: Mutex::new(TicketState::Waiting),
            changed: Condvar::new(),
        });
        if self.join(&ticket)? || ticket.wait() {
            self.lead(log);
        }
        ticket.answer()
    }

    /// Takes no more commits and waits until those under way are answered. Returns whether this was
    /// the first call.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.queue.lock();
        let first = !std::mem::replace(&mut queue.closed, true);
        while queue.led {
            self.changed.wait(&mut queue);
        }
        first
    }

    /// Writes the closing frame, if every write was whole.
    pub(crate) fn close_journal(&self) -> Result<()> {
        if let State::Refusing { cause } = &self.queue.lock().state {
            return Err(refusal(cause));
        }
        match self.leading.lock().writer.close() {
            Ok(()) => Ok(()),
            Err(WriteError::NotWritten(error) | WriteError::Unknown(error)) => Err(error),
        }
    }

    /// Queues `ticket`; true if its caller must lead.
    fn join(&self, ticket: &Arc<Ticket>) -> Result<bool> {
        let bytes = ticket.proposal.bytes();
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return Err(Error::new(ErrorKind::Closed, "the store is closed"));
            }
            if let State::Refusing { cause } = &queue.state {
                return Err(refusal(cause));
            }
            if queue.waiting.is_empty() || queue.bytes + bytes <= QUEUE_BYTES_MAX {
                break;
            }
            self.changed.wait(&mut queue);
        }
        queue.bytes += bytes;
        queue.waiting.push_back(Arc::clone(ticket));
        Ok(!std::mem::replace(&mut queue.led, true))
    }

    /// Leads one group, in which the caller's own ticket is.
    fn lead(&self, log: &Log) {
        let group = self.take_group();
        let outcomes = self.write_group(log, &group);
        self.hand_over();
        for (ticket, outcome) in group.iter().zip(outcomes) {
            ticket.reply(outcome);
        }
    }

    /// The first commits that wait, as many as fit a group, at least one.
    fn take_group(&self) -> Vec<Arc<Ticket>> {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        let mut group = Vec::new();
        while let Some(ticket) = queue.waiting.front() {
            bytes += ticket.proposal.bytes();
            if bytes > GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            let ticket = queue.waiting.pop_front().expect("there is a front");
            queue.bytes -= ticket.proposal.bytes();
            group.push(ticket);
        }
        self.changed.notify_all();
        group
    }

    /// Has the first who waits lead the next group, if anybody waits.
    fn hand_over(&self) {
        let mut queue = self.queue.lock();
        match queue.waiting.front() {
            Some(next) => next.lead(),
            None => {
                queue.led = false;
                self.changed.notify_all();
            }
        }
    }

    /// Writes `group`; one outcome for each ticket, whatever happens.
    fn write_group(&self, log: &Log, group: &[Arc<Ticket>]) -> Vec<Outcome> {
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
        let mut queue = self.queue.lock();
        #[cfg(test)]
        if bugs::has(Bug::ReusePositionAfterFailedGroup) {
            return;
        }
        queue.state = State::Refusing { cause: cause.clone() };
        queue.bytes = 0;
        for ticket in std::mem::take(&mut queue.waiting) {
            ticket.reply(Err(refusal(cause).into()));
        }
        self.changed.notify_all();
    }
}

impl Ticket {
    /// Waits for an answer (false), or to be told to lead (true).
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            match *state {
                TicketState::Waiting => self.changed.wait(&mut state),
                TicketState::Leads => return true,
                TicketState::Answered(_) | TicketState::Taken => return false,
            }
        }
    }

    fn lead(&self) {
        *self.state.lock() = TicketState::Leads;
        self.changed.notify_one();
    }

    fn reply(&self, outcome: Outcome) {
        *self.state.lock() = TicketState::Answered(outcome);
        self.changed.notify_one();
    }

    fn answer(&self) -> Outcome {
        match std::mem::replace(&mut *self.state.lock(), TicketState::Taken) {
            TicketState::Answered(outcome) => outcome,
            _ => unreachable!("whoever has led or waited has been answered, once"),
        }
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
    group: &[Arc<Ticket>],
) -> Result<Vec<Outcome>, Failed> {
    log.indexer.wait_for_room(|| indexer::is_full(log)).map_err(Failed::Refused)?;
    let proposals: Vec<&Proposal> = group.iter().map(|ticket| &ticket.proposal).collect();
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

fn refusal(cause: &Error) -> Error {
    let message =
        format!("the store refuses commits since an earlier failure ({cause}); reopen it to go on");
    Error::with_source(ErrorKind::Refusing, message, cause.clone())
}

fn unknown(cause: &Error) -> Error {
    let message = format!(
        "it is not known whether the commit is durable ({cause}); reopen the store and read"
    );
    Error::with_source(ErrorKind::OutcomeUnknown, message, cause.clone())
}
