//! The inboxes that are live, and the thread that reads for all of them.
//!
//! * The thread begins with the first of them and ends with the last.
//! * Everything after what the head says was seen is handed out to those who are here, or was judged by its writer with
//!   their filters. An inbox joins if it has everything up to there.
//! * Locks are taken in this order: the roster's, the filters', an inbox's or the head's.

use crate::follow::live::inbox::{Inbox, Place};
use crate::follow::live::reader::{Reader, Step};
use crate::log::core::Log;
use crate::log::tail::head::Waited;
use crate::log::tail::sleepers::Waiter;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter_index::FilterId;
use crate::value::tasks::Woken;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Events that are handed out under one lock, which subscriptions that begin and end wait for. The count was not
/// measured.
const HANDED_OUT_AT_ONCE: usize = 64;

/// The live inboxes of a store.
#[derive(Default)]
pub(crate) struct Roster(Mutex<State>);

#[derive(Default)]
struct State {
    /// By filter, then by number.
    members: HashMap<FilterId, BTreeMap<u64, Arc<Inbox>>>,
    /// How often somebody joined.
    joined: u64,
    /// What the thread waits with, if there is one.
    watching: Option<Arc<Waiter>>,
}

impl State {
    fn remove(&mut self, log: &Log, place: Place) {
        log.interest.remove(place.filter);
        if let Some(same) = self.members.get_mut(&place.filter) {
            same.remove(&place.number);
            if same.is_empty() {
                self.members.remove(&place.filter);
            }
        }
    }

    /// Ends the thread, if nobody is here.
    fn end_if_empty(&mut self, log: &Log) {
        if self.members.is_empty()
            && !failpoint!("live::watch_for_nobody")
            && let Some(waiter) = self.watching.take()
        {
            log.head.stop(&waiter);
        }
    }

    fn is_watched_by(&self, waiter: &Arc<Waiter>) -> bool {
        self.watching.as_ref().is_some_and(|watching| Arc::ptr_eq(watching, waiter))
    }

    /// Hands out an event. Adds who had no room for it to `fallen`, and tasks that waited for it to `woken`.
    fn push(
        &self,
        filters: &[FilterId],
        event: &RecordedEvent,
        fallen: &mut Vec<Place>,
        woken: &mut Woken,
    ) {
        let members = filters.iter().filter_map(|filter| self.members.get(filter));
        let inboxes = members.flat_map(BTreeMap::values);
        fallen.extend(inboxes.filter_map(|inbox| inbox.push(event, woken)));
    }
}

impl Roster {
    /// Makes `inbox` live if it has everything that was seen; otherwise, nothing. No other thread reads for it.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn join(self: &Arc<Roster>, log: &Arc<Log>, inbox: &Arc<Inbox>) -> Result<()> {
        let mut state = self.0.lock();
        let filter = log.interest.add(&inbox.filter);
        state.joined += 1;
        let place = Place { filter, number: state.joined };
        let is_first = state.watching.is_none();
        let seen = log.head.join(is_first);
        if !seen.is_some_and(|seen| inbox.go_live(place, seen)) {
            log.interest.remove(filter);
            return Ok(());
        }
        state.members.entry(filter).or_default().insert(place.number, Arc::clone(inbox));
        if !is_first {
            return Ok(());
        }
        let waiter = Arc::new(Waiter::default());
        let (its_roster, its_log, its) = (Arc::clone(self), Arc::clone(log), Arc::clone(&waiter));
        let run = move || its_roster.run(&its_log, &its);
        if let Err(error) = log.spawn("filmstrip-live", run) {
            state.remove(log, place);
            inbox.leave(0);
            return Err(error);
        }
        state.watching = Some(waiter);
        Ok(())
    }

    /// `inbox` is live no longer.
    pub(crate) fn leave(&self, log: &Log, inbox: &Inbox) {
        let mut state = self.0.lock();
        if let Some(place) = inbox.leave(log.head.seen()) {
            state.remove(log, place);
            state.end_if_empty(log);
        }
    }

    fn run(&self, log: &Arc<Log>, waiter: &Arc<Waiter>) {
        let error = match catch(|| self.follow(log, waiter)) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(cause) => {
                let message = format!("the thread that reads for subscriptions panicked: {cause}");
                Some(Error::new(ErrorKind::Panicked, message))
            }
        };
        // Woken after the lock is released.
        let mut woken = Woken::default();
        let mut state = self.0.lock();
        // Otherwise all have left, and those who are here came later.
        if state.is_watched_by(waiter) {
            state.watching = None;
            let seen = log.head.seen();
            for (filter, inboxes) in std::mem::take(&mut state.members) {
                for inbox in inboxes.values() {
                    log.interest.remove(filter);
                    inbox.end(seen, error.clone(), &mut woken);
                }
            }
        }
    }

    /// Hands out what is appended, until nobody is here or the log is closed.
    fn follow(&self, log: &Arc<Log>, waiter: &Arc<Waiter>) -> Result<()> {
        let mut reader = Reader::new(log);
        let mut wanting = Vec::new();
        while log.head.watch(waiter) == Waited::Passed {
            reader.open(log.head.seen())?;
            while self.hand_out(log, waiter, &mut reader, &mut wanting)? {}
        }
        Ok(())
    }

    /// Hands out some of the frame that is open; false if that was all of it, or nobody is here any more.
    fn hand_out(
        &self,
        log: &Log,
        waiter: &Arc<Waiter>,
        reader: &mut Reader,
        wanting: &mut Vec<FilterId>,
    ) -> Result<bool> {
        // Woken after the lock is released, however this ends.
        let mut woken = Woken::default();
        let mut state = self.0.lock();
        if !state.is_watched_by(waiter) {
            return Ok(false);
        }
        let (mut fallen, mut is_through) = (Vec::new(), false);
        let filters = log.interest.filters();
        for _ in 0..HANDED_OUT_AT_ONCE {
            wanting.clear();
            let step = reader.next_named(|named| {
                wanting.extend(filters.wanting(named.stream, named.event_type, named.tags()));
                !wanting.is_empty()
            })?;
            match step {
                Step::Event(event) => {
                    state.push(wanting, &event, &mut fallen, &mut woken);
                    log.head.set_seen(event.position.get());
                }
                Step::Through(last) => {
                    log.head.set_seen(last);
                    is_through = true;
                    break;
                }
            }
        }
        drop(filters);
        for place in fallen {
            state.remove(log, place);
        }
        state.end_if_empty(log);
        Ok(!is_through)
    }
}
