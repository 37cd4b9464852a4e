//! Hands a store's figures to the recorder of the crate `metrics`.

use crate::store::Store;
use crate::store::figures::{
    CommitStats, FollowerKind, FollowerState, FollowerStats, IndexStats, ReplicationStats, Stats,
    UpkeepStats,
};
use crate::telemetry::metrics_page::Page;
use crate::value::error::Result;

impl Store {
    /// Hands the figures of [`stats`](Store::stats) to the recorder of the crate
    /// [`metrics`](https://docs.rs/metrics) that the application has installed. Call it before each scrape, or each
    /// few seconds. Needs the feature `metrics`.
    ///
    /// From the first call on, what takes time (commits, `fdatasync`, flushes and compactions of the index) is timed,
    /// and handed over while it happens, in histograms, to the recorder that was installed at that call: so make it
    /// right after the store was opened. Before it, or without it, the feature costs nothing.
    ///
    /// `docs/METRICS.md` lists every metric with its unit and its labels.
    ///
    /// # Errors
    /// Those of [`stats`](Store::stats).
    pub fn record_metrics(&self) -> Result<()> {
        let stats = self.stats()?;
        let page = self.log.log().observers.instruments.page();
        record_commits(page, &stats.commits);
        record_index(page, &stats.index);
        record_store(page, &stats);
        record_upkeep(page, &stats.upkeep);
        record_replication(page, stats.replication.as_ref());
        let followers = stats.followers.iter();
        let now = followers.map(|follower| (follower.kind.as_str(), follower.name.clone()));
        for (kind, name) in page.ended(now.collect()) {
            page.gauge("filmstrip_follower_running", &[("kind", kind), ("name", &name)], 0.0);
        }
        stats.followers.iter().for_each(|follower| record_follower(page, follower));
        Ok(())
    }
}

fn record_commits(page: &Page, stats: &CommitStats) {
    page.counter("filmstrip_commits_total", &[], stats.commits);
    page.counter("filmstrip_events_total", &[], stats.events);
    page.counter("filmstrip_journal_written_bytes_total", &[], stats.bytes);
    page.counter("filmstrip_commit_groups_total", &[], stats.groups);
    page.counter("filmstrip_conflicts_total", &[], stats.conflicts);
    page.gauge("filmstrip_queue_commits", &[], stats.waiting as f64);
    page.gauge("filmstrip_queue_bytes", &[], stats.waiting_bytes as f64);
}

fn record_index(page: &Page, stats: &IndexStats) {
    page.gauge("filmstrip_unindexed_events", &[], stats.unindexed_events as f64);
    page.gauge("filmstrip_unindexed_bytes", &[], stats.unindexed_bytes as f64);
    page.gauge("filmstrip_index_tables", &[], stats.tables as f64);
    page.counter("filmstrip_index_flushes_total", &[], stats.flushes);
    page.counter("filmstrip_index_compactions_total", &[], stats.compactions);
    page.counter("filmstrip_index_failures_total", &[], stats.failures);
    page.counter("filmstrip_index_rebuilds_total", &[], stats.rebuilds);
    page.counter("filmstrip_cache_hits_total", &[], stats.cache_hits);
    page.counter("filmstrip_cache_misses_total", &[], stats.cache_misses);
}

fn record_store(page: &Page, stats: &Stats) {
    page.gauge("filmstrip_read_only", &[], f64::from(u8::from(stats.read_only)));
    page.gauge("filmstrip_head_position", &[], stats.head.get() as f64);
    page.gauge("filmstrip_open_readers", &[], stats.open_readers as f64);
    let subscriptions = &stats.subscriptions;
    page.gauge("filmstrip_subscriptions", &[], subscriptions.open as f64);
    page.gauge("filmstrip_subscription_lag_events", &[], subscriptions.lag as f64);
    page.gauge("filmstrip_subscription_lag_seconds", &[], subscriptions.lag_seconds);
    for (kind, bytes) in stats.disk.by_kind() {
        page.gauge("filmstrip_disk_bytes", &[("kind", kind)], bytes as f64);
    }
}

fn record_replication(page: &Page, stats: Option<&ReplicationStats>) {
    let flag = |name, is_so| page.gauge(name, &[], f64::from(u8::from(is_so)));
    // A recorder cannot remove what a replica has reported before it was promoted.
    flag("filmstrip_replica", stats.is_some());
    let Some(stats) = stats else { return };
    flag("filmstrip_replica_following", stats.following);
    flag("filmstrip_replica_stopped", stats.stopped);
    page.gauge("filmstrip_replica_lag_events", &[], stats.lag as f64);
    page.gauge("filmstrip_replica_lag_seconds", &[], stats.lag_seconds);
    page.gauge("filmstrip_replica_heard_seconds", &[], stats.heard_seconds);
    page.counter("filmstrip_replica_frames_total", &[], stats.frames);
    page.counter("filmstrip_replica_retries_total", &[], stats.retries);
}

fn record_follower(page: &Page, follower: &FollowerStats) {
    let labels = &[("kind", follower.kind.as_str()), ("name", follower.name.as_str())];
    let is_running = matches!(follower.state, FollowerState::Running | FollowerState::Rebuilding);
    let is_faulted = follower.state == FollowerState::Faulted;
    page.gauge("filmstrip_follower_running", labels, f64::from(u8::from(is_running)));
    page.gauge("filmstrip_follower_faulted", labels, f64::from(u8::from(is_faulted)));
    page.gauge("filmstrip_follower_lag_events", labels, follower.lag as f64);
    page.gauge("filmstrip_follower_lag_seconds", labels, follower.lag_seconds);
    page.gauge("filmstrip_follower_parked", labels, follower.parked as f64);
    page.counter("filmstrip_follower_retries_total", labels, follower.retries);
    page.counter("filmstrip_follower_faults_total", labels, follower.faults);
    if follower.kind == FollowerKind::Process {
        let labels = &[("name", follower.name.as_str())];
        page.gauge("filmstrip_process_deadlines", labels, follower.deadlines as f64);
    }
}

fn record_upkeep(page: &Page, stats: &UpkeepStats) {
    let outcomes = |name, done, failed| {
        page.counter(name, &[("outcome", "done")], done);
        page.counter(name, &[("outcome", "failed")], failed);
    };
    outcomes("filmstrip_backups_total", stats.backups, stats.backup_failures);
    outcomes("filmstrip_verifications_total", stats.verifications, stats.verification_failures);
    if let Some(last) = stats.last_backup {
        page.gauge("filmstrip_last_backup_timestamp_seconds", &[], last.timestamp() as f64);
    }
}
