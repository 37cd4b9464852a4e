//! Applies a projection's events again, without its view.

use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::model::policy::{ErrorAction, OnError};
use crate::model::projection::apply::{Failure, apply, stopped_at};
use crate::model::projection::contract::Projection;
use crate::model::projection::merged::Changes;
use crate::model::projection::past::memory::ROW_OVERHEAD_BYTES;
use crate::model::projection::rows::RowSource;
use crate::value::error::{Error, Result};
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::position::Position;
use crate::value::stream::StreamId;
use crossbeam_channel::Receiver;
use std::collections::HashSet;
use std::sync::Arc;

/// A projection whose events are applied again. It keeps the store open.
pub(super) struct Fold<P> {
    projection: P,
    pub(super) filter: Filter,
    on_error: OnError,
    log: LogHandle,
    closed: Receiver<()>,
    /// The streams whose further events are not applied.
    parked: HashSet<StreamId>,
    /// The approximate memory that these take, in bytes.
    parked_bytes: usize,
    /// How many events were left out, because `apply` failed or because of an earlier event of their stream.
    pub(super) skipped: u64,
    /// Bytes that may be held in memory.
    bytes_max: usize,
}

impl<P: Projection> Fold<P> {
    pub(super) fn new(
        projection: P,
        on_error: OnError,
        log: LogHandle,
        bytes_max: usize,
    ) -> Result<Fold<P>> {
        let (filter, closed) = (projection.filter(), log.log().closing());
        filter.check()?;
        let (parked, parked_bytes, skipped) = (HashSet::new(), 0, 0);
        Ok(Fold {
            projection,
            filter,
            on_error,
            log,
            closed,
            parked,
            parked_bytes,
            skipped,
            bytes_max,
        })
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        self.log.log()
    }

    /// Resets it, to start again.
    pub(super) fn begin_again(&mut self) {
        self.parked.clear();
        (self.parked_bytes, self.skipped) = (0, 0);
    }

    /// Returns what `event` changes in the rows of `view`; `None` if [`OnError`] leaves it out.
    ///
    /// # Errors
    /// Those of `view`; `Faulted` if `apply` fails and [`OnError`] does not leave the event out.
    pub(super) fn changes(
        &mut self,
        event: &RecordedEvent,
        view: &dyn RowSource,
    ) -> Result<Option<Changes>> {
        if self.parked.contains(&event.stream) {
            self.skipped += 1;
            return Ok(None);
        }
        let (nothing, mut failures) = (Changes::new(), 0);
        let cause = loop {
            match apply(&self.projection, event, view, &nothing) {
                Ok(changes) => return Ok(Some(changes)),
                Err(Failure::View(error)) => return Err(error),
                Err(Failure::Event(cause, _)) => {
                    failures += 1;
                    let Some(delay) = self.on_error.delay_after(failures) else { break cause };
                    // Nothing is sent: it ends when the store is closed.
                    let _ = self.closed.recv_timeout(delay);
                    self.log().refuse_if_closed()?;
                }
            }
        };
        match self.on_error.then {
            ErrorAction::ParkEvent => {}
            ErrorAction::ParkStream => {
                self.parked_bytes += event.stream.as_str().len() + ROW_OVERHEAD_BYTES;
                self.parked.insert(event.stream.detached());
                self.check_bytes(0, event.position)?;
            }
            _ => return Err(stopped_at(P::NAME, event, &cause)),
        }
        self.skipped += 1;
        Ok(None)
    }

    /// Refuses to hold `bytes` of rows, up to `position`.
    pub(super) fn check_bytes(&self, bytes: usize, position: Position) -> Result<()> {
        let bytes = bytes + self.parked_bytes;
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let what =
            format!("what the view of {} takes in memory as of position {position}", P::NAME);
        Err(Error::too_large(&what, bytes, self.bytes_max, "bytes"))
    }
}
