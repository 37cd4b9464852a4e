//! Loads aggregates, runs commands on them, and appends the events that they decide.
//!
//! * The append's expected version decides: no cached state, snapshot or turn is trusted to be the newest.
//! * A command with an id runs at most once for each stream: its id is in the metadata of its events, and is looked up
//!   there before anything is decided.
//! * No half-finished state is kept: changes are made to a copy, which replaces the cached one at the end.

pub(crate) mod backoff;
mod cache;
mod commands;
pub(crate) mod commit;
pub(crate) mod detached;
mod execute;
pub(crate) mod kinds;
pub(crate) mod outcome;
pub(crate) mod part;
mod snapshots;
mod spans;
pub(crate) mod turn;

use crate::log::handle::LogHandle;
#[cfg(feature = "erasure")]
use crate::log::privacy::state::Purge;
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::aggregate::{Aggregate, Snapshot, stream_of};
use crate::model::envelope::Envelope;
use crate::model::projection::ProjectionHandle;
use crate::telemetry::context::{self, TraceContext};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::Metadata;
#[cfg(feature = "erasure")]
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::{CACHED_AGGREGATES_DEFAULT, COMMAND_RETRIES_DEFAULT};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use cache::{Cache, Known};
use commands::Commands;
use outcome::{AsOf, ExecuteError, Executed, HistoryEntry, Loaded};
use parking_lot::Mutex;
use snapshots::Policy;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

type ExecuteResult<A> = Result<Executed<A>, ExecuteError<<A as Aggregate>::Error>>;

/// Loads the aggregates of one kind, now or as of an earlier moment, and runs commands on them.
///
/// Cloning is cheap; clones share a cache. See [`Aggregate`] for an example.
pub struct Repository<A: Aggregate> {
    log: LogHandle,
    memory: Arc<Memory<A>>,
    snapshots: Option<Arc<Policy<A>>>,
    retries: u32,
    view: Option<(ProjectionHandle, Duration)>,
    /// The first error of a builder's step; the next use returns it.
    fault: Option<Error>,
}

/// The state that the clones of a repository share.
struct Memory<A> {
    #[cfg(not(feature = "erasure"))]
    cache: Cache<A>,
    #[cfg(feature = "erasure")]
    cache: Arc<Cache<A>>,
    /// Empties the cache when somebody is forgotten.
    #[cfg(feature = "erasure")]
    _purge: Arc<Purge>,
}

impl<A: Aggregate> Memory<A> {
    #[cfg(not(feature = "erasure"))]
    fn new(_: &LogHandle, entries_max: usize) -> Arc<Memory<A>> {
        Arc::new(Memory { cache: Cache::new(entries_max) })
    }

    #[cfg(feature = "erasure")]
    fn new(log: &LogHandle, entries_max: usize) -> Arc<Memory<A>> {
        let cache = Arc::new(Cache::new(entries_max));
        let its_cache = Arc::clone(&cache);
        let purge: Arc<Purge> = Arc::new(move || its_cache.clear());
        log.log().privacy.when_forgetting(&purge);
        Arc::new(Memory { cache, _purge: purge })
    }
}

impl<A: Aggregate> Clone for Repository<A> {
    fn clone(&self) -> Repository<A> {
        Repository {
            log: self.log.clone(),
            memory: Arc::clone(&self.memory),
            snapshots: self.snapshots.clone(),
            retries: self.retries,
            view: self.view.clone(),
            fault: self.fault.clone(),
        }
    }
}

impl<A: Aggregate> Repository<A> {
    #[cfg(feature = "async")]
    pub(crate) fn log_handle(&self) -> &LogHandle {
        &self.log
    }

    pub(crate) fn new(log: LogHandle) -> Repository<A> {
        Repository {
            memory: Memory::new(&log, CACHED_AGGREGATES_DEFAULT),
            log,
            snapshots: None,
            retries: COMMAND_RETRIES_DEFAULT,
            view: None,
            fault: None,
        }
    }

    /// Sets how often a command is decided again, on the newer state, after a conflict: 3
    /// times by default. Between two attempts it waits a random time that grows.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Repository<A> {
        self.retries = retries;
        self
    }

    /// Sets how many aggregates are cached, each with its newest state and the ids of its commands: 8,192 by default,
    /// and at least 1. The least recently used are evicted first. A command on an aggregate that is not cached reads
    /// its stream, so choose as many as are used in turn, and memory has room for. Call this before the repository is
    /// cloned: clones that were made before keep the earlier cache.
    #[must_use]
    pub fn cached_aggregates(mut self, count: usize) -> Repository<A> {
        self.memory = Memory::new(&self.log, count);
        self
    }

    /// Loads from snapshots, and takes one in the background each time a stream has grown by `events`; with 0 only
    /// when [`snapshot`](Repository::snapshot) is called.
    #[must_use]
    pub fn snapshot_every(mut self, events: u32) -> Repository<A>
    where
        A: Snapshot,
    {
        match Policy::start(&self.log, events) {
            Ok(policy) => self.snapshots = Some(Arc::new(policy)),
            Err(error) => self.fault = Some(error),
        }
        self
    }

    /// Makes commands wait until this view holds their events, so that a later read of the view sees them. If the view
    /// is late, or has stopped, the events are recorded all the same, and [`view_lagging`](Executed::view_lagging) is
    /// true.
    #[must_use]
    pub fn wait_for_view(mut self, view: &ProjectionHandle, timeout: Duration) -> Repository<A> {
        self.view = Some((view.clone(), timeout));
        self
    }

    /// Loads the newest state; the default one, at version 0, if there are no events yet.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an id that cannot be part of a stream's name; errors of decoding
    /// an event.
    pub fn load(&self, id: &str) -> Result<Loaded<A>> {
        let stream = self.stream(id)?;
        let known = self.newest(&stream, false)?;
        Ok(loaded(known))
    }

    /// Loads the state as of a version, position or time. After the end it is the newest one; before the first event
    /// the default one, at version 0.
    ///
    /// ```
    /// # use filmstrip::{Aggregate, Event, Store, Version};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # enum Added { Added(u32) }
    /// # impl Event for Added {}
    /// # #[derive(Default, Clone)]
    /// # struct Sum { sum: u32 }
    /// # impl Aggregate for Sum {
    /// #     const CATEGORY: &'static str = "Sum";
    /// #     type Command = u32;
    /// #     type Event = Added;
    /// #     type Error = std::convert::Infallible;
    /// #     fn decide(&self, n: &u32) -> Result<Vec<Added>, Self::Error> { Ok(vec![Added::Added(*n)]) }
    /// #     fn evolve(&mut self, Added::Added(n): &Added) { self.sum += n; }
    /// # }
    /// let store = Store::temporary()?;
    /// let sums = store.repository::<Sum>();
    /// for n in [1, 2, 3] {
    ///     sums.execute("a", &n)?;
    /// }
    /// assert_eq!(sums.load_as_of("a", Version::new(2))?.state.sum, 3);
    /// assert_eq!(sums.load_as_of("a", chrono::Utc::now())?.state.sum, 6);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`load`](Repository::load).
    pub fn load_as_of(&self, id: &str, at: impl Into<AsOf>) -> Result<Loaded<A>> {
        let stream = self.stream(id)?;
        let last = self.version(&stream)?;
        let last = match at.into() {
            AsOf::Version(version) => version.min(last),
            AsOf::Position(position) => {
                Version::new(self.log.log().version_at(&stream, last.get(), position)?)
            }
            AsOf::Time(time) => {
                let position = Position::new(self.log.log().position_at(Micros::of(time))?);
                Version::new(self.log.log().version_at(&stream, last.get(), position)?)
            }
        };
        self.at(&stream, last).map(loaded)
    }

    /// Returns the whole history: each event with the state after it, from the first one on.
    ///
    /// # Errors
    /// [`StreamNotFound`](ErrorKind::StreamNotFound) if there are no events; otherwise those of
    /// [`load`](Repository::load), as the last item.
    pub fn history(
        &self,
        id: &str,
    ) -> Result<impl Iterator<Item = Result<HistoryEntry<A>>> + Send + use<A>> {
        let stream = self.stream(id)?;
        let last = self.version(&stream)?;
        if last == Version::NONE {
            let message = format!("stream {stream} has never been written");
            return Err(Error::new(ErrorKind::StreamNotFound, message));
        }
        let events = self.events(&stream, Version::NONE, last);
        let (mut state, open) = (A::default(), self.log.clone());
        Ok(events.map(move |event| {
            // Use `open` here, so that the closure captures it and the iterator keeps the store open.
            let _ = &open;
            let event = event?;
            let decoded = event.decode::<A::Event>()?;
            state.evolve_at(&decoded, &Envelope::of(&event));
            Ok(HistoryEntry { event, decoded, state: state.clone() })
        }))
    }

    /// Calls `decide` on the newest state with `command`, and appends the events if no other writer has written to the
    /// stream meanwhile; otherwise it decides again, as often as [`retries`](Repository::retries) allows. When this
    /// returns, the events are durable.
    ///
    /// # Errors
    /// * [`Rejected`](ExecuteError::Rejected): the aggregate rejected the command; nothing was written.
    /// * [`Conflict`](ExecuteError::Conflict): each attempt met a conflict; nothing was written.
    /// * [`Store`](ExecuteError::Store): see there.
    pub fn execute(&self, id: &str, command: &A::Command) -> ExecuteResult<A> {
        self.execute_with(id, command, Metadata::default())
    }

    /// Like [`execute`](Repository::execute), with metadata for the events. With a `command_id` the command runs at
    /// most once for this stream, even across restarts: sent again, it returns its first outcome. A command that was
    /// rejected, or decided nothing, is decided again when it is sent again.
    ///
    /// # Errors
    /// Those of [`execute`](Repository::execute).
    pub fn execute_with(
        &self,
        id: &str,
        command: &A::Command,
        mut metadata: Metadata,
    ) -> ExecuteResult<A> {
        let stream = self.stream(id)?;
        context::stamp(&mut metadata, self.log.log().observers.traces());
        let span = spans::execute(&stream, A::CATEGORY);
        let outcome = self.execute_now(&stream, command, &metadata);
        if span.is_on() {
            spans::tell(&span, &outcome);
        }
        let executed = outcome?;
        let view_lagging = match &self.view {
            Some((view, timeout)) => view.wait_for(executed.position, *timeout).is_err(),
            None => false,
        };
        Ok(Executed { view_lagging, ..executed })
    }

    /// The application's side of distributed tracing.
    pub(crate) fn traces(&self) -> Option<Arc<dyn TraceContext>> {
        self.log.log().observers.traces.clone()
    }

    /// Takes a snapshot of the newest state now, for repositories that
    /// [load by snapshots](Repository::snapshot_every). Does nothing if there are no events yet, or if one of them is
    /// private: a snapshot would keep what is to be forgotten.
    ///
    /// # Errors
    /// Those of [`load`](Repository::load); [`InvalidInput`](ErrorKind::InvalidInput) if the state
    /// cannot be written as JSON.
    pub fn snapshot(&self, id: &str) -> Result<()>
    where
        A: Snapshot,
    {
        let stream = self.stream(id)?;
        let mut known = self.newest(&stream, false)?;
        #[cfg(feature = "erasure")]
        if known.is_private() {
            return Ok(());
        }
        if known.version > Version::NONE {
            let Known { version, position, ref state, .. } = known;
            snapshots::write(self.log.log(), &stream, version, position, state)?;
            known.snapshot_at.get_or_insert_default().fetch_max(version.get(), Ordering::Relaxed);
            self.keep(stream, known);
        }
        Ok(())
    }

    /// The process that opened the store.
    pub(super) fn owner(&self) -> Owner {
        self.log.log().owner
    }

    /// The stream of the aggregate `id`. Also returns the errors that every call must check for.
    pub(crate) fn stream(&self, id: &str) -> Result<StreamId> {
        self.log.log().owner.check()?;
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => stream_of::<A>(id),
        }
    }

    /// Loads the newest state and caches it.
    fn newest(&self, stream: &StreamId, with_commands: bool) -> Result<Known<A>> {
        let last = self.version(stream)?;
        let mut known = self.nearest(stream, last);
        let mut changed = false;
        if with_commands && known.commands.is_none() {
            known.commands = Some(Arc::new(self.commands_until(stream, known.version)?));
            changed = true;
        }
        if known.version < last {
            self.replay(stream, &mut known, last)?;
            changed = true;
        }
        if changed {
            self.remember(stream, &mut known);
        }
        Ok(known)
    }

    /// The state after the event at `version`, which must not be past the end.
    fn at(&self, stream: &StreamId, version: Version) -> Result<Known<A>> {
        let mut known = self.nearest(stream, version);
        // `replay` would add events that the shared `commands` may already have, which would be right only by chance.
        known.commands = None;
        self.replay(stream, &mut known, version)?;
        Ok(known)
    }

    /// The newest cached state or snapshot that is not past `at_most`.
    fn nearest(&self, stream: &StreamId, at_most: Version) -> Known<A> {
        let cached = self.memory.cache.get(stream).filter(|known| known.version <= at_most);
        #[cfg(feature = "erasure")]
        let epoch = self.log.log().privacy.epoch();
        #[cfg(feature = "erasure")]
        let cached = cached
            .filter(|known| known.epoch == epoch || failpoint!("model::keep_what_is_forgotten"));
        let snapshot = || self.snapshots.as_ref()?.newest(self.log.log(), stream, at_most);
        let nearest = cached.or_else(snapshot);
        #[cfg(feature = "erasure")]
        return nearest.unwrap_or_else(|| Known { epoch, ..Known::default() });
        #[cfg(not(feature = "erasure"))]
        nearest.unwrap_or_default()
    }

    fn replay(&self, stream: &StreamId, known: &mut Known<A>, last: Version) -> Result<()> {
        for event in self.events(stream, known.version, last) {
            let event = event?;
            known.state.evolve_at(&event.decode::<A::Event>()?, &Envelope::of(&event));
            known.version = event.version;
            known.position = event.position;
            #[cfg(feature = "erasure")]
            if event.key_id().is_some() {
                known.has_private();
            }
            if let (Some(commands), Some(id)) = (&known.commands, event.metadata.command_id) {
                commands.answered(id, event.version);
            }
        }
        Ok(())
    }

    /// The commands that are answered by the events up to `last`.
    fn commands_until(&self, stream: &StreamId, last: Version) -> Result<Commands> {
        let commands = Commands::default();
        for event in self.events(stream, Version::NONE, last) {
            let event = event?;
            if let Some(id) = event.metadata.command_id {
                commands.answered(id, event.version);
            }
        }
        Ok(commands)
    }

    fn remember(&self, stream: &StreamId, known: &mut Known<A>) {
        if let Some(policy) = &self.snapshots {
            policy.offer(stream, known);
        }
        self.keep(stream.clone(), known.clone());
    }

    fn keep(&self, stream: StreamId, known: Known<A>) {
        #[cfg(feature = "erasure")]
        let epoch = known.epoch;
        let Known { state, version, position, commands, snapshot_at, .. } = known;
        let state = Arc::new(Mutex::new(state));
        let known = Known {
            state,
            version,
            position,
            commands,
            snapshot_at,
            #[cfg(feature = "erasure")]
            epoch,
        };
        self.memory.cache.put(stream, known);
        // It was computed before somebody was forgotten, and is of no use any more.
        #[cfg(feature = "erasure")]
        if epoch != self.log.log().privacy.epoch() {
            self.memory.cache.clear();
        }
    }

    fn version(&self, stream: &StreamId) -> Result<Version> {
        self.log.log().refuse_if_ended()?;
        Ok(self.log.log().stream_state(stream)?.map_or(Version::NONE, |state| state.version))
    }

    fn events(&self, stream: &StreamId, after: Version, last: Version) -> StreamEvents {
        self.range(stream, after.get() + 1, last.get(), false)
    }

    fn backwards(&self, stream: &StreamId, from: Version) -> StreamEvents {
        self.range(stream, 1, from.get(), true)
    }

    fn range(&self, stream: &StreamId, first: u64, last: u64, backwards: bool) -> StreamEvents {
        let range = StreamRange { first, last, backwards, limit: u64::MAX };
        StreamEvents::new(Arc::clone(self.log.log()), stream.clone(), range)
    }
}

fn loaded<A>(known: Known<A>) -> Loaded<A> {
    Loaded { state: known.state, version: known.version, position: known.position }
}
