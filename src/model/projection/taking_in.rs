//! Takes in the events of a batch: what they change is held until it is written.

use crate::follow::feed::Batch;
use crate::model::policy::ErrorAction;
use crate::model::projection::apply::{Failure, Pending, apply, stopped_at};
use crate::model::projection::contract::Projection;
use crate::model::projection::runner::{Interrupt, Runner, Step};
use crate::model::projection::target::LastWrite;
use crate::model::projection::trees::Place;
use crate::model::worker::Work;
use crate::telemetry::context::{self, Handling};
use crate::telemetry::spans::enter_span;
#[cfg(feature = "erasure")]
use crate::value::error::ErrorKind;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::limits::VIEW_HELD_MAX;
use crate::value::position::Position;
use crate::value::stream::StreamId;

impl<P: Projection> Runner<P> {
    /// Takes in the events of `batch`; `is_behind` says that the next batch is there already.
    pub(super) fn take_in(&mut self, batch: &Batch, is_behind: bool) -> Step {
        let span = enter_span!(
            DEBUG,
            "project",
            messaging.system = "filmstrip",
            messaging.operation.r#type = "process",
            messaging.consumer.group.name = P::NAME,
            messaging.batch.message_count = batch.events.len(),
            filmstrip.position = batch.until.get(),
        );
        if span.is_on() {
            context::link_each(self.log.observers.traces(), &span, &batch.events);
        }
        let mut pending = std::mem::take(&mut self.target.pending);
        let mut frames = batch.frames.iter().map(|(last, _)| *last).peekable();
        for event in &batch.events {
            let mut between = None;
            while let Some(last) = frames.next_if(|last| *last < event.position) {
                between = Some(last);
            }
            if let Some(last) = between.filter(|last| self.target.is_enough(&pending, *last)) {
                self.write(std::mem::take(&mut pending), self.place_in(batch, last), true)?;
            }
            if let Err(interrupt) = self.take_in_event(event, batch, &mut pending) {
                let before = match failpoint!("projection::drop_half_taken_batch") {
                    true => self.place_in(batch, batch.until),
                    false => self.place_in(batch, Position::new(event.position.get() - 1)),
                };
                return Err(interrupt.after(self.write(pending, before, true)));
            }
            if self.target.is_too_much(&pending, event.position) {
                let pending = std::mem::take(&mut pending);
                let place = self.place_in(batch, event.position);
                self.write(pending, place, true)?;
            }
        }
        let until = self.place_in(batch, batch.until);
        if !self.can_hold(&pending, until.position, is_behind) {
            return self.write(pending, until, false);
        }
        self.target.pending = pending;
        self.target.generation.place = until;
        if self.target.building {
            self.show();
        }
        Ok(())
    }

    /// Whether `pending`, which reaches up to `position`, may wait for the next batch. Of a view that is served it does
    /// if the view lags behind anyway, for as long as the last write has taken: so at most half of the time goes
    /// into writing, and a row that changes often is written once for the events of several batches.
    fn can_hold(&self, pending: &Pending, position: Position, is_behind: bool) -> bool {
        if pending.is_empty() || pending.parks() || self.target.building {
            return !pending.is_empty() && !pending.parks();
        }
        let is_soon = |last: LastWrite| last.ended.elapsed() < last.took.min(VIEW_HELD_MAX);
        is_behind
            && !failpoint!("projection::write_each_batch")
            && self.target.last_write.is_some_and(is_soon)
            && !self.target.is_enough(pending, position)
    }

    /// The place of `position`, which is in `batch` or before it.
    fn place_in(&self, batch: &Batch, position: Position) -> Place {
        match batch.chain_at(position) {
            Some(chain) if position > self.position() => Place { position, chain },
            _ => self.place(),
        }
    }

    fn take_in_event(
        &mut self,
        event: &RecordedEvent,
        batch: &Batch,
        pending: &mut Pending,
    ) -> Step {
        let _handling = Handling::begin(event);
        #[cfg(feature = "erasure")]
        pending.note_private(event);
        let parks_streams = self.desk.on_error.then == ErrorAction::ParkStream;
        if parks_streams && self.is_parked(&event.stream, pending) {
            pending.park(event, String::new(), 0, self.now());
            if let Some(replay) = &mut self.replay {
                replay.more_wait = true;
            }
            return Ok(());
        }
        let mut failures = 0;
        loop {
            let tree = &*self.target.generation.tree;
            let cause = match apply(&self.projection, event, tree, pending.rows()) {
                Ok(changes) => {
                    pending.take(changes);
                    return Ok(());
                }
                Err(Failure::View(error)) => return Err(error.into()),
                // Nothing is wrong with the event.
                #[cfg(feature = "erasure")]
                Err(Failure::Event(_, Some(error)))
                    if error.kind() == ErrorKind::KeysUnavailable =>
                {
                    return Err(error.into());
                }
                Err(Failure::Event(cause, _)) => cause,
            };
            failures += 1;
            match (self.desk.on_error.delay_after(failures), self.desk.on_error.then) {
                (Some(delay), _) => {
                    // Readers can see the changes of earlier events meanwhile.
                    let before = self.place_in(batch, Position::new(event.position.get() - 1));
                    if !failpoint!("projection::hide_what_came_before") {
                        self.write(std::mem::take(pending), before, true)?;
                        #[cfg(feature = "erasure")]
                        pending.note_private(event);
                    }
                    self.desk.shared.retrying(described(event), failures, cause);
                    if let Some(interrupt) = self.wait(Some(delay)) {
                        return Err(interrupt);
                    }
                }
                (None, ErrorAction::ParkEvent | ErrorAction::ParkStream) => {
                    let (projection, position) = (P::NAME, event.position);
                    tracing::warn!(projection, %position, cause, "an event was parked");
                    pending.park(event, cause, failures, self.now());
                    return Ok(());
                }
                (None, _) => {
                    let error = stopped_at(P::NAME, event, &cause);
                    return Err(Interrupt::Fault(error));
                }
            }
        }
    }

    fn is_parked(&self, stream: &StreamId, pending: &Pending) -> bool {
        self.target.parked.has(stream) || pending.parks_of(stream)
    }
}

/// Describes an event in the status.
fn described(event: &RecordedEvent) -> String {
    let RecordedEvent { position, event_type, stream, .. } = event;
    format!("position {position}, event {event_type} of {stream}")
}
