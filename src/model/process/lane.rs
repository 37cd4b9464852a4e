//! What a lane does: the effects of one instance after the other.
//!
//! * A lane writes nothing but what an effect's commands do. What effects return is recorded by the process's thread.

use crate::codec::step_words::{effect_of, effect_of_version};
use crate::log::core::Log;
use crate::log::engine::Engine;
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::process::contract::ProcessManager;
use crate::model::process::effects::{Effects, Executors};
use crate::model::process::failure::step_event;
use crate::model::process::instances::{Decided, Instance};
use crate::model::process::lanes::Lanes;
use crate::model::process::passing_on::PassOn;
use crate::model::process::pending::Pending;
use crate::model::process::schedule::Id;
use crate::model::process::spans::{ended, enter_step};
use crate::telemetry::context::{self, Handling};
use crate::value::error::{HandlerError, Result, catch};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::stream::StreamId;
use std::sync::Arc;

/// The effects of one instance.
pub(super) struct Task<M> {
    pub(super) id: Id,
    /// The instance, if it is remembered.
    pub(super) instance: Option<Instance<M>>,
    pub(super) effects: Pending,
}

/// What came of a task.
pub(super) struct Ran<M> {
    pub(super) id: Id,
    pub(super) instance: Option<Instance<M>>,
    /// So many effects are done and have led to no event.
    pub(super) done: u64,
    pub(super) end: End<M>,
}

/// How a task ended.
pub(super) enum End<M> {
    /// All effects are done, or the lane is to rest.
    Nothing,
    /// The next effect is done, and has led to events.
    Events { version: u64, at: String, decided: Decided<M> },
    /// The next effect has failed: that of the own event of this version.
    Failed { version: u64, at: String, cause: HandlerError },
}

/// What all lanes of a process share.
pub(super) struct LaneContext<M> {
    pub(super) engine: Arc<Engine>,
    pub(super) executors: Arc<Executors>,
    pub(super) pass_on: PassOn,
    pub(super) lanes: Arc<Lanes<Task<M>, Ran<M>>>,
}

impl<M: ProcessManager> LaneContext<M> {
    /// Does tasks until there will be no more.
    pub(super) fn run(&self) {
        while let Some(task) = self.lanes.next() {
            self.lanes.done(self.run_task(task));
        }
    }

    fn run_task(&self, task: Task<M>) -> Ran<M> {
        let Task { id, mut instance, mut effects } = task;
        let mut done = 0;
        while let Some(version) = effects.first() {
            if done > 0 && self.lanes.is_resting() {
                break;
            }
            let mut at = effect_of_version(version, format_args!("{}-{id}", M::NAME));
            let end = match self.run_effect(&id, &mut instance, version, &mut at) {
                Ok(None) => {
                    done += 1;
                    effects.remove_first();
                    continue;
                }
                Ok(Some(decided)) => End::Events { version, at, decided },
                Err(cause) => End::Failed { version, at, cause },
            };
            return Ran { id, instance, done, end };
        }
        Ran { id, instance, done, end: End::Nothing }
    }

    /// Runs one effect; `None` if it has led to no event.
    fn run_effect(
        &self,
        id: &Id,
        known: &mut Option<Instance<M>>,
        version: u64,
        at: &mut String,
    ) -> Result<Option<Decided<M>>, HandlerError> {
        let log = self.engine.log();
        let effect = || {
            let instance = match &mut *known {
                Some(instance) => {
                    instance.refresh(log, &self.pass_on)?;
                    instance
                }
                none @ None => none.insert(Instance::load(log, &self.pass_on, id)?),
            };
            let event = own_event(log, &instance.stream, version)?;
            *at = effect_of(step_event(&event));
            let (traces, _handling) = (log.observers.traces(), Handling::begin(&event));
            let span = enter_step!("effect", event, event.stream, filmstrip.version = version);
            context::link(traces, &span, &event);
            let passed = self.pass_on.of_event(&event).in_trace(traces);
            let mut out = Effects::new(&event, &passed, &self.executors);
            let own = event.decode::<M::Event>()?;
            let decided = instance.state.effect(&own, &mut out);
            ended(&span, &decided);
            let decided = decided?;
            if decided.is_empty() || failpoint!("process::forget_events_of_effect") {
                return Ok(None);
            }
            Ok(Some(instance.decide(&decided, passed, Some(event.id))?))
        };
        match catch(effect) {
            Ok(ran) => ran,
            Err(panic) => {
                // It may have been left half changed.
                *known = None;
                Err(format!("it panicked: {panic}").into())
            }
        }
    }
}

fn own_event(log: &Arc<Log>, stream: &StreamId, version: u64) -> Result<RecordedEvent> {
    let range = StreamRange { first: version, last: version, backwards: false, limit: 1 };
    let event = StreamEvents::new(Arc::clone(log), stream.clone(), range).next();
    event.expect("a read of one version yields an event or an error")
}
