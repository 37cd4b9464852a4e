//! The figures of a store: what `Store::stats` returns.

use crate::index::quarantine::INDEX;
use crate::kv::files::PACKS;
use crate::storage::usage::bytes_below;
use crate::value::error::{Error, Result};
use crate::value::position::Position;
use crate::views::VIEWS;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::path::Path;

/// What a store has done since it was opened, and what it holds now; see [`Store::stats`](crate::Store::stats).
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
    /// How it follows its source, if it is a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationStats>,
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
    /// Commits that were refused because an expected version or a condition did not hold. A command that was retried
    /// counts each time.
    pub conflicts: u64,
    /// Commits that wait now to be written with the next group.
    pub waiting: u64,
    /// Bytes of the commits that wait.
    pub waiting_bytes: u64,
}

/// How a replica follows its source. [`Store::replication`](crate::Store::replication) has the errors too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReplicationStats {
    /// Whether the last attempt to hear the source has succeeded.
    pub following: bool,
    /// Whether it has stopped at an error.
    pub stopped: bool,
    /// The events that the source had when it was last heard, and the replica lacks; 0 if it was not heard.
    pub lag: u64,
    /// How long ago the replica last had everything that the source was known to have, in seconds: it grows while the
    /// source is not heard. Not a number before the first time.
    pub lag_seconds: f64,
    /// How long ago the source was last heard, in seconds; not a number before the first time.
    pub heard_seconds: f64,
    /// Frames that were taken since the store was opened; each holds a group of commits.
    pub frames: u64,
    /// Attempts to take frames that have failed since the store was opened. They are repeated after a pause.
    pub retries: u64,
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
    /// How long ago the first of these was recorded, in seconds; not a number while the index is being rebuilt.
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
    /// How long ago the first of these was recorded, in seconds; not a number while the index is being rebuilt, or if
    /// that event cannot be read.
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
    /// A relay.
    Relay,
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
            FollowerKind::Relay => "relay",
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

    /// Those of the store in `directory`.
    pub(super) fn of(directory: &Path) -> Result<DiskStats> {
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
