//! Collects the statistics of a store.

use crate::follow::group::status::GroupState;
use crate::log::core::Log;
use crate::log::read::lag::lag;
use crate::log::replica::status::{Replication, ReplicationState};
use crate::model::process::status::ProcessState;
use crate::model::projection::status::ProjectionState;
use crate::model::relay::status::RelayState;
use crate::store::Store;
use crate::store::figures::{
    CommitStats, DiskStats, FollowerKind, FollowerState, FollowerStats, IndexStats,
    ReplicationStats, Stats, SubscriptionStats, UpkeepStats,
};
use crate::value::callback;
use crate::value::error::{ErrorKind, Result};
use crate::value::position::Position;
use std::sync::Arc;
use std::time::Duration;

impl Store {
    /// Returns what the store has done since it was opened, and what it holds.
    ///
    /// The hot paths keep a few counters; this call collects everything else. It looks at each file of the store, reads
    /// one frame of the journal for each follower that lags, and counts what is parked, which takes some milliseconds
    /// for a large store. So call it every few seconds, not for each request.
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
            read_only: self.log.engine().accepts().is_err_and(|it| it.kind() != ErrorKind::Replica),
            replication: self.replication().as_ref().map(replication_stats),
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
        for report in parts.relays.reports(head) {
            let (status, state) = (&report.status, relay_state(&report.status.state));
            let new = FollowerStats::new(log, FollowerKind::Relay, state, status.position)?;
            let (name, retries, faults) = (report.name, report.retries, report.faults);
            all.push(FollowerStats { name, retries, faults, ..new });
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

    /// Sets its faults to 1 if it has ended at an error; it cannot be resumed.
    fn with_own_fault(self) -> FollowerStats {
        FollowerStats { faults: u64::from(self.state == FollowerState::Faulted), ..self }
    }
}

fn replication_stats(replication: &Replication) -> ReplicationStats {
    let seconds = |ago: Option<Duration>| ago.map_or(f64::NAN, |ago| ago.as_secs_f64());
    ReplicationStats {
        following: matches!(replication.state, ReplicationState::Following),
        stopped: matches!(replication.state, ReplicationState::Stopped(_)),
        lag: replication.lag,
        lag_seconds: seconds(replication.level_ago),
        heard_seconds: seconds(replication.heard_ago),
        frames: replication.frames,
        retries: replication.retries,
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

fn relay_state(state: &RelayState) -> FollowerState {
    match state {
        RelayState::Running => FollowerState::Running,
        RelayState::Paused => FollowerState::Paused,
        RelayState::Faulted(_) => FollowerState::Faulted,
        RelayState::Stopped => FollowerState::Stopped,
    }
}

fn index_stats(log: &Log) -> IndexStats {
    let (head, end) = log.head.visible();
    let indexed = log.tail.indexed();
    let whole = log.journal.bytes_of(indexed.next.segment..end.segment);
    let inside = || {
        log.index.inspect(|index| {
            let blocks = &index.blocks;
            Ok((index.tables.live().len() as u64, blocks.hits.get(), blocks.misses.get()))
        })
    };
    // It may be lost at the moment, or being rebuilt.
    let inside = (!log.index.is_busy()).then(inside);
    let (tables, cache_hits, cache_misses) = inside.and_then(Result::ok).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
    use std::time::Duration;

    #[test]
    fn nobody_waits_for_an_index_that_is_being_rebuilt() {
        let store = Store::temporary().unwrap();
        let append = |stream| {
            let event = NewEvent::bytes("Opened", &b""[..]);
            store.append(stream, ExpectedVersion::Any, [event]).unwrap();
        };
        ["Door-1", "Door-2"].into_iter().for_each(append);
        let _subscription = store.subscribe().start().unwrap();
        let _consumer = store.subscribe().group("mailer").start().unwrap();
        let (tell, told) = crossbeam_channel::bounded(1);
        let (its_store, begun) = (store.clone(), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let begun = &begun;
            scope.spawn(move || {
                begun.wait();
                let health = its_store.health().map(|health| health.is_healthy());
                let _ = tell.send((its_store.stats(), health));
            });
            let (stats, health) = store.log.log().index.while_rebuilt(|| {
                begun.wait();
                told.recv_timeout(Duration::from_secs(30)).expect("an answer meanwhile")
            });
            assert!(health.unwrap());
            let stats = stats.unwrap();
            assert_eq!((stats.subscriptions.lag, stats.index.tables), (2, 0));
            assert!(stats.subscriptions.lag_seconds.is_nan());
        });
        assert!(store.stats().unwrap().subscriptions.lag_seconds >= 0.0);
    }
}
