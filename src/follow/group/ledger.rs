//! What a group knows about its events. It is pure: no thread, no disk, no clock of its own.
//!
//! * Every event that was read is ingested, in order: it waits for room, and nothing takes its place.
//! * An ingested event is unfinished until it is finished, and then it stays finished.
//! * The cursor is before the first unfinished event.
//! * An event is delivered to one consumer at a time.
//! * With streams in order, an event is delivered only when no earlier one of its stream is
//!   unfinished.

mod delivery;
mod finished;
mod record;

use crate::codec::group::{FilterRecord, GroupRecord, Shelf};
use crate::codec::parked::ParkedRecord;
use crate::follow::group::standing::{Now, Standing};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::limits::GROUP_UNFINISHED_BYTES_MAX;
use crate::value::stream::StreamId;
use finished::Finished;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How a group delivers; the same for all its consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// How many unfinished events it holds.
    pub(super) unfinished_max: usize,
    /// How long a consumer may take.
    pub(super) redeliver_after: Duration,
    /// How often an event is delivered before it is parked.
    pub(super) attempts_max: u32,
    /// Whether the events of one stream are delivered one after the other.
    pub(super) in_stream_order: bool,
}

/// An event moves to a shelf, or, without a record, away from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) shelf: Shelf,
    pub(super) position: u64,
    pub(super) record: Option<ParkedRecord>,
}

/// What to do with an event that was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nack {
    /// Deliver it again, after this time at the earliest; once it has been delivered as often as allowed, park it
    /// instead. A time too long for the clock, such as `Duration::MAX`, never ends, and the cursor stays before the
    /// event.
    Retry(Duration),
    /// Park it, to be inspected, and replayed or discarded by hand.
    Park,
    /// Count it as finished: it needs no handling.
    Skip,
}

/// The event was delivered again, or is finished: its earlier consumer's answer comes too late.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Late;

pub(super) struct Ledger {
    settings: Settings,
    filter: FilterRecord,
    /// Everything up to here was ingested, or is not wanted.
    taken: u64,
    /// Wanted events that were read and have no room yet, in order: the rest of the last batch.
    incoming: VecDeque<RecordedEvent>,
    /// Everything up to here was read: it was ingested, is in `incoming`, or is not wanted.
    read: u64,
    unfinished: BTreeMap<u64, Unfinished>,
    /// The unfinished events that the cursor may not pass: all but replays.
    open: BTreeSet<u64>,
    /// Those of them that were delivered.
    begun: BTreeSet<u64>,
    /// What has changed since it was last asked for.
    changes: Changes,
    /// Bytes of the filter's record.
    filter_bytes: usize,
    /// Bytes of the payloads of what is unfinished.
    bytes: usize,
    /// What is finished past the cursor.
    finished: Finished,
    /// What an earlier run tried, until it is ingested: attempts, and what it waits for.
    tried: BTreeMap<u64, (u32, Standing)>,
    ready: BTreeSet<u64>,
    /// When a delivery is over, or a wait.
    timers: BTreeSet<(Instant, u64)>,
    /// With streams in order: the unfinished events of each.
    streams: HashMap<StreamId, BTreeSet<u64>>,
    /// Parked events that are to be tried again and are not yet loaded.
    replays: VecDeque<u64>,
    /// The one of them that is being loaded.
    loading: Option<u64>,
    /// What has moved since it was last asked for.
    moves: Vec<Move>,
}

/// What a group's record does not know yet.
#[derive(Default)]
struct Changes {
    finished: BTreeSet<u64>,
    tried: BTreeSet<u64>,
}

struct Unfinished {
    event: RecordedEvent,
    /// How often it was delivered.
    attempts: u32,
    standing: Standing,
    /// It was parked, and is tried again: the cursor has passed it already.
    is_replay: bool,
}

impl Ledger {
    /// The ledger that `record` was made of, at the time `now`; `replays` are on their shelf.
    pub(super) fn new(
        settings: Settings,
        record: GroupRecord,
        replays: impl IntoIterator<Item = u64>,
        now: Now,
    ) -> Ledger {
        let GroupRecord { filter, cursor, finished, tried } = record;
        let names =
            [&filter.streams, &filter.categories, &filter.event_types].into_iter().flatten();
        let filter_bytes = names.map(|name| name.len() + 3).sum();
        let tried = tried.iter().map(|t| (t.position, (t.attempts, Standing::of_due(t.due, now))));
        Ledger {
            settings,
            filter,
            taken: cursor,
            incoming: VecDeque::new(),
            read: cursor,
            unfinished: BTreeMap::new(),
            open: BTreeSet::new(),
            begun: BTreeSet::new(),
            changes: Changes::default(),
            filter_bytes,
            bytes: 0,
            finished: Finished::new(finished),
            tried: tried.collect(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            streams: HashMap::new(),
            replays: replays.into_iter().collect(),
            loading: None,
            moves: Vec::new(),
        }
    }

    /// Everything up to here is finished, or not wanted.
    pub(super) fn cursor(&self) -> u64 {
        self.open.first().map_or(self.taken, |position| position - 1)
    }

    /// How many events it holds that are not finished.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.len() + self.incoming.len()
    }

    /// Everything up to here was read, or is not wanted.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// Whether another event may become unfinished.
    pub(super) fn has_room(&self) -> bool {
        self.unfinished.len() < self.settings.unfinished_max
            && self.bytes < GROUP_UNFINISHED_BYTES_MAX
    }

    /// Whether the next batch should be read: the last one was ingested whole, and there is room.
    pub(super) fn wants_batch(&self) -> bool {
        self.incoming.is_empty() && self.has_room()
    }

    /// Queues the next wanted events, which are all up to `until`, and ingests as many as there is room for. The rest
    /// follows as events are finished, so a batch cannot be lost half-way.
    pub(super) fn take_batch(&mut self, events: Vec<RecordedEvent>, until: u64) {
        assert!(until >= self.read, "batches are read in order");
        self.incoming.extend(events);
        self.read = until;
        self.take_in();
    }

    /// Ingests what was read, as far as there is room.
    fn take_in(&mut self) {
        while self.has_room() {
            let Some(event) = self.incoming.pop_front() else { break };
            let position = event.position.get();
            if self.finished.holds(position) {
                self.finished.join(position, &self.open);
            } else {
                let tried = self.tried.remove(&position);
                let (attempts, standing) = tried.unwrap_or((0, Standing::Held));
                self.insert(event, attempts, standing, false);
            }
            self.taken = position;
        }
        if self.incoming.is_empty() {
            self.taken = self.read;
        }
        self.forget_finished();
    }

    /// A parked event that is to be tried again and must be read.
    pub(super) fn next_replay(&mut self) -> Option<u64> {
        self.loading = self.replays.pop_front();
        self.loading
    }

    /// Whether parked events are to be read.
    pub(super) fn has_replays(&self) -> bool {
        !self.replays.is_empty()
    }

    /// Ingests the parked event that was read, to be retried as if for the first time, unless it was finished while it
    /// was read.
    pub(super) fn restore(&mut self, event: RecordedEvent) {
        let position = event.position.get();
        if self.loading.take() == Some(position) && !self.unfinished.contains_key(&position) {
            self.insert(event, 0, Standing::Held, true);
        }
    }

    /// Has these parked events tried again.
    pub(super) fn replay(&mut self, positions: impl IntoIterator<Item = u64>) {
        self.replays.extend(positions);
    }

    /// Marks the event as handled, by whichever consumer, however late. False: it is not unfinished, and may be parked.
    pub(super) fn finish(&mut self, position: u64) -> bool {
        let Some(unfinished) = self.unfinished.get(&position) else { return false };
        if unfinished.is_replay {
            self.moves.push(Move { shelf: Shelf::Replay, position, record: None });
        }
        self.remove(position);
        true
    }

    /// An event that is not unfinished is handled: if it is parked, or is to be tried again, it is so no
    /// longer.
    pub(super) fn unpark(&mut self, position: u64) {
        self.replays.retain(|replay| *replay != position);
        self.loading = self.loading.filter(|loading| *loading != position);
        for shelf in [Shelf::Parked, Shelf::Replay] {
            self.moves.push(Move { shelf, position, record: None });
        }
    }

    fn insert(&mut self, event: RecordedEvent, attempts: u32, standing: Standing, is_replay: bool) {
        let position = event.position.get();
        if !is_replay {
            self.open.insert(position);
            if attempts > 0 {
                self.begun.insert(position);
            }
        }
        self.bytes += event.payload.len();
        if self.settings.in_stream_order {
            self.streams.entry(event.stream.clone()).or_default().insert(position);
        }
        let stream = event.stream.clone();
        let held = Standing::Held;
        let unfinished = Unfinished { event, attempts, standing: held, is_replay };
        self.unfinished.insert(position, unfinished);
        match standing {
            Standing::Waiting(_) => self.stand(position, standing),
            _ if self.settings.in_stream_order => self.release(&stream),
            _ => self.stand(position, Standing::Ready),
        }
    }

    /// Lets the first event of a stream be delivered, unless one of the stream is under way.
    fn release(&mut self, stream: &StreamId) {
        let Some(events) = self.streams.get(stream) else { return };
        let Some(first) = events.first().copied() else { return };
        let standing = |position: &u64| self.unfinished[position].standing;
        let under_way = events.iter().find(|position| standing(position) != Standing::Held);
        match under_way.map(|position| (*position, standing(position))) {
            None => self.stand(first, Standing::Ready),
            // A replayed event comes before one that nobody has begun.
            Some((other, Standing::Ready)) if other != first => {
                self.stand(other, Standing::Held);
                self.stand(first, Standing::Ready);
            }
            Some(_) => {}
        }
    }

    /// Moves an unfinished event to another standing, with everything that depends on it.
    fn stand(&mut self, position: u64, standing: Standing) {
        let unfinished =
            self.unfinished.get_mut(&position).expect("only what is unfinished stands");
        let before = std::mem::replace(&mut unfinished.standing, standing);
        if before == Standing::Ready {
            self.ready.remove(&position);
        }
        if let Some(timer) = before.timer() {
            self.timers.remove(&(timer, position));
        }
        if standing == Standing::Ready {
            self.ready.insert(position);
        }
        if let Some(timer) = standing.timer() {
            self.timers.insert((timer, position));
        }
    }

    fn park(&mut self, position: u64, now: Now, why: &str) {
        let Unfinished { event, attempts, is_replay, .. } = &self.unfinished[&position];
        let record = Some(ParkedRecord {
            stream: event.stream.to_string(),
            event_type: event.event_type.to_string(),
            error: why.to_owned(),
            attempts: *attempts,
            parked_at: now.time.0,
        });
        if *is_replay {
            self.moves.push(Move { shelf: Shelf::Replay, position, record: None });
        }
        self.moves.push(Move { shelf: Shelf::Parked, position, record });
        self.remove(position);
    }

    fn remove(&mut self, position: u64) {
        self.stand(position, Standing::Held);
        let removed = self.unfinished.remove(&position).expect("only what is unfinished ends");
        self.bytes -= removed.event.payload.len();
        if !removed.is_replay {
            self.open.remove(&position);
            self.begun.remove(&position);
            self.changes.finished.insert(position);
            self.finished.mark(position, self.taken, &self.open);
            self.forget_finished();
        }
        if self.settings.in_stream_order {
            let stream = &removed.event.stream;
            let events =
                self.streams.get_mut(stream).expect("an unfinished event's stream is known");
            events.remove(&position);
            match events.is_empty() {
                true => drop(self.streams.remove(stream)),
                false => self.release(stream),
            }
        }
        if failpoint!("group::drop_half_taken_batch") {
            self.incoming.clear();
        }
        self.take_in();
    }

    /// What the cursor has passed needs no range.
    fn forget_finished(&mut self) {
        let cursor = self.cursor();
        self.finished.forget_up_to(cursor);
    }
}
