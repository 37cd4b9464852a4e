//! How often in a row each instance's events met another writer in its stream.
//!
//! * An instance is here from its first conflict until it has recorded what it decided, or has nothing left to do.
//! * They are bounded: of too many, the one with the fewest conflicts is forgotten.

use crate::model::process::schedule::Id;
use crate::value::failpoint::failpoint;
use crate::value::limits::{INSTANCES_ACTIVE_MAX, REACTION_CONFLICTS_MAX};
use std::collections::HashMap;

#[derive(Default)]
pub(super) struct Conflicts(HashMap<Id, u32>);

impl Conflicts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Another writer has written to the stream of the instance `id`.
    pub(super) fn met(&mut self, id: &str) {
        if let Some(times) = self.0.get_mut(id) {
            *times += 1;
            return;
        }
        if self.0.len() >= INSTANCES_ACTIVE_MAX && !failpoint!("process::count_every_conflict") {
            let fewest = self.0.iter().min_by_key(|(_, times)| **times).map(|(id, _)| id.clone());
            fewest.and_then(|id| self.0.remove(&id));
        }
        self.0.insert(id.into(), 1);
    }

    /// The instance `id` has met nobody.
    pub(super) fn none(&mut self, id: &str) {
        if !self.0.is_empty() {
            self.0.remove(id);
        }
    }

    /// How often it was so for the instance `id`, if that is too often. Its count begins again then.
    pub(super) fn take_if_too_many(&mut self, id: &Id) -> Option<u32> {
        if self.0.is_empty() {
            return None;
        }
        let id = match failpoint!("process::blame_any_step") {
            true => self.0.keys().next().cloned()?,
            false => Id::clone(id),
        };
        let is_too_many = *self.0.get(&id)? > REACTION_CONFLICTS_MAX;
        is_too_many.then(|| self.0.remove(&id)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_is_counted_by_itself_and_the_counts_are_bounded() {
        let (mut conflicts, often) = (Conflicts::default(), Id::from("often"));
        for n in 0..=REACTION_CONFLICTS_MAX {
            assert_eq!(conflicts.take_if_too_many(&often), None);
            conflicts.met(&often);
            conflicts.met(&format!("once {n}"));
            conflicts.none(&format!("once {}", n / 2));
        }
        assert_eq!(conflicts.take_if_too_many(&Id::from("once 99")), None);
        for n in 0..2 * INSTANCES_ACTIVE_MAX {
            conflicts.met(&format!("other {n}"));
            assert!(conflicts.0.len() <= INSTANCES_ACTIVE_MAX);
        }
        assert_eq!(conflicts.take_if_too_many(&often), Some(REACTION_CONFLICTS_MAX + 1));
        assert_eq!(conflicts.take_if_too_many(&often), None, "its count begins again");
    }
}
