//! The packs of an index, from the oldest to the newest, and what they hold together.

use crate::codec::checkpoint::ListedPack;
use crate::codec::sst::block_index::Run;
use crate::codec::sst::event::IndexedEvent;
use crate::codec::sst::footer::NameHash;
use crate::kv::database::Database;
use crate::sst::cursor::Walk;
use crate::sst::reader::Pack;
use crate::value::error::Result;
use crate::value::stream::StreamId;
use bytes::Bytes;
use parking_lot::RwLock;
use std::cell::OnceCell;
use std::sync::Arc;

/// The packs that a checkpoint lists. Who asks keeps the ones that it began with.
pub(crate) struct Packs {
    live: RwLock<Arc<Vec<Arc<Pack>>>>,
}

impl Packs {
    pub(crate) fn new(packs: Vec<Pack>) -> Packs {
        Packs { live: RwLock::new(Arc::new(packs.into_iter().map(Arc::new).collect())) }
    }

    /// From the oldest to the newest.
    pub(crate) fn live(&self) -> Arc<Vec<Arc<Pack>>> {
        Arc::clone(&self.live.read())
    }

    pub(crate) fn set(&self, packs: Vec<Arc<Pack>>) {
        *self.live.write() = Arc::new(packs);
    }

    /// What a checkpoint says of `packs`.
    pub(crate) fn listed(packs: &[Arc<Pack>]) -> Vec<ListedPack> {
        packs.iter().map(|pack| pack.listed).collect()
    }

    /// The last run of `stream`, which tells its state.
    pub(crate) fn last_run(&self, db: &Database, stream: &StreamId) -> Result<Option<Run>> {
        for pack in may_hold(&self.live(), stream) {
            if let Some(run) = pack.run_up_to(db, stream, u64::MAX)? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The events of the run of `stream` that holds `version`; none if there is no such run.
    pub(crate) fn run_holding(
        &self,
        db: &Database,
        stream: &StreamId,
        version: u64,
    ) -> Result<Vec<IndexedEvent>> {
        for pack in may_hold(&self.live(), stream) {
            if let Some(run) = pack.run_up_to(db, stream, version)? {
                // Older packs hold older versions only.
                return match run.last_version() >= version {
                    true => pack.events_of(&[run]),
                    false => Ok(Vec::new()),
                };
            }
        }
        Ok(Vec::new())
    }

    /// Events of `stream` that follow one another, the first run of which holds `version`: a run at
    /// least, and no further one from `limit` events on. None if no run holds `version`.
    pub(crate) fn events_from(
        &self,
        db: &Database,
        stream: &StreamId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<IndexedEvent>> {
        // From the newest pack back to the one that holds the version: each with where it begins.
        let mut walks = Vec::new();
        for pack in may_hold(&self.live(), stream) {
            let mut walk = Walk::anywhere(pack);
            let before = walk.seek_behind(db, stream, version)?;
            let found = before.is_some();
            let holding = before.filter(|run| run.last_version() >= version);
            walks.push((holding, walk));
            if found {
                break;
            }
        }
        let mut events: Vec<IndexedEvent> = Vec::new();
        let (mut next, mut left) = (version, limit.max(1) as u64);
        while let Some((holding, mut walk)) = walks.pop() {
            let mut runs = Vec::new();
            let mut run = match holding {
                Some(run) => Some(run),
                None => walk.take_of(db, stream)?,
            };
            while let Some(found) = run.take_if(|run| run.first_version <= next && left > 0) {
                next = found.last_version() + 1;
                left = left.saturating_sub(found.events);
                runs.push(found);
                run = walk.take_of(db, stream)?;
            }
            // A pack whose filter let the stream through in vain has none.
            events.extend(walk.pack.events_of(&runs)?);
            if left == 0 {
                break;
            }
        }
        Ok(events)
    }

    /// Up to `limit` streams whose names begin with `prefix` and come after `after`, in order: the last run
    /// of each.
    pub(crate) fn streams_after(
        &self,
        db: &Database,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Run>> {
        // A name is at least one byte long, and '\0' in none.
        let (from, version) = match after.filter(|after| *after >= prefix) {
            Some(after) => (after, u64::MAX),
            None => (prefix, 0),
        };
        let from = StreamId::from_stored(Bytes::copy_from_slice(from.as_bytes()));
        let from = from.expect("what was text is text");
        let mut walks = Vec::new();
        for pack in self.live().iter() {
            let mut walk = Walk::anywhere(pack);
            walk.seek_behind(db, &from, version)?;
            walks.push(walk);
        }
        let mut streams = Vec::new();
        while streams.len() < limit {
            let Some(name) = least(db, &mut walks)? else { break };
            if !name.as_str().starts_with(prefix) {
                break;
            }
            let mut last = None;
            for walk in &mut walks {
                if walk.peek(db)?.is_some_and(|run| run.stream == name) {
                    last = walk.seek_behind(db, &name, u64::MAX)?.or(last);
                }
            }
            streams.extend(last);
        }
        Ok(streams)
    }
}

/// Those of `packs` that may hold events of `stream`, the newest first.
fn may_hold<'a>(
    packs: &'a [Arc<Pack>],
    stream: &'a StreamId,
) -> impl Iterator<Item = &'a Arc<Pack>> {
    // Where no pack reaches to the name, it is not hashed.
    let hash = OnceCell::new();
    packs
        .iter()
        .rev()
        .filter(move |pack| pack.may_hold(stream, || *hash.get_or_init(|| NameHash::of(stream))))
}

/// The least name that any of `walks` comes to next.
fn least(db: &Database, walks: &mut [Walk]) -> Result<Option<StreamId>> {
    let mut least: Option<StreamId> = None;
    for walk in walks {
        if let Some(run) = walk.peek(db)?
            && least.as_ref().is_none_or(|least| run.stream < *least)
        {
            least = Some(run.stream.clone());
        }
    }
    Ok(least)
}

/// The chunk that was opened last: the next run often lies in it too.
#[derive(Default)]
pub(crate) struct OpenChunk {
    offset: u64,
    events: Option<Bytes>,
}

impl OpenChunk {
    /// The events of a run of `pack`, always the same one.
    pub(crate) fn events(&mut self, pack: &Pack, run: &Run) -> Result<Vec<IndexedEvent>> {
        let events = match self.events.take().filter(|_| self.offset == run.chunk.offset) {
            Some(events) => events,
            None => pack.chunk(run.chunk)?,
        };
        let run_events = pack.events_in(&events, run)?;
        (self.offset, self.events) = (run.chunk.offset, Some(events));
        Ok(run_events)
    }
}
