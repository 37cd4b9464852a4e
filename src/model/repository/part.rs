//! One stream's part of a command or a transaction: its state, what is decided on it, and what becomes of that.
//!
//! * A state that was handed on is not durable yet. A commit that was decided on it assumes the one that leads to it.
//!   What writes nothing, because it was rejected or decided nothing, waits for that one.
//! * A command that is queued is not decided again before it is known how it ended.
//! * If `evolve_at` asks for what is not known before the events are recorded, nothing is handed on: the turn lasts
//!   until they are durable, and the state is computed again.

use super::Repository;
use super::cache::{Known, Shared, clone_of};
use super::turn::{HandedOn, Pending, StreamOutstanding, StreamTurn};
use crate::log::commit::Commit;
use crate::log::commit::outcome::{Appended, Conflict};
use crate::log::commit::promise::Promise;
use crate::log::commit::turns::Handed;
use crate::model::aggregate::Aggregate;
use crate::model::envelope::Envelope;
use crate::model::event_set;
use crate::model::repository::outcome::ExecuteError;
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::event::{Metadata, NewEvent};
use crate::value::failpoint::failpoint;
use crate::value::position::{ExpectedVersion, Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use std::any::Any;
use std::cell::OnceCell;
use std::mem;
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// What a state may be that is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// One that the turn before hands on.
    Handed,
    /// A durable one: what is handed on is waited for.
    Durable,
}

pub(crate) struct Part<A: Aggregate> {
    repository: Repository<A>,
    stream: StreamId,
    turn: Option<StreamTurn>,
    /// What is known of the stream, with the events that were decided here.
    known: Known<A>,
    /// The version without them.
    base: Version,
    /// What the state comes from, if that is not durable yet.
    assumed: Option<(Arc<HandedOn<A>>, Arc<Promise>)>,
    pending: Vec<Pending>,
    metadata: Metadata,
    new: Vec<NewEvent>,
    ids: Vec<Uuid>,
    /// The same events as they will be loaded.
    decided: Vec<A::Event>,
    /// The state at `base`, if a state after it depends on where and when the events are recorded.
    before: Option<A>,
    handed: Option<Arc<HandedOn<A>>>,
    /// Until its commit has ended, the next ones decide on what was handed on.
    outstanding: Option<StreamOutstanding>,
}

/// What is known of a stream, and what that assumes.
struct Found<A> {
    known: Known<A>,
    pending: Vec<Pending>,
    assumed: Option<(Arc<HandedOn<A>>, Arc<Promise>)>,
}

impl<A: Aggregate> Repository<A> {
    /// The state of `stream`, for a command with this metadata, with the turn that it has.
    pub(crate) fn part(
        &self,
        stream: &StreamId,
        turn: Option<StreamTurn>,
        metadata: &Metadata,
        trust: Trust,
    ) -> Result<Part<A>> {
        let command = metadata.command_id;
        let found = self.find(stream, turn.as_ref(), command, trust)?;
        let Found { mut known, pending, assumed } = found;
        if self.snapshots.is_some() {
            // Before it is handed on: then it is shared.
            known.snapshot_at.get_or_insert_default();
        }
        Ok(Part {
            repository: self.clone(),
            stream: stream.clone(),
            turn,
            base: known.version,
            known,
            assumed,
            pending,
            metadata: metadata.clone(),
            new: Vec::new(),
            ids: Vec::new(),
            decided: Vec::new(),
            before: None,
            handed: None,
            outstanding: None,
        })
    }

    fn find(
        &self,
        stream: &StreamId,
        turn: Option<&StreamTurn>,
        command: Option<Uuid>,
        trust: Trust,
    ) -> Result<Found<A>> {
        // What is handed on comes first: what is durable by then is seen afterwards.
        if let Some(handed) = turn.and_then(StreamTurn::handed) {
            if trust == Trust::Handed
                && let Some(found) = self.found_handed(stream, &handed, command)?
            {
                return Ok(found);
            }
            handed.promise.wait();
        }
        let known = self.newest(stream, command.is_some())?;
        Ok(Found { known, pending: Vec::new(), assumed: None })
    }

    /// What is handed on. `None` if it is of another kind, or holds this very command.
    fn found_handed(
        &self,
        stream: &StreamId,
        handed: &Handed<Arc<dyn Any + Send + Sync>>,
        command: Option<Uuid>,
    ) -> Result<Option<Found<A>>> {
        let state = Arc::clone(&handed.state).downcast::<HandedOn<A>>();
        let Ok(state) = state else { return Ok(None) };
        #[cfg(feature = "erasure")]
        if state.known.epoch != self.log.log().privacy.epoch() {
            return Ok(None);
        }
        let (durable, pending): (Vec<_>, Vec<_>) =
            state.pending.iter().cloned().partition(|pending| pending.promise.is_kept());
        if let Some(commands) = &state.known.commands {
            durable.iter().for_each(|done| commands.answered(done.command, done.version));
        }
        let is_queued = pending.iter().any(|pending| Some(pending.command) == command);
        if is_queued && !failpoint!("model::overlook_queued_command") {
            return Ok(None);
        }
        let Some(cloned) = clone_of(&state.known.state) else { return Ok(None) };
        let mut known = state.known.with(cloned);
        if failpoint!("model::forget_offered_snapshots") {
            known.snapshot_at = None;
        }
        if command.is_some() && known.commands.is_none() {
            known.commands = self.newest(stream, true)?.commands;
        }
        let assumed = Some((state, Arc::clone(&handed.promise)));
        Ok(Some(Found { known, pending, assumed }))
    }
}

impl<A: Aggregate> Part<A> {
    /// The version of the last event that answers its command, if that has been executed before.
    pub(crate) fn ran_before(&self) -> Option<Version> {
        self.known.commands.as_ref()?.ran(self.metadata.command_id?)
    }

    /// The state, with the events that were decided here.
    pub(crate) fn state(&self) -> &A {
        &self.known.state
    }

    /// The version of that state.
    pub(crate) fn version(&self) -> Version {
        self.known.version
    }

    /// Lets the aggregate decide, and applies its events. Returns how many there are.
    pub(crate) fn decide(&mut self, command: &A::Command) -> Result<usize, ExecuteError<A::Error>> {
        let decided = self.known.state.decide(command).map_err(ExecuteError::Rejected)?;
        let mut new = Vec::with_capacity(decided.len());
        let mut stored = Vec::with_capacity(decided.len());
        for event in &decided {
            let (event, read_back) = event_set::write(event)?;
            new.push(event.metadata(self.metadata.clone()));
            // What will be loaded: an event may lack what serde skips.
            stored.push(read_back);
        }
        if self.apply(&new, &stored) && self.before.is_none() {
            self.before = Some(self.state_before()?);
        }
        #[cfg(feature = "erasure")]
        if new.iter().any(|new| new.subject.is_some()) {
            self.known.has_private();
        }
        self.ids.extend(new.iter().map(|new| new.id));
        add(&mut self.new, new);
        add(&mut self.decided, stored);
        Ok(decided.len())
    }

    /// The events that were decided last.
    pub(crate) fn last_decided(&self, count: usize) -> &[A::Event] {
        &self.decided[self.decided.len() - count..]
    }

    /// Applies events that are not recorded yet. Returns whether that asked for where and when they are.
    fn apply(&mut self, new: &[NewEvent], events: &[A::Event]) -> bool {
        let (log, time) = (self.repository.log.log(), OnceCell::new());
        // They would all be recorded at one time.
        let time = || *time.get_or_init(|| log.now().max(log.head.time()).to_utc());
        let mut has_asked = false;
        for (new, event) in new.iter().zip(events) {
            let version = Version::new(self.known.version.get() + 1);
            let ahead = version.get() - self.base.get();
            let expected = || {
                let position = Position::new(log.head.position() + ahead);
                (position, time())
            };
            let envelope = Envelope::expected(new.id, version, &self.metadata, &expected);
            self.known.state.evolve_at(event, &envelope);
            has_asked |= envelope.was_asked();
            self.known.version = version;
        }
        has_asked && !failpoint!("model::keep_expected_times")
    }

    /// The state at `base`. If it is found at another version, the commit will meet a conflict.
    fn state_before(&self) -> Result<A> {
        if let Some((_, promise)) = &self.assumed {
            promise.wait();
        }
        Ok(self.repository.newest(&self.stream, false)?.state)
    }

    /// The state after the events that were decided here, now that they are recorded.
    fn again(&self, mut state: A, time: DateTime<Utc>) -> A {
        let before = self.known.position.get() - self.decided.len() as u64;
        for (number, (event, id)) in (1..).zip(self.decided.iter().zip(&self.ids)) {
            let version = Version::new(self.base.get() + number);
            let at = (Position::new(before + number), time);
            state.evolve_at(event, &Envelope::recorded(*id, version, &self.metadata, at));
        }
        state
    }

    /// The position of its last event, if that is known.
    fn position(&self) -> Position {
        let assumed = self.assumed.as_ref().and_then(|(handed, _)| handed.position.get());
        assumed.copied().unwrap_or(self.known.position)
    }

    /// What is known of it in the end, its events, and their ids.
    pub(super) fn end(self) -> (Known<A>, Vec<A::Event>, Vec<Uuid>) {
        let position = self.position();
        (Known { position, ..self.known }, self.decided, self.ids)
    }
}

/// A part of a transaction, whatever its aggregate.
pub(crate) trait AnyPart: Any {
    fn stream(&self) -> &StreamId;
    /// The ids of the events that it decided.
    fn ids(&self) -> &[Uuid];
    /// Whether it decided any events.
    fn is_changed(&self) -> bool;
    /// What it assumes to become durable.
    fn assumed(&self) -> Option<&Arc<Promise>>;
    /// The conflict that a commit would meet, if another version has become durable and it assumes nothing.
    fn overtaken(&self) -> Result<Option<Conflict>>;
    /// The version of the last event that answers its command, if that was executed meanwhile.
    fn ran_meanwhile(&self) -> Result<Option<Version>>;
    /// Adds it to `commit`, and makes ready what it hands on.
    fn add_to(&mut self, commit: Commit, promise: &Arc<Promise>) -> Commit;
    /// Its commit is queued: ends its turn, if the next one has something to decide on.
    fn queued(&mut self, promise: &Arc<Promise>);
    /// Its commit is durable: tells those who have built on it. None of this is the application's code.
    fn recorded(&mut self, appended: &Appended);
    /// Keeps the state for later commands.
    fn keep(&mut self, time: Micros);
    /// Ends its turn.
    fn leave(&mut self);
}

impl<A: Aggregate> AnyPart for Part<A> {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    fn is_changed(&self) -> bool {
        !self.decided.is_empty()
    }

    fn assumed(&self) -> Option<&Arc<Promise>> {
        self.assumed.as_ref().map(|(_, promise)| promise)
    }

    fn overtaken(&self) -> Result<Option<Conflict>> {
        let actual = self.repository.version(&self.stream)?;
        if self.assumed.is_some() || actual == self.base {
            return Ok(None);
        }
        let (stream, expected) = (self.stream.clone(), ExpectedVersion::Exact(self.base));
        Ok(Some(Conflict { stream, expected, actual }))
    }

    fn ran_meanwhile(&self) -> Result<Option<Version>> {
        let Some(command) = self.metadata.command_id else { return Ok(None) };
        let commands = self.repository.newest(&self.stream, true)?.commands;
        Ok(commands.and_then(|commands| commands.ran(command)))
    }

    fn add_to(&mut self, commit: Commit, promise: &Arc<Promise>) -> Commit {
        let expected = ExpectedVersion::Exact(self.base);
        if !self.is_changed() {
            return commit.check(&self.stream, expected);
        }
        let version = self.known.version;
        if let Some(command) = self.metadata.command_id {
            self.pending.push(Pending { command, version, promise: Arc::clone(promise) });
        }
        if self.turn.is_some() && self.before.is_none() {
            let state = Arc::new(Mutex::new(self.known.state.clone()));
            self.handed = Some(Arc::new(HandedOn {
                known: self.known.with(state),
                pending: self.pending.clone(),
                position: OnceLock::new(),
            }));
        }
        commit.append(&self.stream, expected, mem::take(&mut self.new))
    }

    fn queued(&mut self, promise: &Arc<Promise>) {
        match &self.handed {
            Some(handed) => {
                let (state, promise) = (Arc::clone(handed), Arc::clone(promise));
                let turn = self.turn.take();
                self.outstanding = turn.and_then(|turn| turn.hand_on(Handed { state, promise }));
            }
            None if self.is_changed() => {}
            None => self.leave(),
        }
    }

    fn recorded(&mut self, appended: &Appended) {
        self.known.position = appended.position;
        if let Some(handed) = &self.handed {
            let _ = handed.position.set(appended.position);
        }
        if let Some(commands) = &self.known.commands {
            self.pending.iter().for_each(|done| commands.answered(done.command, done.version));
        }
    }

    fn keep(&mut self, time: Micros) {
        if let Some(before) = self.before.take() {
            self.known.state = self.again(before, time.to_utc());
        }
        if let Some(policy) = &self.repository.snapshots {
            policy.offer(&self.stream, &mut self.known);
        }
        let state: Shared<A> = match &self.handed {
            Some(handed) => Arc::clone(&handed.known.state),
            None => Arc::new(Mutex::new(self.known.state.clone())),
        };
        self.repository.memory.cache.put(self.stream.clone(), self.known.with(state));
        self.outstanding = None;
    }

    fn leave(&mut self) {
        self.turn = None;
    }
}

/// Adds `more` to `all`, which are mostly none: then nothing is copied.
fn add<T>(all: &mut Vec<T>, mut more: Vec<T>) {
    match all.is_empty() {
        true => *all = more,
        false => all.append(&mut more),
    }
}
