//! A repository in the form that a thread of the engine holds: it does not keep the store open.

use crate::log::handle::WeakLogHandle;
use crate::model::aggregate::Aggregate;
use crate::model::repository::snapshots::Policy;
use crate::model::repository::{Memory, Repository};
use crate::value::error::{Error, Result};
use std::sync::Arc;

/// The parts of a repository, from which it is made again for each use. It waits for no view.
pub(crate) struct Detached<A: Aggregate> {
    log: WeakLogHandle,
    memory: Arc<Memory<A>>,
    snapshots: Option<Arc<Policy<A>>>,
    retries: u32,
    fault: Option<Error>,
}

impl<A: Aggregate> Repository<A> {
    /// The same repository, with the same cache, but without a handle to the store.
    pub(crate) fn detached(&self) -> Detached<A> {
        Detached {
            log: self.log.downgrade(),
            memory: Arc::clone(&self.memory),
            snapshots: self.snapshots.clone(),
            retries: self.retries,
            fault: self.fault.clone(),
        }
    }
}

impl<A: Aggregate> Detached<A> {
    /// Makes the repository, to be held briefly.
    ///
    /// # Errors
    /// `Closed`, if its store is closed.
    pub(crate) fn attached(&self) -> Result<Repository<A>> {
        Ok(Repository {
            log: self.log.upgrade()?,
            memory: Arc::clone(&self.memory),
            snapshots: self.snapshots.clone(),
            retries: self.retries,
            view: None,
            fault: self.fault.clone(),
        })
    }
}
