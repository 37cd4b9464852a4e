//! The position of something that follows the log, and waits for it.
//!
//! * The position never moves back, except by `restart`.
//! * It moves after the effects of the counted events are visible, so a caller that has waited can read them.
//! * Of what is not wanted, the feed knows: while it sleeps, and everything that it has read is done, the position is
//!   the head. So a caller that asks may find that the position has moved. Whatever moves it wakes those who wait.

use crate::follow::feed::FeedStop;
use crate::value::callback;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::position::Position;
use parking_lot::{Condvar, Mutex};
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
}

impl Progress {
    pub(crate) fn new(who: String, position: Position) -> Progress {
        let state = Mutex::new(State { position, feed: None, ended: None });
        Progress { owner: Owner::this_process(), who, state, moved: Condvar::new() }
    }

    /// The follower's name, without what kind it is.
    pub(crate) fn name(&self) -> &str {
        self.who.strip_prefix("read model ").unwrap_or(&self.who)
    }

    pub(crate) fn position(&self) -> Position {
        self.look(&mut self.state.lock())
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
            self.moved.notify_all();
        }
    }

    /// Follows this feed from now on.
    pub(crate) fn follow(&self, feed: &FeedStop) {
        self.state.lock().feed = Some(feed.clone());
        // Who waits for a position asks it.
        self.moved.notify_all();
    }

    /// The reason why it makes no more progress, if it has ended.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.state.lock().ended.clone()
    }

    /// Moves the position forward to `position`.
    pub(crate) fn advance(&self, position: Position) {
        self.set(&mut self.state.lock(), position);
    }

    /// Sets the position to `position`, which may be an earlier one, and clears the end.
    pub(crate) fn restart(&self, position: Position) {
        *self.state.lock() = State { position, feed: None, ended: None };
        self.moved.notify_all();
    }

    /// Ends the progress for the reason `why`. An earlier reason is kept.
    pub(crate) fn end(&self, why: Error) {
        self.state.lock().ended.get_or_insert(why);
        self.moved.notify_all();
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
            if self.look(&mut state) >= position {
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
                return Err(self.late(state.position, position, timeout));
            }
        }
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
