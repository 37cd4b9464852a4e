//! Who waits for room in the commit queue, in the order in which they came.
//!
//! * A thread waits for its place and joins the queue itself. What waits without a thread leaves its work here, and the
//!   queue takes it: so nobody behind it depends on when a task runs next.

use std::collections::BTreeMap;

/// Those who wait for room. `W` is the work of one that has no thread.
pub(super) struct Line<W> {
    /// How many have come.
    joined: u64,
    /// By place; `None` is a thread.
    places: BTreeMap<u64, Option<W>>,
}

impl<W> Line<W> {
    pub(super) fn new() -> Line<W> {
        Line { joined: 0, places: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes the last place, for a thread or for `work`.
    pub(super) fn join(&mut self, work: Option<W>) -> u64 {
        self.joined += 1;
        self.places.insert(self.joined, work);
        self.joined
    }

    pub(super) fn is_first(&self, place: u64) -> bool {
        self.places.first_key_value().is_some_and(|(first, _)| *first == place)
    }

    /// Gives a place up. Returns the work, if it was still here.
    pub(super) fn leave(&mut self, place: u64) -> Option<W> {
        self.places.remove(&place)?
    }

    /// Takes the work of the first place, if it is not a thread's, and `fits`.
    #[cfg(feature = "async")]
    pub(super) fn take_first_if(&mut self, fits: impl FnOnce(&W) -> bool) -> Option<W> {
        let first = self.places.first_entry()?;
        if !first.get().as_ref().is_some_and(fits) {
            return None;
        }
        first.remove()
    }

    /// Takes all work that is here, in order. Threads stay.
    #[cfg(feature = "async")]
    pub(super) fn take_work(&mut self) -> Vec<W> {
        let places = std::mem::take(&mut self.places);
        let (work, threads): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|(_, work)| work.is_some());
        self.places.extend(threads);
        work.into_iter().filter_map(|(_, work)| work).collect()
    }
}
