//! The tables of an index, from the oldest to the newest, and reads across them.

use crate::codec::checkpoint::ListedTable;
use crate::codec::sst::block_index::KeyRun;
use crate::codec::sst::event::LocatedEvent;
use crate::codec::sst::footer::NameHash;
use crate::codec::sst::posting::AFTER_TAGS;
use crate::codec::state::StreamState;
use crate::sst::cursor::TableCursor;
use crate::sst::reader::{BlockFinder, Table};
use crate::value::error::Result;
use crate::value::stream::StreamId;
use bytes::Bytes;
use parking_lot::RwLock;
use std::cell::OnceCell;
use std::sync::Arc;

/// The tables that a checkpoint lists. A reader keeps the tables that it began with.
pub(crate) struct TableSet {
    live: RwLock<Arc<Vec<Arc<Table>>>>,
}

impl TableSet {
    pub(crate) fn new(tables: Vec<Table>) -> TableSet {
        TableSet::of(tables.into_iter().map(Arc::new).collect())
    }

    pub(crate) fn of(tables: Vec<Arc<Table>>) -> TableSet {
        TableSet { live: RwLock::new(Arc::new(tables)) }
    }

    /// The tables, from the oldest to the newest.
    pub(crate) fn live(&self) -> Arc<Vec<Arc<Table>>> {
        Arc::clone(&self.live.read())
    }

    pub(crate) fn set(&self, tables: Vec<Arc<Table>>) {
        *self.live.write() = Arc::new(tables);
    }

    /// `tables` as a checkpoint lists them.
    pub(crate) fn listed(tables: &[Arc<Table>]) -> Vec<ListedTable> {
        tables.iter().map(|table| table.listed).collect()
    }

    /// The last run of `stream`, which holds its state.
    pub(crate) fn last_run(
        &self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
    ) -> Result<Option<KeyRun>> {
        for table in may_hold(&self.live(), stream) {
            if let Some(run) = table.run_up_to(finder, stream, u64::MAX)? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The events of the run of `stream` that holds `version`; none if there is no such run.
    pub(crate) fn run_holding(
        &self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
        version: u64,
    ) -> Result<Vec<LocatedEvent>> {
        for table in may_hold(&self.live(), stream) {
            if let Some(run) = table.run_up_to(finder, stream, version)? {
                // Older tables hold older versions only.
                return match run.last_version() >= version {
                    true => table.events_of(&[run]),
                    false => Ok(Vec::new()),
                };
            }
        }
        Ok(Vec::new())
    }

    /// Consecutive events of `stream`, beginning with the run that holds `version`. Returns whole runs: at
    /// least one, and no further one once there are `limit` events. Empty if no run holds `version`.
    pub(crate) fn events_from(
        &self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<LocatedEvent>> {
        // From the newest table back to the one that holds the version, each with its run that holds it, if any.
        let mut cursors = Vec::new();
        for table in may_hold(&self.live(), stream) {
            let mut cursor = TableCursor::anywhere(table);
            let before = cursor.seek_behind(finder, stream, version)?;
            let found = before.is_some();
            let holding = before.filter(|run| run.last_version() >= version);
            cursors.push((holding, cursor));
            if found {
                break;
            }
        }
        let mut events: Vec<LocatedEvent> = Vec::new();
        let (mut next, mut left) = (version, limit.max(1) as u64);
        while let Some((holding, mut cursor)) = cursors.pop() {
            let mut runs = Vec::new();
            let mut run = match holding {
                Some(run) => Some(run),
                None => cursor.take_of(finder, stream)?,
            };
            while let Some(found) = run.take_if(|run| run.first_version <= next && left > 0) {
                next = found.last_version() + 1;
                left = left.saturating_sub(found.events);
                runs.push(found);
                run = cursor.take_of(finder, stream)?;
            }
            // A false positive of a table's filter gives no runs.
            events.extend(cursor.table.events_of(&runs)?);
            if left == 0 {
                break;
            }
        }
        Ok(events)
    }

    /// Up to `limit` streams with names that begin with `prefix` and come after `after`, in order.
    pub(crate) fn streams_after(
        &self,
        finder: &dyn BlockFinder,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamState)>> {
        // `prefix` need not be a name. No run has version 0, so the cursors begin before all names with the prefix,
        // or after all runs of `after`. What comes before all streams are tags.
        let (from, version) = match after.filter(|after| *after >= prefix.max(AFTER_TAGS)) {
            Some(after) => (after, u64::MAX),
            None => (prefix.max(AFTER_TAGS), 0),
        };
        let from = StreamId::from_stored(Bytes::copy_from_slice(from.as_bytes()));
        let from = from.expect("what was text is text");
        let mut cursors = Vec::new();
        for table in self.live().iter() {
            let mut cursor = TableCursor::anywhere(table);
            cursor.seek_behind(finder, &from, version)?;
            cursors.push(cursor);
        }
        let mut streams = Vec::new();
        while streams.len() < limit {
            let Some(name) = least(finder, &mut cursors)? else { break };
            if !name.as_str().starts_with(prefix) {
                break;
            }
            let mut last = None;
            for cursor in &mut cursors {
                if cursor.peek(finder)?.is_some_and(|run| run.stream == name) {
                    last = cursor.seek_behind(finder, &name, u64::MAX)?.or(last);
                }
            }
            // Copy the name: that of the run shares an index block.
            streams.extend(last.map(|run| (run.stream.detached(), run.state)));
        }
        Ok(streams)
    }
}

/// The tables of `tables` that may hold events of `stream`, or postings if it is a tag, the newest first.
pub(super) fn may_hold<'a>(
    tables: &'a [Arc<Table>],
    stream: &'a StreamId,
) -> impl DoubleEndedIterator<Item = &'a Arc<Table>> {
    // The name is hashed only if it is within some table's range.
    let hash = OnceCell::new();
    tables
        .iter()
        .rev()
        .filter(move |table| table.may_hold(stream, || *hash.get_or_init(|| NameHash::of(stream))))
}

/// The least name among the next runs of `cursors`.
fn least(finder: &dyn BlockFinder, cursors: &mut [TableCursor]) -> Result<Option<StreamId>> {
    let mut least: Option<StreamId> = None;
    for cursor in cursors {
        if let Some(run) = cursor.peek(finder)?
            && least.as_ref().is_none_or(|least| run.stream < *least)
        {
            least = Some(run.stream.clone());
        }
    }
    Ok(least)
}

/// The event block that was opened last. The next run is often in it too.
#[derive(Default)]
pub(crate) struct OpenEventBlock {
    offset: u64,
    events: Option<Bytes>,
}

impl OpenEventBlock {
    /// The events of a run of `table`, which must be the same table at each call.
    pub(crate) fn events(&mut self, table: &Table, run: &KeyRun) -> Result<Vec<LocatedEvent>> {
        let events = match self.events.take().filter(|_| self.offset == run.event_block.offset) {
            Some(events) => events,
            None => table.event_block(run.event_block)?,
        };
        let run_events = table.events_in(&events, run)?;
        (self.offset, self.events) = (run.event_block.offset, Some(events));
        Ok(run_events)
    }
}
