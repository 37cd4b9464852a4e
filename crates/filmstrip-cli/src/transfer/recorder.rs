//! Records incoming events, each exactly once, in commits that keep their order and their times.
//!
//! * Where an event belongs is known without a note of the import's own: the event that is version 7 of its stream in
//!   the input is version 7 of that stream in the store, or becomes it. If it is there, it has the same id.
//! * While the store begins with the same events as the input, both are read side by side. After that, each stream is
//!   asked for its version.
//! * Events that were recorded at the same time are one commit, as long as the events of a stream follow each other.

use crate::fault::Fault;
use crate::transfer::clock::ImportClock;
use crate::transfer::incoming::Incoming;
use crate::transfer::repeated::Repeated;
use filmstrip::chrono::{DateTime, TimeDelta, Utc};
use filmstrip::limits::COMMIT_STREAMS_MAX;
use filmstrip::uuid::Uuid;
use filmstrip::{
    AppendError, Commit, ErrorKind, NewEvent, Position, RecordedEvent, Store, Version,
};
use std::collections::{HashMap, HashSet};

/// Events of one commit.
const COMMIT_EVENTS: usize = 4_096;
/// Bytes of their payloads, after which a commit takes no further one.
const COMMIT_BYTES: usize = 8 << 20;
/// Streams whose versions are held, so that the store is not asked for each event.
const VERSIONS_MAX: usize = 100_000;
/// Streams whose events are counted because the input does not say their versions.
const COUNTED_MAX: usize = 1_000_000;

/// How far a recorded time may be ahead of this machine's clock.
const AHEAD_MAX: TimeDelta = TimeDelta::days(1);

type Recorded = Box<dyn Iterator<Item = filmstrip::Result<RecordedEvent>>>;

pub(super) struct Recorder {
    store: Store,
    clock: ImportClock,
    /// Whether events are recorded at the present time, and not at their own.
    is_now: bool,
    /// The time of the last event of the store.
    last_time: DateTime<Utc>,
    /// The store's events from its first one on, while they are those of the input.
    beside: Option<Recorded>,
    versions: HashMap<String, u64>,
    counted: HashMap<String, u64>,
    repeated: Repeated,
    batch: Batch,
    pub(super) done: Done,
}

/// What an import has done.
pub(super) struct Done {
    /// Events that were recorded now.
    pub(super) recorded: u64,
    /// Events that were there already.
    pub(super) found: u64,
    /// Whether each event has the position that it had; `None` if the input says none.
    pub(super) positions_kept: Option<bool>,
    /// Whether each event has the time that it had.
    pub(super) times_kept: bool,
}

impl Done {
    fn see_position(&mut self, before: Option<u64>, now: u64) {
        if let Some(before) = before {
            self.positions_kept = Some(self.positions_kept != Some(false) && before == now);
        }
    }
}

/// The next commit: runs of events, each of one stream.
#[derive(Default)]
struct Batch {
    time: Option<DateTime<Utc>>,
    runs: Vec<(String, u64, Vec<NewEvent>)>,
    streams: HashSet<String>,
    ids: HashSet<Uuid>,
    events: usize,
    bytes: usize,
    /// The position of its last event in the input.
    last_position: Option<u64>,
}

impl Batch {
    /// Whether the next event, of this stream, at this time, belongs to another commit.
    fn is_before(&self, stream: &str, id: Uuid, time: Option<DateTime<Utc>>) -> bool {
        let continues = self.runs.last().is_some_and(|(last, ..)| last == stream);
        self.events > 0
            && (self.time != time
                || self.ids.contains(&id)
                || self.events >= COMMIT_EVENTS
                || self.bytes >= COMMIT_BYTES
                || !continues
                    && (self.streams.contains(stream) || self.streams.len() >= COMMIT_STREAMS_MAX))
    }

    /// Adds an event that follows version `after` of its stream.
    fn push(&mut self, stream: String, after: u64, id: Uuid, event: NewEvent) {
        self.events += 1;
        self.ids.insert(id);
        match self.runs.last_mut() {
            Some((last, _, events)) if *last == stream => events.push(event),
            _ => {
                self.streams.insert(stream.clone());
                self.runs.push((stream, after, vec![event]));
            }
        }
    }
}

impl Recorder {
    pub(super) fn new(store: Store, clock: ImportClock, is_now: bool) -> Result<Recorder, Fault> {
        let last = store.read_all().backwards().limit(1).iter()?.next().transpose()?;
        let beside = match last {
            Some(_) => Some(Box::new(store.read_all().iter()?) as Recorded),
            None => None,
        };
        let last_time = last.map_or(DateTime::<Utc>::MIN_UTC, |event| event.recorded_at);
        let done = Done { recorded: 0, found: 0, positions_kept: None, times_kept: true };
        let (versions, counted) = (HashMap::new(), HashMap::new());
        let (repeated, batch) = (Repeated::default(), Batch::default());
        Ok(Recorder {
            store,
            clock,
            is_now,
            last_time,
            beside,
            versions,
            counted,
            repeated,
            batch,
            done,
        })
    }

    /// Records the event, now or with the next ones, unless it is there.
    pub(super) fn take(&mut self, event: Incoming<'_>) -> Result<(), Fault> {
        if event.version.is_none() && self.repeated.sees(&event.stream, event.id) {
            self.done.found += 1;
            return Ok(());
        }
        let version = self.version_of(&event)?;
        if self.is_beside(&event, version)? {
            self.done.found += 1;
            return Ok(());
        }
        let known = self.known_version(&event.stream)?;
        if version <= known {
            self.check_same(&event, version)?;
            self.done.found += 1;
            return Ok(());
        }
        if version != known + 1 {
            let message = format!(
                "version {version} of {} does not follow: the store has the stream up to version {known}; an input must have all events of a stream, in their order",
                event.stream
            );
            return Err(Fault::bad(message));
        }
        self.add(event, known)
    }

    fn add(&mut self, event: Incoming<'_>, known: u64) -> Result<(), Fault> {
        let own = event.recorded_at;
        let now = Utc::now();
        // One time far ahead would become that of all later events.
        let kept = if own > now + AHEAD_MAX { now } else { own };
        let time = if self.is_now { None } else { Some(kept.max(self.last_time)) };
        // Recorded times never decrease; one that cannot be kept is when it happened.
        let occurred_at = event.occurred_at.or((time != Some(own)).then_some(own));
        self.done.times_kept &= time == Some(own);
        if self.batch.is_before(&event.stream, event.id, time) {
            self.commit()?;
        }
        if self.versions.len() >= VERSIONS_MAX {
            self.commit()?;
            self.versions.clear();
        }
        self.last_time = time.unwrap_or(self.last_time);
        self.batch.time = time;
        self.batch.bytes += event.data.bytes();
        self.batch.last_position = event.position;
        let (stream, id) = (event.stream.clone(), event.id);
        let new = event.into_new(occurred_at)?;
        match self.versions.get_mut(&stream) {
            Some(version) => *version = known + 1,
            None => drop(self.versions.insert(stream.clone(), known + 1)),
        }
        self.batch.push(stream, known, id, new);
        Ok(())
    }

    /// Makes what was taken durable.
    pub(super) fn commit(&mut self) -> Result<(), Fault> {
        let Batch { time, runs, events, last_position, .. } = std::mem::take(&mut self.batch);
        if events == 0 {
            return Ok(());
        }
        self.clock.set(time);
        let append = |commit: Commit, (stream, after, events)| {
            commit.append::<String>(stream, Version::new(after), events)
        };
        let committed = self.store.commit(runs.into_iter().fold(Commit::new(), append));
        let position = committed
            .map_err(|error| match error {
                AppendError::Store(error) => Fault::from(error),
                refused => Fault::bad(refused.to_string()),
            })?
            .position;
        self.done.recorded += events as u64;
        self.done.see_position(last_position, position.get());
        Ok(())
    }

    /// The event's version: what the input says, or how many of its stream there were.
    fn version_of(&mut self, event: &Incoming<'_>) -> Result<u64, Fault> {
        if let Some(version) = event.version {
            return match version {
                0 => Err(Fault::bad(
                    "the first event of a stream has the version 1; this one has the version 0",
                )),
                version => Ok(version),
            };
        }
        if let Some(count) = self.counted.get_mut(&event.stream) {
            *count += 1;
            return Ok(*count);
        }
        if self.counted.len() == COUNTED_MAX {
            let message = format!(
                "the input has more than {COUNTED_MAX} streams and does not say the versions of their events; at most so many can be counted"
            );
            return Err(Fault::bad(message));
        }
        self.counted.insert(event.stream.clone(), 1);
        Ok(1)
    }

    /// Whether the event is the next one of the store too, while both begin with the same events.
    fn is_beside(&mut self, event: &Incoming<'_>, version: u64) -> Result<bool, Fault> {
        let Some(beside) = &mut self.beside else { return Ok(false) };
        let next = beside.next().transpose()?;
        let is_same = next.as_ref().is_some_and(|next| {
            next.id == event.id
                && next.stream == event.stream.as_str()
                && next.version.get() == version
        });
        match next.filter(|_| is_same) {
            None => self.beside = None,
            Some(next) => {
                self.done.see_position(event.position, next.position.get());
                self.done.times_kept &= event.recorded_at == next.recorded_at;
            }
        }
        Ok(is_same)
    }

    /// The version of a stream, with what is about to be committed.
    fn known_version(&mut self, stream: &str) -> Result<u64, Fault> {
        if let Some(version) = self.versions.get(stream) {
            return Ok(*version);
        }
        let version = match self.store.stream_info(stream) {
            Ok(info) => info.version.get(),
            Err(error) if error.kind() == ErrorKind::StreamNotFound => 0,
            Err(error) => return Err(error.into()),
        };
        self.versions.insert(stream.to_owned(), version);
        Ok(version)
    }

    /// Refuses an event whose place another one has.
    fn check_same(&mut self, event: &Incoming<'_>, version: u64) -> Result<(), Fault> {
        self.commit()?;
        let read =
            self.store.read_stream(event.stream.as_str()).after(Version::new(version - 1)).limit(1);
        let there = read.iter()?.next().transpose()?;
        match there {
            Some(there) if there.id == event.id => Ok(()),
            there => {
                let met = there.map_or("missing".to_owned(), |there| there.id.to_string());
                let (id, stream) = (event.id, &event.stream);
                let message = format!(
                    "version {version} of {stream} in the store is the event {met}, and not {id}; an input and the store must have the same events where both have a version"
                );
                Err(Fault::bad(message))
            }
        }
    }

    pub(super) fn head(&self) -> Position {
        self.store.head()
    }

    /// Ends the import: everything that was taken is durable.
    pub(super) fn close(mut self) -> Result<Done, Fault> {
        self.commit()?;
        drop(self.beside.take());
        self.store.close()?;
        Ok(self.done)
    }
}
