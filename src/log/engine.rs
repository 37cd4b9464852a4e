//! The engine: a log and the commit path. It opens and closes the parts in the order of their dependencies.

use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::Location;
use crate::codec::state::StreamState;
use crate::index::core::Index;
use crate::journal::manifest::Role;
use crate::journal::read::Journal;
use crate::journal::recover;
use crate::journal::recover::torn_end::InFlight;
use crate::journal::segment;
use crate::journal::write::End;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::group::{GroupCommit, Outcome};
use crate::log::commit::outcome::{AppendError, Committed};
use crate::log::commit::turns::Turns;
use crate::log::core::{Log, journal_directory};
use crate::log::indexer;
use crate::log::indexer::managed::{Bounds, IndexSite, IndexSlot};
#[cfg(feature = "async")]
use crate::log::pool::Pool;
#[cfg(feature = "erasure")]
use crate::log::privacy::ReadersKeys;
#[cfg(feature = "erasure")]
use crate::log::privacy::state::Privacy;
use crate::log::read::located::{Located, each_located, sparse_entry_of};
use crate::log::replica::Replica;
#[cfg(feature = "async")]
use crate::log::started_once::StartedOnce;
use crate::log::tail::head::Head;
use crate::log::tail::{FillError, Tail};
use crate::storage::disk::Disk;
use crate::storage::held::Held;
use crate::telemetry::Observers;
use crate::telemetry::spans::{Listened, Listening, enter_span};
use crate::value::callback;
use crate::value::clock::Clock;
use crate::value::error::{ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::INDEX_FLUSH_BATCH_BYTES_MAX;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::any::Any;
use std::sync::Arc;
use uuid::Uuid;

/// The span of a commit, made by this macro.
macro_rules! commit_span {
    ($make:ident, $encoded:expr) => {
        $make!(
            DEBUG,
            "commit",
            db.system.name = "filmstrip",
            db.operation.name = "commit",
            db.operation.batch.size = $encoded.events.len(),
            filmstrip.position = tracing::field::Empty,
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        )
    };
}
#[cfg(feature = "async")]
pub(super) use commit_span;

/// A log that accepts commits. Threads of the engine hold the engine or its log; only the user's handles keep it
/// open.
pub(crate) struct Engine {
    log: Arc<Log>,
    group_commit: GroupCommit,
    turns: Arc<StreamTurns>,
    replica: Option<Replica>,
    /// Starts the thread that leads for tasks.
    #[cfg(feature = "async")]
    pub(super) leads_for_tasks: StartedOnce,
    /// Does for tasks what may take long.
    #[cfg(feature = "async")]
    pub(crate) pool: Arc<Pool>,
}

/// Whose turn it is to decide on a stream. What is handed on is a state of the application's.
pub(crate) type StreamTurns = Turns<StreamId, Arc<dyn Any + Send + Sync>>;

/// The options to open a log with.
pub(crate) struct LogOptions {
    pub(crate) directory: Arc<Held>,
    pub(crate) store: Uuid,
    pub(crate) cache_bytes: u64,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) bounds: Bounds,
    pub(crate) observers: Observers,
    #[cfg(feature = "erasure")]
    pub(crate) privacy: Privacy,
    pub(crate) role: Role,
}

impl Engine {
    /// Opens the log and recovers from a crash.
    pub(crate) fn open(options: LogOptions) -> Result<Engine> {
        let LogOptions {
            directory, store, cache_bytes, clock, disk, bounds, observers, role, ..
        } = options;
        let there = journal_directory(directory.path());
        let opened = recover::open_after(InFlight::of(role), disk, &there, store)?;
        let (journal, end) = (opened.journal, opened.writer.end());
        let site = IndexSite {
            directory,
            cache_bytes,
            batch_bytes: INDEX_FLUSH_BATCH_BYTES_MAX,
            bounds,
            journal: Arc::clone(&journal),
        };
        let (index, mut indexed) = IndexSlot::open(site)?;
        refuse_index_ahead(&journal, &indexed, &end)?;
        let lost_a_frame = opened.torn.as_ref().is_some_and(|torn| torn.acknowledged);
        let of_this_history = is_of_this_history(&journal, &indexed, &end)?
            && is_left_by_this_journal(&journal, &index, &indexed, &end)?;
        if !of_this_history {
            tracing::warn!("the index belongs to another history of this store and is rebuilt");
        }
        if lost_a_frame || !of_this_history {
            // The index may hold a part of the lost frame, and its positions will be assigned again.
            indexed = index.discard()?;
        }
        // Ingest the sealed segments at once; the last segment fits into the tail.
        let sealed = Location { segment: end.next.segment, offset: segment::HEADER_BYTES };
        if indexed.next < sealed {
            let (from, to) = (indexed.position, end.position);
            tracing::info!(from, to, "the index lags behind the journal and catches up");
        }
        index.bring_up(sealed, |checkpoint| {
            indexed = checkpoint;
            let (reached, of) = (indexed.position, end.position);
            tracing::info!(reached, of, "the index is catching up");
        })?;
        let tail = Tail::new(indexed);
        fill(&tail, &index, &journal, &indexed, end.next)?;
        let head = Head::new(end.position, end.next, end.chain, end.time);
        let log = Log::new(journal, index, tail, head, clock, opened.torn);
        #[cfg(feature = "erasure")]
        let log = log.with_privacy(options.privacy);
        let log = Arc::new(log.observed_by(observers));
        #[cfg(feature = "erasure")]
        log.journal.open_private_by(Box::new(ReadersKeys(Arc::downgrade(&log))));
        if end.position > 0 {
            log.note_clock(log.now(), end.time);
        }
        let its_log = Arc::clone(&log);
        log.spawn("filmstrip-indexer", move || indexer::run(&its_log))?;
        let (group_commit, replica) = match role {
            Role::Store => (GroupCommit::new(opened.writer), None),
            Role::Replica => {
                let group_commit = GroupCommit::new(opened.writer.unhurried());
                group_commit.set_refusal(Some(Replica::refusal()));
                (group_commit, Some(Replica::new()))
            }
        };
        Ok(Engine {
            log,
            group_commit,
            replica,
            turns: Arc::new(Turns::new()),
            #[cfg(feature = "async")]
            leads_for_tasks: StartedOnce::default(),
            #[cfg(feature = "async")]
            pool: Arc::default(),
        })
    }

    /// Closes the engine in order: refuses commits, ends the waits, ingests a flush batch if it is worth one, and
    /// writes the closing frame. Only the first call does anything.
    pub(crate) fn close(&self) -> Result<()> {
        if !self.group_commit.close() {
            return Ok(());
        }
        #[cfg(feature = "async")]
        self.pool.close();
        self.log.end_threads();
        let closed = self.group_commit.close_journal();
        #[cfg(feature = "erasure")]
        self.log.privacy.release_keys();
        self.log.index.close().and(closed)
    }

    /// The log alone, for callers that only read.
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The number of commits that wait to be written, and their size in bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.group_commit.waiting()
    }

    /// Checks that commits are accepted.
    ///
    /// # Errors
    /// `Closed`; `Moved` or `ReadOnly` with the cause, after a write that failed.
    pub(crate) fn accepts(&self) -> Result<()> {
        self.log.refuse_if_closed()?;
        self.group_commit.refused().map_err(|refused| self.log.index.moved().unwrap_or(refused))
    }

    /// Whose turn it is to decide on a stream.
    pub(crate) fn turns(&self) -> &Arc<StreamTurns> {
        &self.turns
    }

    /// Makes `encoded` durable, together with the other waiting commits.
    pub(crate) fn commit(&self, encoded: EncodedCommit) -> Result<Committed, AppendError> {
        self.commit_queued(encoded, || {}).map(|(committed, _)| committed)
    }

    /// The same. Calls `queued`, which must not panic, once its place among all commits is fixed. Also returns the time
    /// at which it was recorded.
    pub(crate) fn commit_queued(&self, encoded: EncodedCommit, queued: impl FnOnce()) -> Outcome {
        // Each caller checks this before it takes a lock: in a forked process a lock may never be released.
        if !failpoint!("log::append_in_forked_process") {
            self.log.owner.check()?;
        }
        callback::refuse_if_commits_wait("a commit")?;
        #[cfg(feature = "erasure")]
        let encoded = self.sealed(encoded)?;
        let span = commit_span!(enter_span, encoded);
        let outcome = self.group_commit.commit(&self.log, encoded, queued);
        if span.is_on() {
            tell(&span, &outcome);
        }
        outcome.map_err(|error| self.explained(error))
    }

    /// The same with its private events sealed.
    #[cfg(feature = "erasure")]
    fn sealed(&self, mut encoded: EncodedCommit) -> Result<EncodedCommit> {
        if encoded.has_unsealed() {
            // A replica is not to be marked by what it does not take.
            self.refuse_replica()?;
            self.log.seal(&mut encoded)?;
        }
        Ok(encoded)
    }

    /// If the store's directory was moved, reopening at the old path would not help; returns that error instead.
    pub(super) fn explained(&self, error: AppendError) -> AppendError {
        match error {
            AppendError::Store(refused) if refused.kind() == ErrorKind::ReadOnly => {
                self.log.index.moved().unwrap_or(refused).into()
            }
            error => error,
        }
    }

    /// What the log has in addition if it was opened as a replica.
    pub(crate) fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// Refuses what must write to the journal, for a log that is a replica.
    pub(crate) fn refuse_replica(&self) -> Result<()> {
        match self.group_commit.refused() {
            Err(error) if error.kind() == ErrorKind::Replica => Err(error),
            _ => Ok(()),
        }
    }

    /// The queue, for who does not wait for a commit as a thread does.
    pub(crate) fn group_commit(&self) -> &GroupCommit {
        &self.group_commit
    }
}

/// Tells how a commit has ended.
#[cold]
pub(super) fn tell<S: Listening>(span: &Listened<S>, outcome: &Outcome) {
    match outcome {
        Ok((committed, _)) => {
            span.record("filmstrip.position", committed.position.get());
            let is_new = !committed.already_recorded;
            span.outcome(if is_new { "done" } else { "already_recorded" }, None);
        }
        Err(AppendError::Conflict(_) | AppendError::Matched(_)) => span.outcome("conflict", None),
        Err(AppendError::Store(error)) => span.outcome("failed", Some(error)),
    }
}

/// Refuses an index that is past the journal's end both in positions and in bytes. Either the journal has lost
/// durable events, or somebody restored the journal of an earlier backup; an operator must decide. An index that is
/// ahead only in positions or only in bytes belongs to another history, whose frames are longer or shorter.
fn refuse_index_ahead(journal: &Journal, indexed: &Checkpoint, end: &End) -> Result<()> {
    let newest = indexed.position;
    if newest < end.position || indexed.next <= end.next {
        return Ok(());
    }
    let what = format!(
        "it ends at position {}, but the index holds events up to position {newest}: either the journal has lost \
         events, or the index is of another history of the store, and `Repair::rebuild_index` quarantines it",
        end.position
    );
    Err(journal.corrupt(end.next, Some(end.position + 1), what))
}

/// Whether the index was made from this journal, and not from another continuation of the same store, such as a
/// backup that was written to. If it was, the journal's hash chain continues from the index's checkpoint.
fn is_of_this_history(journal: &Arc<Journal>, indexed: &Checkpoint, end: &End) -> Result<bool> {
    if indexed.position > end.position || indexed.next > end.next {
        return Ok(false);
    }
    let mut frames = journal.frames(indexed.next, indexed.position + 1, end.next);
    match frames.next().transpose() {
        Ok(Some((_, frame))) => {
            Ok(frame.chain_after(&indexed.chain).as_ref() == Ok(&frame.header.chain))
        }
        Ok(None) => Ok(indexed.chain == end.chain),
        // Either the journal is damaged there, or the index belongs to a history with other frames.
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let is_journals = failpoint!("log::blame_journal_for_index");
            match is_journals || is_reached(journal, indexed, end)? {
                true => Err(error),
                false => Ok(false),
            }
        }
        Err(error) => Err(error),
    }
}

/// Whether a frame of the journal ends at the location and the position of the checkpoint `indexed`. Frames are read
/// from the beginning of the segment, whose header gives the position before it.
fn is_reached(journal: &Arc<Journal>, indexed: &Checkpoint, end: &End) -> Result<bool> {
    let Some(segment) = journal.segment(indexed.next.segment) else { return Ok(false) };
    let start = Location { segment: segment.number, offset: segment::HEADER_BYTES };
    let mut frames = journal.frames(start, segment.first_position, end.next);
    let (mut at, mut position) = (start, segment.first_position - 1);
    while at < indexed.next {
        // Damage before that location does not show which of the two is wrong; assume the journal.
        let Some((_, frame)) = frames.next().transpose()? else { break };
        (at, position) = (frames.at(), frame.header.last_position());
        if at.segment != segment.number {
            break;
        }
    }
    Ok(at == indexed.next && position == indexed.position)
}

/// Whether the leftovers of an interrupted flush batch in the index come from this journal. They are past the
/// checkpoint, so no other check finds leftovers of another continuation that was given up.
fn is_left_by_this_journal(
    journal: &Arc<Journal>,
    index: &IndexSlot,
    indexed: &Checkpoint,
    end: &End,
) -> Result<bool> {
    let mut left = match index.inspect(Index::unfinished) {
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
        left => left?,
    };
    let mut frames = journal.frames(indexed.next, indexed.position + 1, end.next);
    while !left.is_empty() && !failpoint!("log::believe_any_record") {
        let Some((at, frame)) = frames.next().transpose()? else { return Ok(false) };
        let sparse_entry = sparse_entry_of(at, &frame);
        if left.sparse_entries.get(&sparse_entry.position) == Some(&sparse_entry) {
            left.sparse_entries.remove(&sparse_entry.position);
        }
        // `fill` reports entries of the frame that cannot be read.
        let _ = each_located(at, &frame, |located| {
            if let Located::Record { key, .. } = located {
                left.records.remove(key.as_bytes());
            }
        });
    }
    Ok(true)
}

/// Adds the frames that the index lacks to the tail.
fn fill(
    tail: &Tail,
    index: &IndexSlot,
    journal: &Arc<Journal>,
    indexed: &Checkpoint,
    end: Location,
) -> Result<()> {
    for item in journal.frames(indexed.next, indexed.position + 1, end) {
        let (at, frame) = item?;
        let base = |stream: &StreamId, version| {
            let state = index.ask(|index| index.stream_state(stream))?;
            Ok(before(state, version))
        };
        let first = frame.header.first_position;
        tail.fill(at, &frame, base).map_err(|failed| match failed {
            FillError::Frame(what) => journal.unreadable(at, first, &frame, what),
            FillError::Base(error) => error,
        })?;
    }
    Ok(())
}

/// The state of a stream before the event of `version`. The index may already hold later events, past its checkpoint,
/// after a crash.
fn before(state: Option<StreamState>, version: u64) -> StreamState {
    match state {
        Some(state) if version > 1 && state.version.get() >= version => {
            StreamState { version: Version::new(version - 1), ..state }
        }
        Some(state) if version > 1 => state,
        _ => StreamState::absent(),
    }
}
