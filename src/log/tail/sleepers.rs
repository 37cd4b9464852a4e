//! The threads that wait for the head, each for one follower: who is woken for what.
//!
//! * Each has a filter. A writer that has found out which filters want its events wakes those who have them. So while
//!   one sleeps, it wants nothing from where it fell asleep up to the head.
//! * Who is woken learns up to where it wants nothing, and reads on from there.
//! * A position may be an alarm, which wakes one that still wants nothing: somebody waits for that position, or the
//!   follower is to note how far it has come. It notes that seldom if it has wanted nothing for long: each such alarm
//!   comes after twice as many events as the one before, up to a bound.

use crate::codec::frame::Chain;
use crate::value::failpoint::failpoint;
use crate::value::filter_index::FilterId;
use crate::value::limits::{CHECKPOINT_EVENTS_MAX, FEED_ASLEEP_EVENTS_MAX};
use parking_lot::Condvar;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One thread's waits for the head. They can be ended, for good, from another thread.
#[derive(Default)]
pub(crate) struct Waiter {
    pub(super) is_stopped: AtomicBool,
    pub(super) woken: Condvar,
}

impl Waiter {
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

/// A position at the end of a frame, and the journal's chain there.
pub(crate) type EndOfFrame = (u64, Chain);

/// A thread that may sleep.
#[derive(Clone)]
pub(crate) struct Enrolled {
    /// How many had enrolled when it had.
    pub(crate) number: u64,
    /// Its filter, which writers have known since before.
    pub(crate) filter: FilterId,
    pub(crate) waiter: Arc<Waiter>,
}

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    /// There may be something to read. After where it fell asleep, it wants nothing up to here.
    Woken(Option<EndOfFrame>),
    /// It was stopped, or the log is closed.
    Stopped,
}

/// What a writer found out about the events that it shows next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// How many had enrolled by then: of those who came later, nothing is known.
    pub(super) enrolled: u64,
    /// The filters that want one of the events.
    pub(super) by: Vec<FilterId>,
}

#[derive(Default)]
pub(super) struct Sleepers {
    /// By number.
    asleep: BTreeMap<u64, Sleeper>,
    by_filter: HashMap<FilterId, BTreeSet<u64>>,
    /// Each one's alarm, and its number.
    alarms: BTreeSet<(u64, u64)>,
    /// The positions that others wait for, and how many do, by number.
    awaited: HashMap<u64, BTreeMap<u64, usize>>,
    /// What each passed over when it last slept.
    passed: HashMap<u64, Passed>,
    /// Those of them who must be notified.
    unnotified: Vec<Arc<Waiter>>,
    /// How often one was woken.
    pub(super) wake_ups: u64,
}

/// What a thread wanted nothing of.
struct Passed {
    since: u64,
    until: EndOfFrame,
    /// It knows.
    is_told: bool,
    /// After how many events it is to note how far it has come, when it sleeps again.
    note_after: u64,
}

struct Sleeper {
    filter: FilterId,
    waiter: Arc<Waiter>,
    /// Where it fell asleep.
    since: u64,
    /// After how many events it is to note how far it has come.
    note_after: u64,
    alarm: u64,
}

impl Sleepers {
    pub(super) fn len(&self) -> usize {
        self.asleep.len()
    }

    /// Up to where `number` is known to want nothing after `done`, with the head at `head`.
    pub(super) fn reached(&self, number: u64, done: u64, head: EndOfFrame) -> Option<EndOfFrame> {
        let has_all = |since| since <= done || failpoint!("feed::claim_what_waits");
        match (self.asleep.get(&number), self.passed.get(&number)) {
            (Some(sleeper), _) if has_all(sleeper.since) => Some(head),
            (_, Some(passed)) if has_all(passed.since) => Some(passed.until),
            _ => None,
        }
    }

    /// `who` sleeps from the head on, which is at `since`.
    pub(super) fn put(&mut self, who: &Enrolled, since: u64) {
        let Enrolled { number, filter, ref waiter } = *who;
        let passed = self.passed.get(&number);
        let note_after = passed.map_or(CHECKPOINT_EVENTS_MAX, |passed| passed.note_after);
        let alarm = match failpoint!("feed::note_nothing") {
            true => u64::MAX,
            false => since.saturating_add(note_after),
        };
        let sleeper = Sleeper { filter, waiter: Arc::clone(waiter), since, note_after, alarm };
        self.by_filter.entry(filter).or_default().insert(number);
        self.alarms.insert((alarm, number));
        self.asleep.insert(number, sleeper);
        let awaited =
            self.awaited.get(&number).and_then(|awaited| awaited.range(since + 1..).next());
        if let Some((position, _)) = awaited {
            self.set_alarm(number, *position);
        }
    }

    /// `number` sleeps no longer, and nobody asks for it any more.
    pub(super) fn forget(&mut self, number: u64) {
        self.remove(number);
        self.passed.remove(&number);
    }

    fn remove(&mut self, number: u64) -> Option<Sleeper> {
        let sleeper = self.asleep.remove(&number)?;
        self.alarms.remove(&(sleeper.alarm, number));
        if let Some(same) = self.by_filter.get_mut(&sleeper.filter) {
            same.remove(&number);
            if same.is_empty() {
                self.by_filter.remove(&sleeper.filter);
            }
        }
        Some(sleeper)
    }

    /// Up to where `number` wants nothing, if it was woken and does not know it yet.
    pub(super) fn take_woken(&mut self, number: u64) -> Option<EndOfFrame> {
        let passed = self.passed.get_mut(&number)?;
        (!std::mem::replace(&mut passed.is_told, true)).then_some(passed.until)
    }

    /// The head moves from `before` to `now`. Those are woken who may want what is between them, and those whose alarm
    /// it is.
    pub(super) fn advance(&mut self, before: EndOfFrame, now: EndOfFrame, wanted: Option<&Wanted>) {
        let Some(wanted) = wanted else {
            while let Some((number, _)) = self.asleep.first_key_value() {
                self.wake_to_read(*number, before);
            }
            return;
        };
        if !failpoint!("feed::believe_older_judgement") {
            let later = wanted.enrolled + 1..;
            while let Some((number, _)) = self.asleep.range(later.clone()).next() {
                self.wake_to_read(*number, before);
            }
        }
        for filter in &wanted.by {
            for number in self.by_filter.get(filter).cloned().unwrap_or_default() {
                self.wake_to_read(number, before);
            }
        }
        while let Some((alarm, number)) = self.alarms.first().copied()
            && alarm <= now.0
        {
            self.wake_by_alarm(number, now);
        }
    }

    fn wake_to_read(&mut self, number: u64, until: EndOfFrame) {
        if let Some(sleeper) = self.remove(number) {
            self.wake(number, sleeper, until, CHECKPOINT_EVENTS_MAX);
        }
    }

    fn wake_by_alarm(&mut self, number: u64, until: EndOfFrame) {
        if let Some(sleeper) = self.remove(number) {
            let is_to_note = until.0 >= sleeper.since.saturating_add(sleeper.note_after);
            let note_after = match is_to_note {
                true => sleeper.note_after.saturating_mul(2).min(FEED_ASLEEP_EVENTS_MAX),
                false => sleeper.note_after,
            };
            self.wake(number, sleeper, until, note_after);
        }
    }

    fn wake(&mut self, number: u64, sleeper: Sleeper, until: EndOfFrame, note_after: u64) {
        let Sleeper { waiter, since, .. } = sleeper;
        self.passed.insert(number, Passed { since, until, is_told: false, note_after });
        self.unnotified.push(waiter);
        self.wake_ups += 1;
    }

    pub(super) fn must_notify(&self) -> bool {
        !self.unnotified.is_empty()
    }

    /// Those who were woken since this was last called.
    pub(super) fn unnotified(&mut self) -> impl Iterator<Item = Arc<Waiter>> {
        self.unnotified.drain(..)
    }

    /// All who sleep.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Waiter>> {
        self.asleep.values().map(|sleeper| &sleeper.waiter)
    }

    /// One more waits until `number` has come to `position`.
    pub(super) fn await_position(&mut self, number: u64, position: u64) {
        *self.awaited.entry(number).or_default().entry(position).or_default() += 1;
        self.set_alarm(number, position);
    }

    /// One less does.
    pub(super) fn no_longer_await(&mut self, number: u64, position: u64) {
        let Some(awaited) = self.awaited.get_mut(&number) else { return };
        if let Some(count) = awaited.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                awaited.remove(&position);
            }
        }
        if awaited.is_empty() {
            self.awaited.remove(&number);
        }
    }

    #[cfg(test)]
    pub(super) fn is_awaited(&self, position: u64) -> bool {
        self.awaited.values().any(|positions| positions.contains_key(&position))
    }

    fn set_alarm(&mut self, number: u64, position: u64) {
        let Some(sleeper) = self.asleep.get_mut(&number) else { return };
        if position > sleeper.since
            && position < sleeper.alarm
            && !failpoint!("feed::sleep_past_what_is_awaited")
        {
            self.alarms.remove(&(sleeper.alarm, number));
            self.alarms.insert((position, number));
            sleeper.alarm = position;
        }
    }
}
