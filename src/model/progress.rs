//! The position of something that follows the log, and waits for it.
//!
//! * The position never moves back, except by `restart`.
//! * It moves after the effects of the counted events are visible, so a caller that has waited can read them.
//! * Of what is not wanted, the feed knows: while it sleeps, and everything that it has read is done, the position is
//!   the head. So a caller that asks may find that the position has moved. Whatever moves it wakes those who wait.

#[cfg(feature = "async")]
use crate::follow::feed::Awaited;
use crate::follow::feed::FeedStop;
use crate::value::callback;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::position::Position;
use crate::value::tasks::{Tasks, Woken};
use parking_lot::{Condvar, Mutex, MutexGuard};
#[cfg(feature = "async")]
use std::task::{Poll, Waker};
use std::time::Duration;

pub(crate) struct Progress {
    owner: Owner,
    /// The name of the follower in messages, such as `read model Balances`.
    who: String,
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    position: Position,
    /// The feed that is followed.
    feed: Option<FeedStop>,
    /// The reason why it makes no more progress.
    ended: Option<Error>,
    /// Tasks that wait.
    tasks: Tasks,
    /// How many tasks have begun to.
    #[cfg(feature = "async")]
    tasks_begun: u64,
    /// Tasks to wake once the lock is released.
    woken: Woken,
}

/// A task that waits for a position.
#[cfg(feature = "async")]
#[derive(Default)]
pub(crate) struct Awaiting {
    /// Its number among those that wait, from 1.
    number: u64,
    /// The feed tells when the position is reached, until this is dropped.
    awaited: Option<Awaited>,
}

impl State {
    fn new(position: Position) -> State {
        let (tasks, woken) = (Tasks::default(), Woken::default());
        State {
            position,
            feed: None,
            ended: None,
            tasks,
            #[cfg(feature = "async")]
            tasks_begun: 0,
            woken,
        }
    }
}

impl Progress {
    pub(crate) fn new(who: String, position: Position) -> Progress {
        let state = Mutex::new(State::new(position));
        Progress { owner: Owner::this_process(), who, state, moved: Condvar::new() }
    }

    /// The follower's name, without what kind it is.
    pub(crate) fn name(&self) -> &str {
        self.who.strip_prefix("read model ").unwrap_or(&self.who)
    }

    pub(crate) fn position(&self) -> Position {
        self.with(|state| self.look(state))
    }

    /// Works on the state, and then wakes tasks, without the lock.
    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = work(&mut state);
        let woken = std::mem::take(&mut state.woken);
        drop(state);
        woken.wake();
        result
    }

    /// Wakes all who wait.
    fn wake(&self, state: &mut State) {
        let tasks = state.tasks.take();
        state.woken.add(tasks);
        self.moved.notify_all();
    }

    /// Asks the feed how far it has come.
    fn look(&self, state: &mut State) -> Position {
        if let Some(feed) = &state.feed {
            let position = feed.reached(state.position);
            match failpoint!("progress::move_in_silence") {
                true => state.position = position,
                false => self.set(state, position),
            }
        }
        state.position
    }

    fn set(&self, state: &mut State, position: Position) {
        if position > state.position {
            state.position = position;
            self.wake(state);
        }
    }

    /// Follows this feed from now on.
    pub(crate) fn follow(&self, feed: &FeedStop) {
        self.with(|state| {
            state.feed = Some(feed.clone());
            // Who waits for a position asks it.
            self.wake(state);
        });
    }

    /// The reason why it makes no more progress, if it has ended.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.state.lock().ended.clone()
    }

    /// Moves the position forward to `position`.
    pub(crate) fn advance(&self, position: Position) {
        self.with(|state| self.set(state, position));
    }

    /// Sets the position to `position`, which may be an earlier one, and clears the end.
    pub(crate) fn restart(&self, position: Position) {
        self.with(|state| {
            (state.position, state.feed, state.ended) = (position, None, None);
            self.wake(state);
        });
    }

    /// Ends the progress for the reason `why`. An earlier reason is kept.
    pub(crate) fn end(&self, why: Error) {
        self.end_within(why).wake();
    }

    /// The same, for a caller that holds a lock. Returns the tasks to wake when the lock is released.
    pub(crate) fn end_within(&self, why: Error) -> Woken {
        let mut state = self.state.lock();
        state.ended.get_or_insert(why);
        self.wake(&mut state);
        std::mem::take(&mut state.woken)
    }

    /// Ends the progress because the follower or the store was closed.
    pub(crate) fn close(&self) {
        self.end(Error::new(ErrorKind::Closed, format!("{} has been closed", self.who)));
    }

    /// Waits until everything up to `position` is done.
    pub(crate) fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        self.owner.check()?;
        let deadline = deadline_after(timeout);
        let mut state = self.state.lock();
        loop {
            let feed = state.feed.clone();
            // Before the feed is asked how far it has come.
            let _awaited = feed.as_ref().map(|feed| feed.await_position(position));
            let reached = self.look(&mut state);
            if !state.woken.is_empty() {
                let woken = std::mem::take(&mut state.woken);
                MutexGuard::unlocked(&mut state, || woken.wake());
                // Meanwhile it may have moved, or follow another feed, and have notified nobody.
                if !failpoint!("progress::believe_the_look_before") {
                    continue;
                }
            }
            if reached >= position {
                return Ok(());
            }
            if let Some(why) = &state.ended {
                return Err(why.clone());
            }
            callback::refuse_if_anything_waits("wait_for")?;
            let timed_out = match deadline {
                Some(deadline) => self.moved.wait_until(&mut state, deadline).timed_out(),
                None => {
                    self.moved.wait(&mut state);
                    false
                }
            };
            if timed_out && self.look(&mut state) < position && state.ended.is_none() {
                let (late, woken) = (
                    self.late(state.position, position, timeout),
                    std::mem::take(&mut state.woken),
                );
                drop(state);
                woken.wake();
                return Err(late);
            }
        }
    }

    /// Whether everything up to `position` is done; otherwise `waker` is woken when that may be so. `awaiting` is to be
    /// kept until then, or given to [`leave`](Progress::leave).
    #[cfg(feature = "async")]
    pub(crate) fn poll_for(
        &self,
        position: Position,
        waker: &Waker,
        awaiting: &mut Awaiting,
    ) -> Poll<Result<()>> {
        if let Err(forked) = self.owner.check() {
            return Poll::Ready(Err(forked));
        }
        let (mut waker, mut replaced, mut before) = (Some(waker.clone()), None, None);
        let polled = self.with(|state| {
            // Before the feed is asked how far it has come, and before what was awaited earlier no longer is.
            let awaited = state.feed.as_ref().map(|feed| feed.await_position(position));
            before = std::mem::replace(&mut awaiting.awaited, awaited);
            if self.look(state) >= position {
                return Poll::Ready(Ok(()));
            }
            if let Some(why) = &state.ended {
                return Poll::Ready(Err(why.clone()));
            }
            if awaiting.number == 0 {
                state.tasks_begun += 1;
                awaiting.number = state.tasks_begun;
            }
            if !failpoint!("progress::forget_tasks") {
                replaced = waker.take().and_then(|waker| state.tasks.join(awaiting.number, waker));
            }
            Poll::Pending
        });
        drop((before, waker, replaced));
        polled
    }

    /// A task no longer waits.
    #[cfg(feature = "async")]
    pub(crate) fn leave(&self, awaiting: &mut Awaiting) {
        if !self.owner.is_this_process() {
            // To give it up takes a lock of the head's.
            return std::mem::forget(awaiting.awaited.take());
        }
        awaiting.awaited = None;
        let left = self.with(|state| state.tasks.leave(awaiting.number));
        drop(left);
    }

    fn late(&self, at: Position, wanted: Position, timeout: Duration) -> Error {
        let who = &self.who;
        let message = format!("{who} is at position {at}, not yet at {wanted}, after {timeout:?}");
        Error::new(ErrorKind::Timeout, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    fn at(position: u64) -> Position {
        Position::new(position)
    }

    #[test]
    fn a_wait_ends_when_the_position_is_reached_or_the_time_is_over() {
        let progress = Progress::new("view X".into(), at(3));
        progress.wait_for(at(3), Duration::ZERO).unwrap();
        let late = progress.wait_for(at(4), SHORT).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout);
        let message = late.to_string();
        assert!(message.contains("view X is at position 3, not yet at 4"), "{message}");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| progress.wait_for(at(5), Duration::MAX));
            progress.advance(at(4));
            progress.advance(at(6));
            waiting.join().unwrap().unwrap();
        });
        progress.advance(at(5));
        assert_eq!(progress.position(), at(6));
    }

    #[test]
    fn an_end_answers_those_who_wait_for_more_and_no_others() {
        let progress = Progress::new("view X".into(), at(3));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| progress.wait_for(at(4), LONG));
            progress.end(Error::new(ErrorKind::Faulted, "it broke"));
            assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Faulted);
        });
        progress.close();
        assert_eq!(progress.wait_for(at(4), LONG).unwrap_err().kind(), ErrorKind::Faulted);
        progress.wait_for(at(3), LONG).unwrap();
        progress.restart(at(1));
        assert_eq!(progress.wait_for(at(2), SHORT).unwrap_err().kind(), ErrorKind::Timeout);
    }
}
