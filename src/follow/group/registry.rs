//! The consumer groups of one store: which ones run, and the durable state of each.

use crate::codec::bin;
use crate::codec::group::{
    GroupRecord, Shelf, filter_key, filter_names, filter_records, group_key, part_prefix,
    shelf_key, shelf_position, shelf_prefix,
};
use crate::codec::parked::ParkedRecord;
use crate::follow::group::durable_state::DurableState;
use crate::follow::group::ledger::{Ledger, Settings};
use crate::follow::group::running::{RunningGroup, commit_state, now};
use crate::log::commit::Commit;
use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::filter_names::FilterNames;
use crate::value::limits::{GROUP_PARTS_MAX, PARKED_MOVED_MAX};
use crate::value::position::Position;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The groups that run. Its lock is taken before any group's.
#[derive(Default)]
pub(crate) struct Groups(Mutex<HashMap<String, Arc<RunningGroup>>>);

/// A group as its consumer describes it.
pub(super) struct Described<'a> {
    pub(super) name: &'a str,
    pub(super) filter: &'a Filter,
    /// Where it begins, if it has never been started.
    pub(super) after: Position,
    pub(super) settings: Settings,
}

impl Groups {
    pub(super) fn running(&self) -> Vec<Arc<RunningGroup>> {
        self.0.lock().values().cloned().collect()
    }

    /// The running group that is described, with one more member; started if none runs.
    pub(super) fn join(
        &self,
        log: &LogHandle,
        described: &Described<'_>,
    ) -> Result<Arc<RunningGroup>> {
        let mut running = self.0.lock();
        let name = described.name;
        let group = match running.get(name) {
            Some(group) if group.ended().is_none() => {
                check_filter(name, &group.filter, described.filter)?;
                group.with_ledger(|ledger| {
                    check_settings(name, ledger.settings(), described.settings)
                })?;
                Arc::clone(group)
            }
            ended => {
                if let Some(ended) = ended {
                    ended.replace();
                }
                let group = start(log, described)?;
                running.insert(name.to_owned(), Arc::clone(&group));
                group
            }
        };
        group.join();
        Ok(group)
    }

    /// A member of `group` goes; the last one ends it.
    pub(super) fn leave(&self, name: &str, group: &Arc<RunningGroup>) {
        let mut running = self.0.lock();
        if !group.leave() {
            return;
        }
        if running.get(name).is_some_and(|running| Arc::ptr_eq(running, group)) {
            running.remove(name);
        }
        group.end();
    }

    /// Marks the event at `position` as handled. If it was parked meanwhile, it no longer is.
    pub(super) fn finish(&self, group: &RunningGroup, position: u64) -> Result<()> {
        if group.finish(position)? {
            return Ok(());
        }
        if failpoint!("group::ignore_late_ack") {
            return Ok(());
        }
        // The lock keeps others from moving parked events in between.
        let running = self.0.lock();
        let (woken, finished) = group.finish_parked(position);
        drop(running);
        woken.wake();
        finished
    }

    pub(super) fn cursor(&self, log: &Log, name: &str) -> Result<Position> {
        let running = self.0.lock();
        let cursor = match running.get(name) {
            Some(group) => group.cursor()?,
            None => stored(log, name)?.map_or(0, |(record, _)| record.cursor),
        };
        Ok(Position::new(cursor))
    }

    /// Moves everything that is parked to where it is tried again from.
    pub(super) fn replay_parked(&self, log: &LogHandle, name: &str) -> Result<()> {
        let running = self.0.lock();
        let parked: Vec<_> = shelved(log.log(), name, Shelf::Parked)?.into_iter().collect();
        for some in parked.chunks(PARKED_MOVED_MAX) {
            let mut commit = Commit::new();
            for (position, record) in some {
                commit = commit
                    .state(shelf_key(name, Shelf::Parked, *position), Vec::new())
                    .state(shelf_key(name, Shelf::Replay, *position), bin::encode(record));
            }
            commit_state(log.engine(), commit)?;
            if let Some(group) = running.get(name) {
                group.replay(some.iter().map(|(position, _)| *position).collect());
            }
        }
        Ok(())
    }

    pub(super) fn discard_parked(&self, log: &LogHandle, name: &str) -> Result<()> {
        let _running = self.0.lock();
        let parked = shelved(log.log(), name, Shelf::Parked)?;
        let keys = parked.keys().map(|position| shelf_key(name, Shelf::Parked, *position));
        remove(log, keys.collect())
    }

    /// Removes all that is kept of a group that does not run.
    pub(super) fn remove(&self, log: &LogHandle, name: &str) -> Result<()> {
        let running = self.0.lock();
        if running.contains_key(name) {
            let message = format!("group {name:?} has consumers; drop them first");
            return Err(Error::new(ErrorKind::AlreadyRunning, message));
        }
        let shelves = [Shelf::Parked, Shelf::Replay].map(|shelf| shelf_prefix(name, shelf));
        let mut keys: Vec<String> = shelves
            .into_iter()
            .chain([part_prefix(name)])
            .map(|prefix| log.log().records_with_prefix(&prefix))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flat_map(BTreeMap::into_keys)
            .collect();
        for key in [filter_key(name), group_key(name)] {
            if log.log().record(&key)?.is_some() {
                keys.push(key);
            }
        }
        remove(log, keys)
    }
}

fn remove(log: &LogHandle, keys: Vec<String>) -> Result<()> {
    for some in keys.chunks(PARKED_MOVED_MAX) {
        let commit = some.iter().fold(Commit::new(), |commit, key| commit.state(key, Vec::new()));
        commit_state(log.engine(), commit)?;
    }
    Ok(())
}

fn start(log: &LogHandle, described: &Described<'_>) -> Result<Arc<RunningGroup>> {
    log.engine().refuse_replica()?;
    let Described { name, filter, after, settings } = *described;
    let (record, kept) = match stored(log.log(), name)? {
        Some((record, kept)) => {
            check_filter(name, &stored_filter(log.log(), name, &record)?, filter)?;
            refuse_ahead(name, &record, log.log().head_position())?;
            (record, kept)
        }
        None => {
            let (filter, long) = filter_records(filter.names());
            let record = GroupRecord { filter, cursor: after.get(), ..GroupRecord::default() };
            let mut commit = Commit::new().state(group_key(name), bin::encode(&record));
            if let Some(long) = long
                && !failpoint!("group::forget_long_filter")
            {
                commit = commit.state(filter_key(name), bin::encode(&long));
            }
            commit_state(log.engine(), commit)?;
            (record, DurableState::read(0))
        }
    };
    let replays = shelved(log.log(), name, Shelf::Replay)?.into_keys();
    let ledger = Ledger::new(settings, record, replays, now(log.engine()));
    RunningGroup::start(name, log.engine(), ledger, kept, filter.clone())
}

/// What the filter of the group with this `record` names.
fn stored_filter(log: &Log, name: &str, record: &GroupRecord) -> Result<FilterNames> {
    let long = log.record(&filter_key(name))?.map(|bytes| bin::decode(&bytes));
    let long = long.transpose().map_err(|what| damaged(name, &what))?;
    filter_names(&record.filter, long)
        .ok_or_else(|| damaged(name, "its filter is lacking, or of a later version"))
}

/// What is kept of the group, if it was ever started, and how.
fn stored(log: &Log, name: &str) -> Result<Option<(GroupRecord, DurableState)>> {
    let Some(bytes) = log.record(&group_key(name))? else { return Ok(None) };
    let read = |bytes: &[u8]| -> Result<GroupRecord> {
        bin::decode(bytes).map_err(|what| damaged(name, &what))
    };
    let whole = read(&bytes)?;
    let parts = log.records_with_prefix(&part_prefix(name))?;
    let number =
        |key: &String| shelf_position(key).ok_or_else(|| damaged(name, "a part has no number"));
    let last = parts.last_key_value().map(|(key, _)| number(key)).transpose()?;
    if last.is_some_and(|last| last >= GROUP_PARTS_MAX) {
        return Err(damaged(name, "it has more parts than are allowed"));
    }
    let kept = DurableState::read(last.map_or(0, |last| last + 1));
    let parts = parts.values().map(|bytes| read(bytes)).collect::<Result<Vec<_>>>()?;
    Ok(Some((whole.with_parts(parts), kept)))
}

/// The events on one of the group's shelves, by position.
pub(super) fn shelved(log: &Log, name: &str, shelf: Shelf) -> Result<BTreeMap<u64, ParkedRecord>> {
    let records = log.records_with_prefix(&shelf_prefix(name, shelf))?.into_iter();
    let records = records.map(|(key, bytes)| {
        let position =
            shelf_position(&key).ok_or_else(|| damaged(name, "a key is not a position"))?;
        Ok((position, bin::decode(&bytes).map_err(|what| damaged(name, &what))?))
    });
    records.collect()
}

fn damaged(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the durable state of group {name:?} is damaged: {what}"),
    )
}

/// A cursor ahead of the log proves that the log lost what had been durable.
fn refuse_ahead(name: &str, record: &GroupRecord, head: Position) -> Result<()> {
    let furthest = record.finished.last().map_or(record.cursor, |(_, last)| *last);
    if furthest <= head.get() {
        return Ok(());
    }
    let message = format!(
        "group {name:?} has finished events up to position {furthest}, but the log ends at {head}"
    );
    Err(Error::new(ErrorKind::Corrupt, message))
}

fn check_filter(name: &str, fixed: &FilterNames, given: &Filter) -> Result<()> {
    let given = given.names();
    if *fixed == given {
        return Ok(());
    }
    let message = format!(
        "group {name:?} was first started with {fixed}, and is now started with {given}; a group's \
         filter is fixed"
    );
    Err(Error::invalid(message))
}

fn check_settings(name: &str, running: Settings, given: Settings) -> Result<()> {
    if running == given {
        return Ok(());
    }
    let message = format!(
        "group {name:?} runs with {running}, and is now started with {given}; the consumers of a \
         group have the same settings"
    );
    Err(Error::invalid(message))
}
