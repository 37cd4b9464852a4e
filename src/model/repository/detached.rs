//! A repository as a thread of the engine holds it: it keeps no store open.

use crate::log::handle::WeakLogHandle;
use crate::model::aggregate::Aggregate;
use crate::model::repository::snapshots::Policy;
use crate::model::repository::{Memory, Repository};
use crate::value::error::{Error, Result};
use std::sync::Arc;

/// What a repository is made from again for as long as it is used. It waits for no view.
pub(crate) struct Detached<A: Aggregate> {
    log: WeakLogHandle,
    memory: Arc<Memory<A>>,
    snapshots: Option<Arc<Policy<A>>>,
    retries: u32,
    fault: Option<Error>,
}

impl<A: Aggregate> Repository<A> {
    /// The same repository, with the same memory, without a share in its store.
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
    /// The repository, for a moment.
    ///
    /// # Errors
    /// `Closed`, if its store has been.
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
