//! The store's side of layer 5: where aggregates, views and read models get at its log.

use crate::model::aggregate::Aggregate;
use crate::model::repository::Repository;
use crate::store::Store;

impl Store {
    /// The aggregates of one kind. Each call makes a repository with a memory of its own, so keep it
    /// or its clones.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> Repository<A> {
        Repository::new(self.log.clone())
    }
}
