//! What a store has done and holds, in figures.

use crate::follow::group::status::GroupState;
use crate::index::quarantine::INDEX;
use crate::kv::files::PACKS;
use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::model::process::status::ProcessState;
use crate::model::projection::status::ProjectionState;
use crate::storage::usage::bytes_below;
use crate::store::Store;
use crate::value::callback;
use crate::value::error::{Error, Result};
use crate::value::position::Position;
use crate::views::VIEWS;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// What a store has done since it was opened, and what it holds now; see [`Store::stats`].
///
/// Counts never go back while the store is open, and begin at 0 when it is opened; those of the index's cache begin
/// again when the index is rebuilt. Figures are of about one moment, not of exactly one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The position of the last durable event.
    pub head: Position,
    /// Whether commits are refused since a write has failed.
    pub read_only: bool,
    /// What was written.
    pub commits: CommitStats,
    /// The index, which follows the journal.
    pub index: IndexStats,
    /// Iterators that read a stream or the global sequence, and are not dropped yet.
    pub open_readers: u64,
    /// The subscriptions, which have no names.
    pub subscriptions: SubscriptionStats,
    /// What follows the log under a name.
    pub followers: Vec<FollowerStats>,
    /// Bytes on disk.
    pub disk: DiskStats,
    /// What was done to keep the store.
    pub upkeep: UpkeepStats,
}

/// What was written since the store was opened. Commits of the engine's own, such as the cursor of a consumer group,
/// count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommitStats {
    /// Commits that were recorded.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes that they take in the journal.
    pub bytes: u64,
    /// Groups of commits that were written together: each is one write and one `fdatasync`.
    pub groups: u64,
    /// Commits that were refused because an expected version did not hold. A command that was retried counts each
    /// time.
    pub conflicts: u64,
    /// Commits that wait now to be written with the next group.
    pub waiting: u64,
    /// Bytes of the commits that wait.
    pub waiting_bytes: u64,
}

/// The index, which follows the journal and is never waited for, until it lacks too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexStats {
    /// Events that it lacks. They are in memory.
    pub unindexed_events: u64,
    /// Bytes of the journal that it lacks.
    pub unindexed_bytes: u64,
    /// Flush batches that it has ingested.
    pub flushes: u64,
    /// Steps of compaction.
    pub compactions: u64,
    /// Attempts to ingest or to compact that have failed. They are repeated after a pause.
    pub failures: u64,
    /// How often it was rebuilt because something was wrong with it.
    pub rebuilds: u64,
    /// Its sorted tables; each is an open file.
    pub tables: u64,
    /// Look-ups of blocks of sorted tables that were answered from memory.
    pub cache_hits: u64,
    /// Those that read the table.
    pub cache_misses: u64,
}

/// The open subscriptions, without those of consumer groups.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// How many are open.
    pub open: u64,
    /// How many events the one that lags most has not returned, wanted or not.
    pub lag: u64,
    /// How long ago the first of these was recorded, in seconds.
    pub lag_seconds: f64,
}

/// Something that follows the log under a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FollowerStats {
    /// What it is.
    pub kind: FollowerKind,
    /// Its name; for a read model, that of its type.
    pub name: String,
    /// What it does.
    pub state: FollowerState,
    /// The position up to which it has done everything.
    pub position: Position,
    /// How many events the head is past that, wanted or not.
    pub lag: u64,
    /// How long ago the first of these was recorded, in seconds.
    pub lag_seconds: f64,
    /// Events, instances and steps that are parked.
    pub parked: u64,
    /// How often something was tried again since it was started; of a group, events delivered again.
    pub retries: u64,
    /// How often it has stopped at an error since it was started.
    pub faults: u64,
    /// Instances of a process that wait for a deadline.
    pub deadlines: u64,
}

/// What follows the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum FollowerKind {
    /// A projection.
    Projection,
    /// A read model.
    ReadModel,
    /// A process.
    Process,
    /// A consumer group.
    Group,
}

impl FollowerKind {
    /// The kind as serde writes it: `read_model`, for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FollowerKind::Projection => "projection",
            FollowerKind::ReadModel => "read_model",
            FollowerKind::Process => "process",
            FollowerKind::Group => "group",
        }
    }
}

/// What a follower does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum FollowerState {
    /// It follows the log.
    Running,
    /// It builds a new view beside the one that is served.
    Rebuilding,
    /// It waits to be resumed.
    Paused,
    /// It has stopped at an error.
    Faulted,
    /// It was stopped.
    Stopped,
}

/// Bytes of a store's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DiskStats {
    /// The journal, with the room that is prepared for what comes.
    pub journal: u64,
    /// The sorted tables of the index: the events by stream.
    pub tables: u64,
    /// The rest of the index, in sled: what leads to the tables, snapshots, and the cursors of followers.
    pub index: u64,
    /// The views of projections.
    pub views: u64,
    /// Everything else in the directory: what was quarantined, and some small files.
    pub other: u64,
}

impl DiskStats {
    /// The bytes of all of them, each with the name of its field.
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, u64); 5] {
        let DiskStats { journal, tables, index, views, other } = *self;
        [
            ("journal", journal),
            ("tables", tables),
            ("index", index),
            ("views", views),
            ("other", other),
        ]
    }

    fn of(directory: &Path) -> Result<DiskStats> {
        let bytes = |below: &[&str]| {
            let path = below.iter().fold(directory.to_owned(), |path, name| path.join(name));
            bytes_below(&path).map_err(|e| Error::io("look at", &path, e))
        };
        // In this order, so that a file that is made meanwhile cannot make a difference negative.
        let (tables, index, views) = (bytes(&[INDEX, PACKS])?, bytes(&[INDEX])?, bytes(&[VIEWS])?);
        let (journal, all) = (bytes(&["journal"])?, bytes(&[])?);
        Ok(DiskStats {
            journal,
            tables,
            index: index.saturating_sub(tables),
            views,
            other: all.saturating_sub(journal + index + views),
        })
    }
}

/// What was done to keep the store since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UpkeepStats {
    /// Backups that were taken.
    pub backups: u64,
    /// Backups that have failed.
    pub backup_failures: u64,
    /// When the last one was taken, if one was.
    pub last_backup: Option<DateTime<Utc>>,
    /// Verifications that have found nothing wrong.
    pub verifications: u64,
    /// Verifications that have found something, or could not be done.
    pub verification_failures: u64,
}

impl Store {
    /// Returns what the store has done since it was opened, and what it holds.
    ///
    /// The hot paths keep some counters; everything else is looked at here. That takes a look at each file of the
    /// store, a read of one frame of the journal for each follower that lags, and a count of what is parked: some
    /// milliseconds for a large store. So ask each few seconds, not with each request.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::temporary()?;
    /// store.append("Door-1", ExpectedVersion::Any, [NewEvent::json("Opened", &())?])?;
    /// let stats = store.stats()?;
    /// assert_eq!((stats.commits.commits, stats.commits.events), (1, 1));
    /// assert!(stats.disk.journal > 0 && !stats.read_only);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed); [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) within a clock or a
    /// listener of `tracing`; errors of reading.
    pub fn stats(&self) -> Result<Stats> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        callback::refuse_if_commits_wait("Store::stats")?;
        let places = self.parts.subscriptions.places(log);
        let (lag, lag_seconds) = lag(log, places.last)?;
        Ok(Stats {
            head: log.head_position(),
            read_only: self.log.engine().accepts().is_err(),
            commits: self.commit_stats(),
            index: index_stats(log),
            open_readers: log.counters.readers.get(),
            subscriptions: SubscriptionStats { open: places.open, lag, lag_seconds },
            followers: self.follower_stats()?,
            disk: DiskStats::of(self.path())?,
            upkeep: upkeep_stats(log),
        })
    }

    fn commit_stats(&self) -> CommitStats {
        let counters = &self.log.log().counters;
        let (waiting, waiting_bytes) = self.log.engine().waiting();
        CommitStats {
            commits: counters.commits.get(),
            events: counters.events.get(),
            bytes: counters.bytes.get(),
            groups: counters.groups.get(),
            conflicts: counters.conflicts.get(),
            waiting: waiting as u64,
            waiting_bytes: waiting_bytes as u64,
        }
    }

    fn follower_stats(&self) -> Result<Vec<FollowerStats>> {
        let (log, parts) = (self.log.log(), &self.parts);
        let head = log.head_position();
        let mut all = Vec::new();
        for report in parts.projections.reports(head) {
            let (status, state) = (&report.status, projection_state(&report.status.state));
            let new = FollowerStats::new(log, FollowerKind::Projection, state, status.checkpoint)?;
            let (parked, retries, faults) = (status.parked, report.retries, report.faults);
            all.push(FollowerStats { name: report.name, parked, retries, faults, ..new });
        }
        for model in parts.projections.read_models(head) {
            let state = match model.error {
                Some(_) => FollowerState::Faulted,
                None => FollowerState::Running,
            };
            let new = FollowerStats::new(log, FollowerKind::ReadModel, state, model.position)?;
            all.push(FollowerStats { name: model.name.to_owned(), ..new }.with_own_fault());
        }
        for report in parts.processes.reports(head) {
            let (status, state) = (&report.status, process_state(&report.status.state));
            let new = FollowerStats::new(log, FollowerKind::Process, state, status.position)?;
            let (parked, deadlines) = (status.parked, status.deadlines);
            let (name, retries, faults) = (report.name, report.retries, report.faults);
            all.push(FollowerStats { name, parked, deadlines, retries, faults, ..new });
        }
        for report in parts.groups.reports(log)? {
            let state = match report.status.state {
                GroupState::Running => FollowerState::Running,
                GroupState::Faulted(_) => FollowerState::Faulted,
            };
            let new = FollowerStats::new(log, FollowerKind::Group, state, report.status.cursor)?;
            let (parked, retries) = (report.status.parked, report.redelivered);
            all.push(FollowerStats { name: report.name, parked, retries, ..new }.with_own_fault());
        }
        Ok(all)
    }
}

impl FollowerStats {
    fn new(
        log: &Arc<Log>,
        kind: FollowerKind,
        state: FollowerState,
        position: Position,
    ) -> Result<FollowerStats> {
        let (lag, lag_seconds) = lag(log, position.get())?;
        let (name, parked, retries, faults, deadlines) = (String::new(), 0, 0, 0, 0);
        Ok(FollowerStats {
            kind,
            name,
            state,
            position,
            lag,
            lag_seconds,
            parked,
            retries,
            faults,
            deadlines,
        })
    }

    /// Counts the error at which it has ended; it is not resumed after one.
    fn with_own_fault(self) -> FollowerStats {
        FollowerStats { faults: u64::from(self.state == FollowerState::Faulted), ..self }
    }
}

fn projection_state(state: &ProjectionState) -> FollowerState {
    match state {
        ProjectionState::Running => FollowerState::Running,
        ProjectionState::Rebuilding { .. } => FollowerState::Rebuilding,
        ProjectionState::Paused => FollowerState::Paused,
        ProjectionState::Faulted(_) => FollowerState::Faulted,
        ProjectionState::Stopped => FollowerState::Stopped,
    }
}

fn process_state(state: &ProcessState) -> FollowerState {
    match state {
        ProcessState::Running => FollowerState::Running,
        ProcessState::Paused => FollowerState::Paused,
        ProcessState::Faulted(_) => FollowerState::Faulted,
        ProcessState::Stopped => FollowerState::Stopped,
    }
}

/// How many events the head is past `position`, and how long ago the first of them was recorded, in seconds.
fn lag(log: &Arc<Log>, position: u64) -> Result<(u64, f64)> {
    let lag = log.head.position().saturating_sub(position);
    if lag == 0 {
        return Ok((0, 0.0));
    }
    let frame = FrameCursor::new(Arc::clone(log)).frame_holding(position + 1)?;
    let micros = log.now().0.saturating_sub(frame.header.time.0).max(0);
    Ok((lag, micros as f64 / 1e6))
}

fn index_stats(log: &Log) -> IndexStats {
    let (head, end) = log.head.visible();
    let indexed = log.tail.indexed();
    let whole = log.journal.bytes_of(indexed.next.segment..end.segment);
    let inside = log.index.inspect(|index| {
        let blocks = &index.blocks;
        Ok((index.tables.live().len() as u64, blocks.hits.get(), blocks.misses.get()))
    });
    // It may be lost for now.
    let (tables, cache_hits, cache_misses) = inside.unwrap_or_default();
    IndexStats {
        unindexed_events: head.saturating_sub(indexed.position),
        unindexed_bytes: (whole + end.offset).saturating_sub(indexed.next.offset),
        flushes: log.counters.flushes.get(),
        compactions: log.counters.compactions.get(),
        failures: log.counters.index_failures.get(),
        rebuilds: log.index.healed(),
        tables,
        cache_hits,
        cache_misses,
    }
}

fn upkeep_stats(log: &Log) -> UpkeepStats {
    let counters = &log.counters;
    UpkeepStats {
        backups: counters.backups.get(),
        backup_failures: counters.backup_failures.get(),
        last_backup: counters.last_backup.get(),
        verifications: counters.verifications.get(),
        verification_failures: counters.verification_failures.get(),
    }
}
