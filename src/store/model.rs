//! The store's side of layer 5: where aggregates, views and read models get at its log.

use crate::error::Result;
use crate::model::aggregate::Aggregate;
use crate::model::read_model::{ReadModel, ReadModelHandle};
use crate::model::repository::Repository;
use crate::store::Store;

impl Store {
    /// The aggregates of one kind. Each call makes a repository with a memory of its own, so keep it
    /// or its clones.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> Repository<A> {
        Repository::new(self.log.clone())
    }

    /// A model in memory that is made from the whole log and then follows it. This returns at once;
    /// [`wait_for`](ReadModelHandle::wait_for) the [`head`](Store::head) to have all that there is.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), or what starting a thread met.
    pub fn read_model<M: ReadModel>(&self) -> Result<ReadModelHandle<M>> {
        ReadModelHandle::start(self.log.clone())
    }
}
