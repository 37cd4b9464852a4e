//! Group commit: callers' threads write for each other.
//!
//! * Callers lead in turn (`log::commit::queue`): the leader writes one group, as one frame with one `fdatasync`. A
//!   writer thread would add two wake-ups to each commit; one wake-up took a tenth of an `fdatasync`
//!   (docs/decisions/0014).
//! * Every caller gets a reply: a leader that fails or panics replies to its group and to all waiting callers.
//! * A caller gets its reply after the tail and the head have moved, so it can read at its position at once.
//! * After a failed write the store stays `ReadOnly` until it is reopened; only reopening decides what is durable.

use crate::codec::record::Record;
use crate::codec::state::StreamState;
use crate::journal::write::{End, WriteError, Writer, Written};
use crate::log::commit::admission::{Admission, Placement};
use crate::log::commit::admit::admit;
use crate::log::commit::assembly::{PlacedCommit, admitted, assemble, first_frame};
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::gather::{Gathered, gather};
use crate::log::commit::judging::judge_before_queueing;
use crate::log::commit::outcome::{AppendError, Appended, Committed};
#[cfg(feature = "async")]
use crate::log::commit::queue::awaited::Awaited;
use crate::log::commit::queue::{CommitQueue, Terms, Turn};
use crate::log::core::Log;
use crate::log::indexer;
use crate::log::publish::Content;
use crate::log::tail::stream_table::Slot;
#[cfg(feature = "async")]
use crate::telemetry::instruments::Stopwatch;
use crate::value::callback::Holding;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::position::{Position, Version};
use parking_lot::Mutex;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::{Poll, Waker};

#[cfg(test)]
mod tests;

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

/// What a task waits for.
#[cfg(feature = "async")]
pub(crate) struct AwaitedReply {
    reply: Awaited<Reply>,
    begun: Stopwatch,
}

#[cfg(feature = "async")]
impl AwaitedReply {
    /// How the commit ended; or `waker` is woken when that is known.
    pub(crate) fn poll(&self, log: &Log, waker: &Waker) -> Poll<Outcome> {
        self.reply.poll(waker).map(|reply| {
            log.observers.instruments.commit(self.begun);
            reply.and_then(outcome)
        })
    }
}

impl GroupCommit {
    pub(crate) fn new(writer: Writer) -> GroupCommit {
        GroupCommit { queue: CommitQueue::new(Terms::default()), writer: Mutex::new(writer) }
    }

    /// Judges the conditions of `encoded`, and makes it durable, together with the other waiting commits. Calls
    /// `queued`, which must not panic, once its place is fixed.
    pub(crate) fn commit(
        &self,
        log: &Arc<Log>,
        mut encoded: EncodedCommit,
        queued: impl FnOnce(),
    ) -> Outcome {
        let begun = log.observers.instruments.timing().start();
        if !encoded.conditions().is_empty() {
            judge_before_queueing(log, &mut encoded)?;
        }
        // Before any wait: the clock is the application's code and may block.
        encoded.time = log.ask_clock()?;
        let bytes = encoded.bytes_waiting();
        #[cfg(feature = "erasure")]
        let queued = passing(log, &encoded, queued)?;
        let reply = match self.queue.join(encoded, bytes, queued)? {
            Turn::Answered(reply) => reply,
            Turn::Leads(mut leader) => loop {
                let replies = self.replies_to(log, leader.take_group());
                if let Some(own) = leader.reply(replies, || indexer::is_full(log)) {
                    break own;
                }
            },
        };
        log.observers.instruments.commit(begun);
        reply.and_then(outcome)
    }

    /// Queues `encoded` for a task, which is woken by `waker` when it is durable. Calls `queued`, which must not panic,
    /// once its place is fixed.
    #[cfg(feature = "async")]
    pub(crate) fn enter(
        &self,
        log: &Arc<Log>,
        mut encoded: EncodedCommit,
        waker: Waker,
        queued: impl FnOnce(),
    ) -> Result<AwaitedReply> {
        let begun = log.observers.instruments.timing().start();
        encoded.time = log.ask_clock()?;
        let bytes = encoded.bytes_waiting();
        #[cfg(feature = "erasure")]
        let queued = passing(log, &encoded, queued)?;
        let reply = self.queue.enter(encoded, bytes, waker, queued)?;
        Ok(AwaitedReply { reply, begun })
    }

    /// Leads whenever tasks have queued commits and no caller leads; until the queue is closed.
    #[cfg(feature = "async")]
    pub(crate) fn lead_for_tasks(&self, log: &Arc<Log>) {
        while let Some(mut leader) = self.queue.lead_for_tasks() {
            loop {
                let replies = self.replies_to(log, leader.take_group());
                if !leader.reply(replies) {
                    break;
                }
            }
        }
    }

    /// Nobody waits for this reply any more.
    #[cfg(feature = "async")]
    pub(crate) fn withdraw(&self, awaited: &AwaitedReply) {
        self.queue.withdraw(&awaited.reply);
    }

    /// Lets `work` use the journal's writer, between two groups.
    pub(crate) fn with_writer<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> T {
        work(&mut self.writer.lock())
    }

    /// Refuses commits by `error`, or accepts them from now on.
    pub(crate) fn set_refusal(&self, error: Option<Error>) {
        self.queue.set_refusal(error);
    }

    /// Refuses further commits and waits until those in flight are durable. Returns whether this was the first call.
    pub(crate) fn close(&self) -> bool {
        self.queue.close()
    }

    /// The number of commits that wait to be written, and their size in bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.queue.waiting()
    }

    /// Checks that commits are accepted.
    ///
    /// # Errors
    /// `ReadOnly`, after a write that failed; `Replica`.
    pub(crate) fn refused(&self) -> Result<()> {
        self.queue.refused()
    }

    /// Writes the closing frame if no write has failed, and ends the preparing of segments. A replica has no frames of
    /// its own.
    pub(crate) fn close_journal(&self) -> Result<()> {
        let writer = &mut *self.writer.lock();
        let close = |writer: &mut Writer| writer.close().map_err(WriteError::into_error);
        let closed = match self.queue.refused() {
            Ok(()) => close(writer),
            Err(error) if error.kind() != ErrorKind::Replica => Err(error),
            Err(_) if failpoint!("replica::write_closing_frame") => close(writer),
            Err(_) => Ok(()),
        };
        // The next opening of the store prepares segments under the same names.
        writer.end_preparing();
        closed
    }

    /// Writes `group` and returns a reply for each of its commits, even after an error or a panic.
    fn replies_to(&self, log: &Arc<Log>, group: Vec<EncodedCommit>) -> Vec<Reply> {
        let callers = group.len();
        let write = || {
            // Subscribers of `tracing` run inside this closure.
            let _held = (!failpoint!("log::lead_unnoticed")).then(|| Holding::Commits.begin());
            let writer = &mut *self.writer.lock();
            writer.timing = log.observers.instruments.timing();
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
    pub(crate) fn refuse(&self, cause: &Error) {
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

/// Takes `encoded` to the gate for private events, and past it when it is queued; then calls `queued`.
#[cfg(feature = "erasure")]
fn passing<'a>(
    log: &'a Log,
    encoded: &EncodedCommit,
    queued: impl FnOnce() + 'a,
) -> Result<impl FnOnce() + 'a> {
    let pass = log.pass_gate(encoded)?;
    Ok(move || {
        drop(pass);
        queued();
    })
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
    log: &Arc<Log>,
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
    let recorded = admitted.len();
    if !admitted.is_empty() {
        let (buffer, meaning) = assemble(&writer.end(), time, buffer, &mut admitted);
        let written = writer.write(buffer, &meaning).map_err(|error| match error {
            WriteError::NotWritten(error) => Failed::NotWritten(error),
            WriteError::Stopped(error) => Failed::Stopped(error),
            WriteError::Unknown(error) => Failed::Unknown(error),
        })?;
        count(log, &written, admitted.len());
        publish(log, &writer.end(), &written, &admitted, &streams).map_err(Failed::Unknown)?;
        let promised = admitted.iter().filter_map(|admitted| admitted.encoded.promised.as_ref());
        promised.for_each(|promised| promised.promise.keep());
        if failpoint!("log::publish_before_durable") {
            writer.sync_late();
        }
    }
    if admissions.len() > recorded {
        let conflicts = admissions.iter().filter(|admission| {
            matches!(admission, Admission::Conflict(_) | Admission::Matched { .. })
        });
        log.counters.conflicts.add_alone(conflicts.count() as u64);
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
    log: &Arc<Log>,
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

/// Makes a durable group visible.
fn publish(
    log: &Log,
    end: &End,
    written: &Written,
    admitted: &[PlacedCommit<'_>],
    streams: &[(Slot, StreamState)],
) -> Result<()> {
    let records = admitted.iter().flat_map(|admitted| admitted.encoded.records.iter().cloned());
    let content = Content {
        tagged: admitted.iter().flat_map(|admitted| admitted.tagged(written.at, &written.frame)),
        runs: admitted.iter().flat_map(|admitted| admitted.runs(written.at, streams)),
        records: records.map(Record::into_kept),
    };
    let published = log.publish(end, written, content);
    published.map_err(|what| Error::new(ErrorKind::OutcomeUnknown, what))
}

/// Counts a group that is durable. Only the leader calls this.
fn count(log: &Log, written: &Written, commits: usize) {
    log.count_frame(&written.frame, commits);
    log.observers.instruments.group(commits, written.synced);
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
        Admission::Holds(judged) => {
            let is_late = failpoint!("log::tell_checks_of_a_later_head");
            let position = Position::new(if is_late { head } else { judged });
            let appended = Vec::new();
            Ok((Committed { appended, position, already_recorded: false }, time))
        }
        Admission::Conflict(conflict) => Err(AppendError::Conflict(conflict)),
        Admission::Matched { condition, position } => {
            Err(AppendError::Matched(encoded.conditions()[condition].matched(position)))
        }
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
