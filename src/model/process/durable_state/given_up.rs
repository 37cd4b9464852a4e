//! Events that no instance is to get: they were parked alone, and skipped.
//!
//! * They are remembered as long as some instance waits from before them on, for then they are read again.

use super::DurableState;
use crate::codec::process::{StoredPosition, StoredStep, encode, given_up_key};
use crate::model::process::schedule::{Id, Schedule};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::PROCESS_PARKED_MAX;
use crate::value::position::Position;

impl DurableState {
    /// No instance is to get the events at these positions, which the cursor is past. All of them are refused if there
    /// is no room for those that may be read again.
    pub(crate) fn give_up<E>(
        &mut self,
        mut positions: Vec<Position>,
        schedule: &Schedule<E>,
    ) -> Result<()> {
        let first = schedule.first_wait();
        if !failpoint!("process::remember_all_that_is_skipped") {
            positions.retain(|position| first.is_some_and(|first| first <= *position));
        }
        let all = self.given_up.len() + positions.len();
        if all > PROCESS_PARKED_MAX && !failpoint!("process::skip_without_end") {
            let what = "what is skipped of process ".to_owned() + self.name;
            let what = what + ", and is kept for an instance that waits from before it on,";
            return Err(Error::too_large(&what, all, PROCESS_PARKED_MAX, "events"));
        }
        for position in positions {
            self.given_up.insert(position);
            if !failpoint!("process::forget_what_was_skipped") {
                let stored = encode(&StoredPosition { position: position.get() });
                self.unwritten.insert(given_up_key(self.name, position.get()), stored);
            }
        }
        Ok(())
    }

    /// Whether no instance is to get the event at `position` when it is read again: it was skipped, or it is parked
    /// alone, and comes when that is replayed.
    pub(crate) fn is_withheld(&self, position: Position, none: &Id) -> bool {
        self.given_up.contains(&position) || self.is_aside(none, StoredStep::Route(position.get()))
    }

    /// Forgets those that are not read again.
    pub(crate) fn forget_given_up<E>(&mut self, schedule: &Schedule<E>) {
        if self.given_up.is_empty() {
            return;
        }
        let over = match schedule.first_wait() {
            Some(first) => {
                let kept = self.given_up.split_off(&first);
                std::mem::replace(&mut self.given_up, kept)
            }
            None => std::mem::take(&mut self.given_up),
        };
        for position in over {
            self.unwritten.insert(given_up_key(self.name, position.get()), Vec::new());
        }
    }
}
