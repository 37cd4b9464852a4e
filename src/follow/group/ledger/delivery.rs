//! Delivering events, and what comes back of each delivery: an answer, its time being over, or its consumer going away.

use super::{Late, Ledger, Nack};
use crate::follow::group::standing::{Now, Standing};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::limits::PARKED_MOVED_MAX;
use std::time::Instant;

impl Ledger {
    /// Delivers the first event that is ready: it, and the number of the attempt.
    pub(crate) fn deliver(&mut self, now: Now) -> Option<(RecordedEvent, u32)> {
        let position = self.ready.pop_first()?;
        let until = now.instant.checked_add(self.settings.redeliver_after);
        let unfinished = self.unfinished.get_mut(&position).expect("what is ready is unfinished");
        unfinished.attempts = unfinished.attempts.saturating_add(1);
        unfinished.standing = Standing::Delivered(until);
        if !unfinished.is_replay {
            self.begun.insert(position);
            self.changes.tried.insert(position);
        }
        let delivered = (unfinished.event.clone(), unfinished.attempts);
        self.timers.extend(until.map(|until| (until, position)));
        Some(delivered)
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When `expire` has something to do next.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes back what was delivered too long ago, and ends waits that are over. What is more than one commit
    /// can park is left, and its timers are due at once.
    pub(crate) fn expire(&mut self, now: Now) {
        while let Some((at, position)) = self.timers.first().copied() {
            if at > now.instant || self.moves.len() >= PARKED_MOVED_MAX {
                return;
            }
            let unfinished = self.unfinished.get(&position).expect("a timer is of one unfinished");
            match unfinished.standing {
                Standing::Delivered(_) => {
                    self.take_back(position, now, "it was not finished in time");
                }
                _ if self.settings.in_stream_order => {
                    let stream = unfinished.event.stream.clone();
                    self.stand(position, Standing::Held);
                    self.release(&stream);
                }
                _ => self.stand(position, Standing::Ready),
            }
        }
    }

    /// The consumer of this attempt could not handle the event.
    pub(crate) fn refuse(
        &mut self,
        position: u64,
        attempt: u32,
        nack: Nack,
        now: Now,
    ) -> Result<(), Late> {
        if !self.is_out(position, attempt) {
            return Err(Late);
        }
        match nack {
            Nack::Skip => drop(self.finish(position)),
            Nack::Park => self.park(position, now, "its consumer parked it"),
            Nack::Retry(_) if attempt >= self.settings.attempts_max => {
                self.park(position, now, "its consumer could not handle it");
            }
            Nack::Retry(wait) => {
                let waiting = Standing::Waiting(now.instant.checked_add(wait));
                let is_ready = wait.is_zero()
                    || (waiting.timer().is_none() && failpoint!("group::endless_wait_is_none"));
                self.stand(position, if is_ready { Standing::Ready } else { waiting });
                self.changes.tried.insert(position);
            }
        }
        Ok(())
    }

    /// The consumer of this attempt went away without an answer.
    pub(crate) fn abandon(&mut self, position: u64, attempt: u32, now: Now) {
        if self.is_out(position, attempt) {
            self.take_back(position, now, "its consumer went away without an answer");
        }
    }

    /// Whether this attempt's consumer is still to answer.
    pub(crate) fn is_out(&self, position: u64, attempt: u32) -> bool {
        self.unfinished.get(&position).is_some_and(|unfinished| {
            unfinished.attempts == attempt && matches!(unfinished.standing, Standing::Delivered(_))
        })
    }

    fn take_back(&mut self, position: u64, now: Now, why: &str) {
        match self.unfinished[&position].attempts >= self.settings.attempts_max {
            true => self.park(position, now, why),
            false => self.stand(position, Standing::Ready),
        }
    }
}
