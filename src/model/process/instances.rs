//! A cache of the instances of one process. Each is computed from its own stream.
//!
//! * A cached state is never assumed to be the newest: `load` applies all later events of the stream to it.
//! * It is bounded: there are two generations, and the older one is dropped when the younger one is full.

use crate::codec::state::StreamState;
use crate::log::core::Log;
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::process::contract::ProcessManager;
use crate::value::error::Result;
use crate::value::limits::CACHED_AGGREGATES_MAX;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// An instance's state after the event at `version` of its stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Instance<M> {
    pub(super) state: M,
    pub(super) version: Version,
    /// The correlation id of its last event, which a deadline's events also get.
    pub(super) correlation_id: Option<Uuid>,
}

pub(super) struct Instances<M> {
    young: HashMap<StreamId, Instance<M>>,
    old: HashMap<StreamId, Instance<M>>,
}

impl<M: ProcessManager> Instances<M> {
    pub(super) fn new() -> Instances<M> {
        Instances { young: HashMap::new(), old: HashMap::new() }
    }

    /// Loads the instance with all events of its stream.
    pub(super) fn load(&mut self, log: &Arc<Log>, stream: &StreamId) -> Result<Instance<M>> {
        let last = log.stream_state(stream)?.unwrap_or_else(StreamState::absent).version;
        let known = self.young.get(stream).or_else(|| self.old.get(stream)).cloned();
        let mut instance = known.filter(|known| known.version <= last).unwrap_or_default();
        let (first, last) = (instance.version.get() + 1, last.get());
        let range = StreamRange { first, last, backwards: false, limit: u64::MAX };
        for event in StreamEvents::new(Arc::clone(log), stream.clone(), range) {
            let event = event?;
            instance.state.evolve(&event.decode::<M::Event>()?);
            instance.version = event.version;
            instance.correlation_id = event.metadata.correlation_id;
        }
        Ok(instance)
    }

    /// Caches an instance.
    pub(super) fn put(&mut self, stream: &StreamId, instance: Instance<M>) {
        if self.young.len() >= CACHED_AGGREGATES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream.detached(), instance);
    }
}
