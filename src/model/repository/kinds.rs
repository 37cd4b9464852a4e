//! The repositories that transactions load from, and processes execute commands with. They keep no store open.

use crate::log::handle::LogHandle;
use crate::model::aggregate::Aggregate;
use crate::model::repository::Repository;
use crate::model::repository::detached::Detached;
use crate::value::error::Result;
use parking_lot::Mutex;
use std::any::{Any, TypeId};
use std::collections::HashMap;

/// One repository for each kind of aggregate.
#[derive(Default)]
pub(crate) struct Kinds(Mutex<HashMap<TypeId, Box<dyn Any + Send>>>);

impl Kinds {
    /// Aggregates of this kind are loaded from this repository.
    pub(crate) fn put<A: Aggregate>(&self, repository: &Repository<A>) {
        let detached: Box<dyn Any + Send> = Box::new(repository.detached());
        self.0.lock().insert(TypeId::of::<A>(), detached);
    }

    /// The repository of this kind, if there is one.
    pub(crate) fn get<A: Aggregate>(&self) -> Option<Result<Repository<A>>> {
        let kinds = self.0.lock();
        let detached = kinds.get(&TypeId::of::<A>())?.downcast_ref::<Detached<A>>();
        Some(detached.expect("what is kept for a kind is of this kind").attached())
    }

    /// The repository of this kind. If there is none, one of `log` is made.
    pub(crate) fn get_or_make<A: Aggregate>(
        &self,
        log: impl FnOnce() -> Result<LogHandle>,
    ) -> Result<Repository<A>> {
        if let Some(repository) = self.get() {
            return repository;
        }
        let repository = Repository::new(log()?);
        self.put(&repository);
        Ok(repository)
    }
}
