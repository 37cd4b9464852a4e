//! The metrics: their names, and how a figure becomes one. docs/METRICS.md is the page of them for operators, and
//! `tests/it/metrics_page.rs` holds the two together.
//!
//! * The names end in the unit, as Prometheus advises; those of counters end in `_total`.
//! * No label holds the name of a stream. Those that hold a name hold one of a store, a projection, a read model, a
//!   process or a group, of which an application has few.

use metrics::{Histogram, Label, Unit};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter as C, Gauge as G, Histogram as H};

/// Name, kind, unit if the recorder has a word for it, and meaning.
const METRICS: &[(&str, Kind, Option<Unit>, &str)] = &[
    ("filmstrip_commits_total", C, None, "Commits that were recorded"),
    ("filmstrip_events_total", C, None, "Events that were recorded"),
    ("filmstrip_journal_written_bytes_total", C, Some(Unit::Bytes), "Bytes written to the journal"),
    ("filmstrip_commit_groups_total", C, None, "Groups of commits, one fdatasync each"),
    ("filmstrip_conflicts_total", C, None, "Commits refused by an expected version or a condition"),
    ("filmstrip_commit_seconds", H, Some(Unit::Seconds), "A commit, from the call to its reply"),
    ("filmstrip_fdatasync_seconds", H, Some(Unit::Seconds), "An fdatasync of the journal"),
    ("filmstrip_commit_group_commits", H, None, "Commits in a group"),
    ("filmstrip_queue_commits", G, None, "Commits that wait for the next group"),
    ("filmstrip_queue_bytes", G, Some(Unit::Bytes), "Bytes of the commits that wait"),
    ("filmstrip_read_only", G, None, "1 if commits are refused since a write has failed"),
    ("filmstrip_head_position", G, None, "Position of the last durable event"),
    ("filmstrip_unindexed_events", G, None, "Events that the index lacks"),
    (
        "filmstrip_unindexed_bytes",
        G,
        Some(Unit::Bytes),
        "Bytes of the journal that the index lacks",
    ),
    ("filmstrip_index_tables", G, None, "Sorted tables of the index"),
    ("filmstrip_index_flushes_total", C, None, "Flush batches ingested by the index"),
    ("filmstrip_index_flush_seconds", H, Some(Unit::Seconds), "Ingesting what was due"),
    ("filmstrip_index_compactions_total", C, None, "Steps of compaction"),
    ("filmstrip_index_compaction_seconds", H, Some(Unit::Seconds), "A step of compaction"),
    ("filmstrip_index_failures_total", C, None, "Failed attempts to ingest or to compact"),
    ("filmstrip_index_rebuilds_total", C, None, "Rebuilds of the index"),
    ("filmstrip_cache_hits_total", C, None, "Look-ups of blocks answered from memory"),
    ("filmstrip_cache_misses_total", C, None, "Look-ups of blocks that read a table"),
    ("filmstrip_open_readers", G, None, "Iterators that read"),
    ("filmstrip_subscriptions", G, None, "Open subscriptions"),
    ("filmstrip_subscription_lag_events", G, None, "Lag of the subscription that lags most"),
    ("filmstrip_subscription_lag_seconds", G, Some(Unit::Seconds), "The same, in time"),
    ("filmstrip_follower_running", G, None, "1 if it follows the log, 0 if it is paused or ended"),
    ("filmstrip_follower_faulted", G, None, "1 if it has stopped at an error"),
    ("filmstrip_follower_lag_events", G, None, "Events that it has not done"),
    ("filmstrip_follower_lag_seconds", G, Some(Unit::Seconds), "Age of the first of them"),
    ("filmstrip_follower_parked", G, None, "Events, instances and steps that are parked"),
    ("filmstrip_follower_retries_total", C, None, "Attempts that were repeated"),
    ("filmstrip_follower_faults_total", C, None, "How often it has stopped at an error"),
    ("filmstrip_process_deadlines", G, None, "Instances that wait for a deadline"),
    ("filmstrip_replica", G, None, "1 if the store is a replica"),
    ("filmstrip_replica_following", G, None, "1 if the last attempt to hear the source succeeded"),
    ("filmstrip_replica_stopped", G, None, "1 if it has stopped at an error"),
    ("filmstrip_replica_lag_events", G, None, "Events of the source that it lacks"),
    ("filmstrip_replica_lag_seconds", G, Some(Unit::Seconds), "Time since it lacked none"),
    ("filmstrip_replica_heard_seconds", G, Some(Unit::Seconds), "Time since it heard the source"),
    ("filmstrip_replica_frames_total", C, None, "Frames taken from the source"),
    ("filmstrip_replica_retries_total", C, None, "Failed attempts to take frames"),
    ("filmstrip_disk_bytes", G, Some(Unit::Bytes), "Bytes on disk"),
    ("filmstrip_backups_total", C, None, "Backups, by outcome"),
    (
        "filmstrip_last_backup_timestamp_seconds",
        G,
        Some(Unit::Seconds),
        "Unix time of the last backup",
    ),
    ("filmstrip_verifications_total", C, None, "Verifications, by outcome"),
];

/// Tells the recorder what each metric is.
pub(super) fn describe() {
    for (name, kind, unit, meaning) in METRICS {
        let unit = unit.unwrap_or(Unit::Count);
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, unit, *meaning),
            Kind::Gauge => metrics::describe_gauge!(*name, unit, *meaning),
            Kind::Histogram => metrics::describe_histogram!(*name, unit, *meaning),
        }
    }
}

/// The metrics of one store.
#[derive(Default)]
pub(crate) struct Page {
    store: String,
    /// The followers that were shown, so that those that have ended can be shown as ended.
    shown: Mutex<BTreeSet<Follower>>,
    /// The counters as they were shown last.
    counted: Mutex<HashMap<Counted, u64>>,
}

/// The name and the labels of a counter.
type Counted = (&'static str, Vec<(&'static str, String)>);

/// The kind and the name of a follower.
type Follower = (&'static str, String);

impl Page {
    pub(super) fn new(store: &str) -> Page {
        Page { store: store.to_owned(), ..Page::default() }
    }

    /// The followers that were shown before and are not among those that run now.
    pub(crate) fn ended(&self, now: BTreeSet<Follower>) -> Vec<Follower> {
        let mut shown = self.shown.lock();
        let ended = shown.difference(&now).cloned().collect();
        shown.extend(now);
        ended
    }

    fn labels(&self, labels: &[(&'static str, &str)]) -> Vec<Label> {
        let own = labels.iter().map(|(key, value)| Label::new(*key, (*value).to_owned()));
        [Label::new("store", self.store.clone())].into_iter().chain(own).collect()
    }

    pub(super) fn histogram(&self, name: &'static str) -> Histogram {
        debug_assert!(is_known(name, Kind::Histogram), "{name} is unknown");
        metrics::histogram!(name, self.labels(&[]))
    }

    /// Adds to a counter what has come since it was shown with these labels. A lower value has begun again at 0: the
    /// recorder outlives a store that is opened again, and a follower that is started again.
    pub(crate) fn counter(&self, name: &'static str, labels: &[(&'static str, &str)], value: u64) {
        debug_assert!(is_known(name, Kind::Counter), "{name} is unknown");
        let own = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let before = self.counted.lock().insert((name, own), value).unwrap_or_default();
        let more = value.checked_sub(before).unwrap_or(value);
        metrics::counter!(name, self.labels(labels)).increment(more);
    }

    pub(crate) fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        debug_assert!(is_known(name, Kind::Gauge), "{name} is unknown");
        metrics::gauge!(name, self.labels(labels)).set(value);
    }
}

fn is_known(name: &str, kind: Kind) -> bool {
    METRICS.iter().any(|of| of.0 == name && of.1 == kind)
}
