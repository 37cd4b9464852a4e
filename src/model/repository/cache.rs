//! The aggregates that a repository has loaded recently: their state at a version.
//!
//! * A cached state is never assumed to be the newest: a caller that gets an entry reads on from its version.
//! * It is bounded in entries and in command ids; the least recently used entries are evicted first.
//!
//! `cargo bench --bench commands` measures its benefit: a command on a cached aggregate, on one that is not cached,
//! and a bare append.

use crate::model::repository::commands::Commands;
use crate::value::limits::{CACHED_COMMAND_IDS_MAX, CACHED_STATE_WAIT_MAX};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "erasure")]
use std::sync::atomic::Ordering;

/// An aggregate's state after the event at `version`.
#[derive(Debug, Clone, Default)]
pub(super) struct Known<A> {
    pub(super) state: A,
    pub(super) version: Version,
    pub(super) position: Position,
    /// The commands that its events answer, if they were ever needed.
    pub(super) commands: Option<Arc<Commands>>,
    /// The version of the newest known snapshot, taken or requested; `None` where none was wanted yet. It is shared
    /// with what is handed on, whose commands otherwise would each request the same snapshot.
    pub(super) snapshot_at: Option<Arc<AtomicU64>>,
    /// How often somebody had been forgotten when its first event was read. If it was more often since, the state may
    /// hold something of who was.
    #[cfg(feature = "erasure")]
    pub(super) epoch: u64,
}

/// That of a state with private events in `snapshot_at`: no snapshot of it is ever due.
#[cfg(feature = "erasure")]
const NEVER: u64 = u64::MAX;

/// A state that is cloned without blocking other streams.
pub(super) type Shared<A> = Arc<Mutex<A>>;

/// A clone of what is shared, or `None` if it is being cloned for too long. `clone` is the application's code and may
/// load the same aggregate.
pub(super) fn clone_of<A: Clone>(shared: &Shared<A>) -> Option<A> {
    let state = shared.try_lock_for(CACHED_STATE_WAIT_MAX)?;
    Some(state.clone())
}

pub(super) struct Cache<A> {
    entries: Mutex<Entries<A>>,
    entries_max: usize,
}

struct Entries<A> {
    known: HashMap<StreamId, Entry<A>>,
    /// Counts uses, to order the entries by their last use.
    uses: u64,
    command_ids: usize,
}

struct Entry<A> {
    known: Known<Shared<A>>,
    command_ids: usize,
    used: u64,
}

impl<A: Clone> Cache<A> {
    /// A cache of at most `entries_max` aggregates, but at least one.
    pub(super) fn new(entries_max: usize) -> Cache<A> {
        let entries = Entries { known: HashMap::new(), uses: 0, command_ids: 0 };
        Cache { entries: Mutex::new(entries), entries_max: entries_max.max(1) }
    }

    /// The cached state of `stream`.
    pub(super) fn get(&self, stream: &StreamId) -> Option<Known<A>> {
        let known = self.entries.lock().get(stream)?;
        let state = clone_of(&known.state)?;
        Some(known.with(state))
    }

    /// Drops all states.
    #[cfg(feature = "erasure")]
    pub(super) fn clear(&self) {
        let mut entries = self.entries.lock();
        let known = std::mem::take(&mut entries.known);
        entries.command_ids = 0;
        drop(entries);
        drop(known);
    }

    /// Caches `known`, unless a newer state was cached meanwhile.
    pub(super) fn put(&self, stream: StreamId, known: Known<Shared<A>>) {
        let mut entries = self.entries.lock();
        let replaced = entries.insert(stream, known);
        let evicted = entries.evict(self.entries_max);
        drop(entries);
        // Drop the states after the lock is released.
        drop((replaced, evicted));
    }
}

impl<A> Known<A> {
    /// The same with another state.
    pub(super) fn with<B>(&self, state: B) -> Known<B> {
        let Known { version, position, .. } = *self;
        let (commands, snapshot_at) = (self.commands.clone(), self.snapshot_at.clone());
        Known {
            state,
            version,
            position,
            commands,
            snapshot_at,
            #[cfg(feature = "erasure")]
            epoch: self.epoch,
        }
    }

    /// It holds something of a private event, so that it is never written to disk.
    #[cfg(feature = "erasure")]
    pub(super) fn has_private(&mut self) {
        self.snapshot_at.get_or_insert_default().store(NEVER, Ordering::Relaxed);
    }

    #[cfg(feature = "erasure")]
    pub(super) fn is_private(&self) -> bool {
        let at = self.snapshot_at.as_ref().map(|at| at.load(Ordering::Relaxed));
        at == Some(NEVER)
    }
}

impl<A> Entries<A> {
    fn get(&mut self, stream: &StreamId) -> Option<Known<Shared<A>>> {
        self.uses += 1;
        let entry = self.known.get_mut(stream)?;
        entry.used = self.uses;
        Some(entry.known.clone())
    }

    /// Puts `known` in the place of an older state. Returns the one of the two that is not kept.
    fn insert(&mut self, stream: StreamId, mut known: Known<Shared<A>>) -> Option<Entry<A>> {
        let mut command_ids = known.commands.as_ref().map_or(0, |commands| commands.len());
        if command_ids > CACHED_COMMAND_IDS_MAX {
            (known.commands, command_ids) = (None, 0);
        }
        self.uses += 1;
        let entry = Entry { known, command_ids, used: self.uses };
        match self.known.entry(stream) {
            Place::Vacant(place) => {
                place.insert(entry);
                self.command_ids += command_ids;
                None
            }
            Place::Occupied(place) if place.get().known.version > entry.known.version => {
                Some(entry)
            }
            Place::Occupied(mut place) => {
                let replaced = place.insert(entry);
                self.command_ids = self.command_ids + command_ids - replaced.command_ids;
                Some(replaced)
            }
        }
    }

    fn remove(&mut self, stream: &StreamId) -> Option<Entry<A>> {
        let entry = self.known.remove(stream)?;
        self.command_ids -= entry.command_ids;
        Some(entry)
    }

    /// If the cache is full, evicts an eighth of it at once. To find the oldest entries it scans all of them, so it
    /// does that once for many puts and not for each. A list in the order of use would move an entry for each command
    /// instead; the eighth was not measured.
    fn evict(&mut self, entries_max: usize) -> Vec<Entry<A>> {
        let mut evicted = Vec::new();
        while self.known.len() > entries_max || self.command_ids > CACHED_COMMAND_IDS_MAX {
            let mut oldest: Vec<_> =
                self.known.iter().map(|(stream, entry)| (entry.used, stream.clone())).collect();
            // The newest entry stays. It is within the bounds by itself, so the loop ends.
            let count = (oldest.len() / 8).clamp(1, oldest.len() - 1);
            oldest.select_nth_unstable(count);
            evicted.extend(oldest[..count].iter().filter_map(|(_, stream)| self.remove(stream)));
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::limits::CACHED_AGGREGATES_DEFAULT;
    use uuid::Uuid;

    fn stream(n: usize) -> StreamId {
        StreamId::new(format!("A-{n}")).unwrap()
    }

    fn known(version: u64, command_ids: usize) -> Known<Shared<u64>> {
        let commands = Commands::default();
        let version = Version::new(version);
        for n in 0..command_ids {
            commands.answered(Uuid::from_u128(n as u128), version);
        }
        Known {
            state: Arc::new(Mutex::new(version.get())),
            version,
            position: Position::new(version.get()),
            commands: (command_ids > 0).then(|| Arc::new(commands)),
            snapshot_at: None,
            #[cfg(feature = "erasure")]
            epoch: 0,
        }
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let cache = Cache::new(CACHED_AGGREGATES_DEFAULT);
        cache.put(stream(1), known(5, 0));
        cache.put(stream(1), known(4, 0));
        assert_eq!(cache.get(&stream(1)).unwrap().state, 5);
        cache.put(stream(1), known(6, 0));
        assert_eq!(cache.get(&stream(1)).unwrap().state, 6);
    }

    #[test]
    fn entries_are_bounded_and_the_least_used_go_first() {
        let cache = Cache::new(CACHED_AGGREGATES_DEFAULT);
        let max = CACHED_AGGREGATES_DEFAULT;
        for n in 0..max * 3 {
            cache.put(stream(n), known(1, 0));
            assert!(cache.get(&stream(0)).is_some(), "the first is used all the time");
        }
        let entries = cache.entries.lock();
        assert!(entries.known.len() <= max, "{} entries", entries.known.len());
        assert!(entries.known.len() >= max / 2, "too many went");
    }

    /// One entry for each aggregate that is used in turn is what keeps commands from reading streams again: with 1,024
    /// entries, a shop of 1,000 customers and 1,000 products read most of them for each order.
    #[test]
    fn as_many_as_were_asked_for_are_kept() {
        for max in [0, 1, 2, 100] {
            let cache = Cache::new(max);
            (0..max.max(1)).for_each(|n| cache.put(stream(n), known(1, 0)));
            assert!((0..max.max(1)).all(|n| cache.get(&stream(n)).is_some()), "{max}");
            cache.put(stream(max + 1), known(1, 0));
            let entries = cache.entries.lock();
            assert!(entries.known.contains_key(&stream(max + 1)), "{max}: the newest stays");
            assert!(entries.known.len() <= max.max(1), "{max}: {}", entries.known.len());
        }
    }

    #[test]
    fn command_ids_are_bounded_and_counted_right() {
        let cache = Cache::new(CACHED_AGGREGATES_DEFAULT);
        for n in 0..20 {
            cache.put(stream(n % 7), known(n as u64 + 1, CACHED_COMMAND_IDS_MAX / 3));
        }
        cache.put(stream(99), known(1, CACHED_COMMAND_IDS_MAX + 1));
        assert!(cache.get(&stream(99)).unwrap().commands.is_none(), "over the bound by itself");
        let entries = cache.entries.lock();
        let counted: usize = entries.known.values().map(|entry| entry.command_ids).sum();
        assert_eq!(entries.command_ids, counted);
        assert!(counted <= CACHED_COMMAND_IDS_MAX && counted > 0, "{counted} ids");
    }
}
