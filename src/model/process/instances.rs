//! The instances of one process, each computed from its own stream, and a cache of them.
//!
//! * A cached state is never assumed to be the newest: `refresh` applies all later events of the stream to it.
//! * The cache is bounded: it has two generations, and the older one is dropped when the younger one is full.

use crate::codec::process::{Alarm, deadline_prefix, decode};
use crate::codec::state::StreamState;
use crate::log::core::Log;
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::aggregate::stream_in;
use crate::model::event_set;
use crate::model::process::contract::ProcessManager;
use crate::model::process::durable_state::damaged;
use crate::model::process::passing_on::{PassOn, Passed};
use crate::model::process::schedule::Id;
use crate::value::clock::Micros;
use crate::value::error::{Contained, HandlerError, Result};
use crate::value::event::NewEvent;
#[cfg(feature = "erasure")]
use crate::value::failpoint::failpoint;
use crate::value::limits::CACHED_INSTANCES_MAX;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// An instance's state after the event at `version` of its stream.
#[derive(Debug, Clone)]
pub(super) struct Instance<M> {
    pub(super) stream: StreamId,
    pub(super) state: Contained<M>,
    pub(super) version: Version,
    /// The metadata that its last event passes on, which a deadline's events also get.
    pub(super) passed: Passed,
    /// Its deadline, and whether that has fired.
    pub(super) alarm: Option<Alarm>,
    /// If private events are in its state, how often somebody had been forgotten before the first one was read.
    #[cfg(feature = "erasure")]
    pub(super) private_since: Option<u64>,
}

/// An instance's decision that is not recorded yet.
pub(super) struct Decided<M> {
    /// The alarm before it.
    pub(super) before: Option<Alarm>,
    pub(super) expected: Version,
    pub(super) events: Vec<NewEvent>,
    /// The instance after these events.
    pub(super) then: Instance<M>,
}

impl<M: ProcessManager> Instance<M> {
    /// Loads the instance `id` with all events of its stream.
    pub(super) fn load(log: &Arc<Log>, pass_on: &PassOn, id: &str) -> Result<Instance<M>> {
        let (stream, alarm) = (stream_in(M::NAME, id)?, alarm(log, M::NAME, id)?);
        let (version, passed) = (Version::NONE, Passed::default());
        let state = Contained::new(M::default());
        let mut instance = Instance {
            stream,
            state,
            version,
            passed,
            alarm,
            #[cfg(feature = "erasure")]
            private_since: None,
        };
        instance.refresh(log, pass_on)?;
        Ok(instance)
    }

    /// Applies the events that its stream has after `version`.
    pub(super) fn refresh(&mut self, log: &Arc<Log>, pass_on: &PassOn) -> Result<()> {
        #[cfg(feature = "erasure")]
        let epoch = log.privacy.epoch();
        #[cfg(feature = "erasure")]
        if self.private_since.is_some_and(|since| since != epoch)
            && !failpoint!("process::keep_state_of_the_forgotten")
        {
            // The subject of one of its events may be among them.
            (self.state, self.version) = (Contained::new(M::default()), Version::NONE);
            (self.passed, self.private_since) = (Passed::default(), None);
        }
        let last = log.stream_state(&self.stream)?.unwrap_or_else(StreamState::absent).version;
        if last <= self.version {
            return Ok(());
        }
        let (first, last) = (self.version.get() + 1, last.get());
        let range = StreamRange { first, last, backwards: false, limit: u64::MAX };
        for event in StreamEvents::new(Arc::clone(log), self.stream.clone(), range) {
            let event = event?;
            #[cfg(feature = "erasure")]
            if event.key_id().is_some() {
                self.private_since.get_or_insert(epoch);
            }
            self.state.evolve(&event.decode::<M::Event>()?);
            self.version = event.version;
            self.passed = pass_on.of_event(&event);
        }
        Ok(())
    }

    /// The time at which its state wants to be woken.
    pub(super) fn due(&self) -> Option<i64> {
        self.state.deadline().map(|due| Micros::of(due).0)
    }

    /// Its alarm if its state wants to be woken at `due`. A deadline that has fired does not fire again, however long
    /// the state returns it.
    pub(super) fn rearmed(&self, due: Option<i64>) -> Option<Alarm> {
        let due = due?;
        let fired = self.alarm.is_some_and(|alarm| alarm.due == due && alarm.fired);
        Some(Alarm { due, fired })
    }

    /// Makes the events `decided` ready to be recorded, with `cause` as their cause and the metadata in `passed`.
    pub(super) fn decide(
        &self,
        decided: &[M::Event],
        passed: Passed,
        cause: Option<Uuid>,
    ) -> Result<Decided<M>, HandlerError> {
        let (expected, before) = (self.version, self.alarm);
        let mut then = self.clone();
        let mut events = Vec::with_capacity(decided.len());
        for event in decided {
            let (new, stored) = event_set::write(event)?;
            #[cfg(feature = "erasure")]
            if new.subject.is_some() {
                // It may be recorded before the next one is forgotten, or after: it is read again in any case.
                then.private_since = Some(u64::MAX);
            }
            events.push(new.metadata(passed.metadata(cause)));
            // The event as it will be loaded, which may lack fields that serde skips.
            then.state.evolve(&stored);
        }
        if !events.is_empty() {
            then.version = Version::new(expected.get() + events.len() as u64);
            then.passed = passed;
        }
        then.alarm = then.rearmed(then.due());
        Ok(Decided { before, expected, events, then })
    }
}

/// The alarm of the instance `id` in the log.
pub(super) fn alarm(log: &Log, name: &str, id: &str) -> Result<Option<Alarm>> {
    let alarm = log.record(&format!("{}{id}", deadline_prefix(name)))?;
    let alarm = alarm.map(|bytes| decode(&bytes)).transpose();
    alarm.map_err(|what| damaged(name, &what))
}

pub(super) struct Instances<M> {
    young: HashMap<Id, Instance<M>>,
    old: HashMap<Id, Instance<M>>,
}

impl<M: ProcessManager> Instances<M> {
    pub(super) fn new() -> Instances<M> {
        Instances { young: HashMap::new(), old: HashMap::new() }
    }

    /// The cached state of an instance.
    pub(super) fn get(&self, id: &str) -> Option<&Instance<M>> {
        self.young.get(id).or_else(|| self.old.get(id))
    }

    /// Removes an instance from the cache and returns it.
    pub(super) fn take(&mut self, id: &str) -> Option<Instance<M>> {
        let old = self.old.remove(id);
        self.young.remove(id).or(old)
    }

    /// Caches an instance.
    pub(super) fn put(&mut self, id: &Id, instance: Instance<M>) {
        if self.young.len() >= CACHED_INSTANCES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(id);
        self.young.insert(Arc::clone(id), instance);
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
