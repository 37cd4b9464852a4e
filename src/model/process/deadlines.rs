//! The deadlines that are to come: the nearest ones in memory, the others in the log's records.
//!
//! * Of an instance that has something to do, none is here: it is put here again when that is done.
//! * All that are not here are after those that are.

use crate::model::process::schedule::Id;
use crate::value::failpoint::failpoint;
use crate::value::limits::DEADLINES_HELD_MAX;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub(super) struct Deadlines {
    held: BTreeSet<(i64, Id)>,
    due: HashMap<Id, i64>,
    /// There are others in the records, none of them before this.
    beyond: Option<(i64, Id)>,
    held_max: usize,
}

impl Deadlines {
    pub(super) fn new() -> Deadlines {
        Deadlines::holding(DEADLINES_HELD_MAX)
    }

    /// With no more than so many in memory.
    pub(super) fn holding(held_max: usize) -> Deadlines {
        Deadlines { held: BTreeSet::new(), due: HashMap::new(), beyond: None, held_max }
    }

    /// The instance `id`, which has nothing to do, is to be woken at `due`.
    pub(super) fn put(&mut self, id: &Id, due: i64) {
        self.take(id);
        let deadline = (due, Arc::clone(id));
        if self.beyond.as_ref().is_some_and(|beyond| deadline >= *beyond) {
            return;
        }
        self.due.insert(Arc::clone(id), due);
        self.held.insert(deadline);
        if self.held.len() > self.held_max && !failpoint!("process::hold_every_deadline") {
            let last = self.held.pop_last().expect("there is one");
            self.due.remove(&last.1);
            self.beyond = Some(last);
        }
    }

    /// The instance `id` is not woken for now.
    pub(super) fn take(&mut self, id: &str) {
        if let Some((id, due)) = self.due.remove_entry(id) {
            self.held.remove(&(due, id));
        }
    }

    /// The next one.
    pub(super) fn next(&self) -> Option<(i64, &Id)> {
        self.held.first().map(|(due, id)| (*due, id))
    }

    /// Whether what comes next has to be looked up in the records.
    pub(super) fn has_run_out(&self) -> bool {
        self.held.is_empty() && self.beyond.is_some()
    }

    /// How many are in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> Id {
        format!("{n}").into()
    }

    #[test]
    fn the_nearest_are_held_and_the_next_comes_first() {
        let mut deadlines = Deadlines::holding(2);
        for (n, due) in [(1, 50), (2, 40), (3, 30), (4, 60)] {
            deadlines.put(&id(n), due);
        }
        assert_eq!(deadlines.next(), Some((30, &id(3))));
        deadlines.put(&id(3), 45);
        assert_eq!(deadlines.next(), Some((40, &id(2))));
        deadlines.take("2");
        deadlines.take("unknown");
        assert_eq!(deadlines.next(), Some((45, &id(3))));
        // Moved beyond those that are not held, it is not held either.
        deadlines.put(&id(3), 70);
        assert!(deadlines.next().is_none() && deadlines.has_run_out());
    }

    /// A process with a million open orders held all of their deadlines in memory.
    #[test]
    fn a_million_deadlines_take_the_memory_of_a_few_and_come_in_order() {
        const ALL: u64 = 1_000_000;
        let due = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20).cast_signed();
        let mut left: Vec<(i64, u64)> = (0..ALL).map(|n| (due(n), n)).collect();
        let mut deadlines = Deadlines::new();
        for n in 0..ALL {
            deadlines.put(&id(n), due(n));
            assert!(deadlines.held() <= DEADLINES_HELD_MAX);
        }
        left.sort_by_cached_key(|(due, n)| (*due, id(*n)));
        for (due, n) in left.iter().take(DEADLINES_HELD_MAX) {
            assert_eq!(deadlines.next(), Some((*due, &id(*n))));
            deadlines.take(&id(*n));
        }
        assert!(deadlines.has_run_out(), "the others are forgotten");
    }
}
