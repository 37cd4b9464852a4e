//! Computes and records an instance's reaction.
//!
//! * The reaction's events, the ingested position, the deadline and the pending effects of the events are one commit.
//!   So are the events that an effect returned and the mark that the effect is done.
//! * The commit's expected version decides. If another writer has written to the instance's stream,
//!   the instance is loaded and reacts again.

use crate::log::commit::outcome::AppendError;
use crate::log::commit::{Commit, EncodedCommit};
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::aggregate::stream_in;
use crate::model::event_set;
use crate::model::process::contract::{ProcessManager, Trigger};
use crate::model::process::durable_state::{Change, InstanceChange, Pending};
use crate::model::process::effects::Effects;
use crate::model::process::instances::Instance;
use crate::model::process::retries::{Failure, Interrupt, Step};
use crate::model::process::runner::Runner;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, HandlerError, Result};
use crate::value::event::{Metadata, NewEvent, RecordedEvent};
use crate::value::limits::REACTION_CONFLICTS_MAX;
use crate::value::position::{ExpectedVersion, Position, Version};
use crate::value::stream::StreamId;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// An instance's reaction that is not recorded yet.
struct Reaction<M> {
    stream: StreamId,
    expected: Version,
    events: Vec<NewEvent>,
    /// The instance after these events.
    then: Instance<M>,
    /// The deadline of its new state.
    due: Option<i64>,
}

/// The result of a commit that may conflict with another writer's.
enum Recorded {
    Done,
    Conflict,
}

impl<M: ProcessManager> Runner<M> {
    /// Lets the instance that `event` is routed to, if there is one, react to it.
    pub(super) fn react_to(&mut self, event: &RecordedEvent) -> Step {
        let route = || Ok(M::route(event)?);
        let Some(id) = self.tries.attempt(&At(event), route)? else {
            self.kept.pass(event.position);
            return Ok(());
        };
        let cause = Cause { event: Some(event.id), correlation: event.metadata.correlation_id };
        let react = |state: &M| state.react(Trigger::Event(event));
        self.until_recorded(&At(event), |runner| {
            let reaction = runner.reaction(&At(event), &id, Some(cause), react)?;
            if reaction.events.is_empty() {
                runner.instances.put(&reaction.stream, reaction.then);
                runner.kept.pass(event.position);
                return Ok(Recorded::Done);
            }
            let effects = runner.kept.effects_of(&id);
            runner.record(&id, reaction, effects, event.position, false)
        })
    }

    /// Lets the instance `id` react to its deadline `due`.
    pub(super) fn wake(&mut self, id: &str, due: i64) -> Step {
        let at = format!("the deadline {} of {}-{id}", Micros(due).to_utc(), M::NAME);
        self.until_recorded(&at, |runner| {
            // A changed program may return another deadline for the same state.
            let react = |state: &M| match due_of(state) == Some(due) {
                true => state.react(Trigger::Deadline),
                false => Ok(Vec::new()),
            };
            let reaction = runner.reaction(&at, id, None, react)?;
            let effects = runner.kept.effects_of(id);
            runner.record(id, reaction, effects, runner.kept.position(), true)
        })
    }

    /// Runs the pending effects of the recorded own events.
    pub(super) fn do_effects(&mut self) -> Step {
        while let Some((id, version)) = self.kept.next_effect() {
            let stream = stream_in(M::NAME, &id)?;
            let event = self.own_event(&stream, version)?;
            let at = format!("the effect of {}", At(&event));
            let cause = Cause { event: Some(event.id), correlation: event.metadata.correlation_id };
            self.until_recorded(&at, |runner| runner.do_effect(&at, &id, &event, cause))?;
        }
        Ok(())
    }

    fn do_effect(
        &mut self,
        at: &dyn fmt::Display,
        id: &str,
        event: &RecordedEvent,
        cause: Cause,
    ) -> Result<Recorded, Interrupt> {
        let executors = Arc::clone(&self.executors);
        let effect = |state: &M| {
            let mut out = Effects::new(event, &executors);
            state.effect(&event.decode::<M::Event>()?, &mut out)
        };
        let reaction = self.reaction(at, id, Some(cause), effect)?;
        if reaction.events.is_empty() {
            self.instances.put(&reaction.stream, reaction.then);
            self.kept.effect_done(id);
            return Ok(Recorded::Done);
        }
        let effects = self.kept.effects_of(id).without_first();
        self.record(id, reaction, effects, self.kept.position(), false)
    }

    /// Writes the changes that were left to the next commit.
    pub(super) fn write(&mut self) -> Result<()> {
        if self.kept.ahead() == 0 && !self.kept.has_unwritten_effects() {
            return Ok(());
        }
        let change = Change { position: self.kept.position(), instance: None };
        self.commit(Commit::new(), change).map_err(Error::from)
    }

    /// Loads the instance and computes its reaction with `decide`.
    fn reaction(
        &mut self,
        at: &dyn fmt::Display,
        id: &str,
        cause: Option<Cause>,
        decide: impl Fn(&M) -> Result<Vec<M::Event>, HandlerError>,
    ) -> Result<Reaction<M>, Interrupt> {
        let (instances, engine) = (&mut self.instances, &self.engine);
        self.tries.attempt(at, || {
            let stream = stream_in(M::NAME, id).map_err(handler)?;
            let mut then = instances.load(engine.log(), &stream).map_err(Failure::Log)?;
            let expected = then.version;
            let decided = decide(&then.state)?;
            let cause = cause.unwrap_or(Cause { event: None, correlation: then.correlation_id });
            let mut events = Vec::with_capacity(decided.len());
            for event in &decided {
                let (new, stored) = event_set::write(event).map_err(handler)?;
                events.push(new.metadata(cause.metadata()));
                // Apply the event as it will be loaded; it may lack fields that serde skips.
                then.state.evolve(&stored);
            }
            if !events.is_empty() {
                then.version = Version::new(expected.get() + events.len() as u64);
                then.correlation_id = cause.correlation;
            }
            let due = due_of(&then.state);
            Ok(Reaction { stream, expected, events, then, due })
        })
    }

    /// Makes a reaction durable, with the ingested `position`, and with the pending `effects` followed by its own.
    /// `fired` says whether the instance was woken at its deadline.
    fn record(
        &mut self,
        id: &str,
        reaction: Reaction<M>,
        mut effects: Pending,
        position: Position,
        fired: bool,
    ) -> Result<Recorded, Interrupt> {
        let Reaction { stream, expected, events, then, due } = reaction;
        effects.extend(expected.get() + 1, then.version.get());
        let alarm = self.kept.rearmed(id, due, fired);
        let instance = Some(InstanceChange { id: id.to_owned(), alarm, effects });
        let mut commit = Commit::new();
        if !events.is_empty() {
            commit = commit.append(&stream, ExpectedVersion::Exact(expected), events);
        }
        match self.commit(commit, Change { position, instance }) {
            Ok(()) => {
                self.instances.put(&stream, then);
                Ok(Recorded::Done)
            }
            Err(AppendError::Conflict(_)) => Ok(Recorded::Conflict),
            Err(AppendError::Store(error)) => Err(error.into()),
        }
    }

    fn commit(&mut self, commit: Commit, change: Change) -> Result<(), AppendError> {
        let records = self.kept.records(&change).into_iter();
        let commit = records.fold(commit, |commit, (key, value)| commit.state(key, value));
        self.engine.commit(EncodedCommit::new(commit)?)?;
        self.kept.apply(change);
        Ok(())
    }

    /// Retries until no other writer's events conflict.
    fn until_recorded(
        &mut self,
        at: &dyn fmt::Display,
        mut attempt: impl FnMut(&mut Runner<M>) -> Result<Recorded, Interrupt>,
    ) -> Step {
        for _ in 0..=REACTION_CONFLICTS_MAX {
            if let Recorded::Done = attempt(self)? {
                return Ok(());
            }
        }
        let message = format!(
            "process {} stopped at {at}: another writer has written to its stream {} times meanwhile",
            M::NAME,
            REACTION_CONFLICTS_MAX + 1
        );
        Err(Interrupt::Fault(Error::new(ErrorKind::Faulted, message)))
    }

    fn own_event(&self, stream: &StreamId, version: u64) -> Result<RecordedEvent> {
        let range = StreamRange { first: version, last: version, backwards: false, limit: 1 };
        let event = StreamEvents::new(Arc::clone(self.log()), stream.clone(), range).next();
        event.expect("a read of one version yields an event or an error")
    }
}

/// The cause of an event.
#[derive(Clone, Copy)]
struct Cause {
    event: Option<Uuid>,
    correlation: Option<Uuid>,
}

impl Cause {
    fn metadata(self) -> Metadata {
        let Cause { event, correlation } = self;
        Metadata { correlation_id: correlation, causation_id: event, ..Metadata::default() }
    }
}

fn due_of<M: ProcessManager>(state: &M) -> Option<i64> {
    state.deadline().map(|due| Micros::of(due).0)
}

fn handler(error: Error) -> Failure {
    Failure::Handler(error.into())
}

/// An event's place, for an error's message.
struct At<'a>(&'a RecordedEvent);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordedEvent { position, event_type, stream, .. } = self.0;
        write!(f, "position {position}, event {event_type} of {stream}")
    }
}
