//! Writes pending changes to the view, after its readers have finished.

use crate::model::projection::apply::{Pending, being_read};
use crate::model::projection::contract::Projection;
use crate::model::projection::runner::{Interrupt, Runner, Step};
use crate::model::projection::target::LastWrite;
use crate::model::projection::trees::{MadeBy, Place, write_in_parts};
use crate::value::failpoint::failpoint;
use crate::value::limits::{CHECKPOINT_EVENTS_MAX, VIEW_READERS_WAIT_MAX};
use crate::views::changes::Change;
use crossbeam_channel::TryRecvError;
use std::time::Instant;

/// How long a write waits for readers of the view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Until there is a request, which may come from a reader that waits for the reply.
    UntilAsked,
    /// For a bounded time, because a caller waits for the write.
    ForAWhile,
}

impl<P: Projection> Runner<P> {
    /// Writes `pending`, and moves the checkpoint to `place`. A checkpoint without other changes is only written if
    /// `at_once` is set, or if many events would be read again without it.
    pub(super) fn write(&mut self, pending: Pending, place: Place, at_once: bool) -> Step {
        self.write_as(pending, place, at_once, self.waits())
    }

    /// How long a change of the served view waits.
    pub(super) fn waits(&self) -> Waits {
        match self.replay {
            // A reader of the view may wait for the replay's caller, which sends no further request.
            Some(_) if !failpoint!("projection::replay_waits_for_its_reader") => Waits::ForAWhile,
            _ => Waits::UntilAsked,
        }
    }

    pub(super) fn write_as(
        &mut self,
        pending: Pending,
        place: Place,
        at_once: bool,
        waits: Waits,
    ) -> Step {
        let ahead = place.position.get() - self.target.written.position.get();
        let moves_only = pending.is_empty();
        if !moves_only || (at_once && ahead > 0) || ahead >= CHECKPOINT_EVENTS_MAX {
            let (parks, has_rows) = (pending.parks(), !pending.rows().is_empty());
            let (made_by, store) = (MadeBy::of::<P>(), self.log.journal.store());
            let before = self.target.parked.all;
            #[cfg(feature = "erasure")]
            if pending.is_private() {
                self.trees.note_private()?;
            }
            let (changes, parked, released) = pending.into_changes(made_by, store, place, before);
            let begun = Instant::now();
            self.write_changes(changes, has_rows, waits).inspect_err(|_| {
                // The changes since the last write are lost, and their events are applied again.
                self.target.generation.place = self.target.written;
            })?;
            let ended = Instant::now();
            self.target.last_write = Some(LastWrite { ended, took: ended - begun });
            released.iter().for_each(|stream| self.target.parked.remove(stream));
            self.target.parked.add_all(parked);
            self.target.written = place;
            if parks {
                self.seen().own.parked = self.target.parked.all;
            }
        }
        self.target.generation.place = place;
        self.show();
        Ok(())
    }

    fn write_changes(&mut self, changes: Vec<Change>, has_rows: bool, waits: Waits) -> Step {
        if !self.target.building {
            // Lock out readers, so that they see all of the rows or none. Only rows have readers.
            let begun = Instant::now();
            let give_up = || self.gives_up(waits, begun);
            let served = has_rows.then(|| self.served.change(give_up)).transpose()?;
            let written = self.target.generation.tree.write(changes);
            drop(served);
            return Ok(written?);
        }
        self.target.torn = true;
        write_in_parts(&self.target.generation.tree, changes)?;
        self.target.torn = false;
        Ok(())
    }

    /// Returns the reason if a change must stop waiting for readers of the view.
    pub(super) fn gives_up(&self, waits: Waits, begun: Instant) -> Option<Interrupt> {
        if self.desk.closed.try_recv() == Err(TryRecvError::Disconnected) {
            return Some(Interrupt::Closed);
        }
        match waits {
            Waits::UntilAsked => {
                self.desk.requests.channel().try_recv().ok().map(Interrupt::Request)
            }
            Waits::ForAWhile => {
                let waited = begun.elapsed();
                let is_late = waited >= VIEW_READERS_WAIT_MAX;
                is_late.then(|| Interrupt::Fault(being_read(P::NAME, waited)))
            }
        }
    }
}
