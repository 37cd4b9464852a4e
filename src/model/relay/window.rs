//! The events that a relay has taken from the log and that are not confirmed.

use crate::follow::feed::Batch;
use crate::value::event::RecordedEvent;
use crate::value::limits::RELAY_WINDOW_BYTES_MAX;
use crate::value::position::Position;
use std::collections::VecDeque;
use std::time::Instant;

pub(super) struct Window {
    events_max: usize,
    /// Events of one batch that are not sent yet.
    unsent: std::vec::IntoIter<RecordedEvent>,
    /// The position and the bytes of each event that is sent and not confirmed.
    in_flight: VecDeque<(Position, usize)>,
    bytes: usize,
    /// Everything up to here was taken from the log.
    taken: Position,
    /// When there was nothing in flight last, or something was confirmed.
    moved: Instant,
}

impl Window {
    /// A window of at most `events_max` events in flight that begins after `position`.
    pub(super) fn new(events_max: usize, position: Position) -> Window {
        let (unsent, in_flight) = (Vec::new().into_iter(), VecDeque::new());
        Window { events_max, unsent, in_flight, bytes: 0, taken: position, moved: Instant::now() }
    }

    /// Takes a batch. The one before must be sent.
    pub(super) fn take(&mut self, batch: Batch) {
        debug_assert!(self.is_all_sent(), "a batch is taken when the one before is sent");
        (self.unsent, self.taken) = (batch.events.into_iter(), batch.until);
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.unsent.as_slice().is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The unsent events for which there is room. One that is larger than the room for all is let through alone.
    pub(super) fn sendable(&self) -> &[RecordedEvent] {
        let (mut count, mut bytes) = (0, self.bytes);
        for event in self.unsent.as_slice() {
            let sent = self.in_flight.len() + count;
            bytes += event.payload.len();
            if sent >= self.events_max || (sent > 0 && bytes > RELAY_WINDOW_BYTES_MAX) {
                break;
            }
            count += 1;
        }
        &self.unsent.as_slice()[..count]
    }

    /// Counts the next `count` events as sent.
    pub(super) fn sent(&mut self, count: usize) {
        if self.in_flight.is_empty() {
            self.moved = Instant::now();
        }
        for event in self.unsent.by_ref().take(count) {
            self.bytes += event.payload.len();
            self.in_flight.push_back((event.position, event.payload.len()));
        }
    }

    /// Counts what was sent up to `position` as confirmed; false if all of it was before.
    pub(super) fn confirm(&mut self, position: Position) -> bool {
        let before = self.in_flight.len();
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(sent, _)| *sent <= position) {
            self.bytes -= bytes;
        }
        let is_moved = self.in_flight.len() < before;
        if is_moved {
            self.moved = Instant::now();
        }
        is_moved
    }

    /// Since when it waits for a confirmation, if it does.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        (!self.in_flight.is_empty()).then_some(self.moved)
    }

    /// The position up to which everything is confirmed, or not wanted.
    pub(super) fn position(&self) -> Position {
        let unsent = self.unsent.as_slice().first().map(|event| event.position);
        match self.in_flight.front().map(|(sent, _)| *sent).or(unsent) {
            Some(first) => Position::new(first.get() - 1),
            None => self.taken,
        }
    }
}
