//! Views of the past, and explanations of rows: the events are applied again, in memory. Nothing is written, and a
//! running projection is not involved.

mod explain;
mod fold;
pub(crate) mod memory;

use crate::log::core::Log;
use crate::log::read::selected::SelectedEvents;
use crate::model::projection::ProjectionBuilder;
use crate::model::projection::contract::{Projection, check_indexes};
use crate::model::projection::indexed::IndexRows;
use crate::model::projection::rows::{RowSource, Rows, decode};
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use chrono::{DateTime, Utc};
pub use explain::{ExplainStep, Explained, RowChange};
use fold::Fold;
use memory::MemoryRows;
use serde::de::DeserializeOwned;
use std::sync::Arc;

impl<P: Projection> ProjectionBuilder<P> {
    /// Sets how many bytes [`as_of`](ProjectionBuilder::as_of) and [`explain`](ProjectionBuilder::explain) may hold in
    /// memory: 256 MiB by default. Keys, rows and index entries count, and about 160 bytes more for each row.
    pub fn memory_bytes(mut self, bytes: usize) -> ProjectionBuilder<P> {
        self.memory_bytes = bytes;
        self
    }

    /// Returns the view as it was at `time`, with every event that was recorded at or before it. The view is computed
    /// in memory, by applying the events from the first one on. The projection need not run, and a running one is not
    /// affected.
    ///
    /// The time is the recorded time, as for [`load_as_of`](crate::Repository::load_as_of). Recorded times never
    /// decrease along positions, even if the store's clock steps back. So the view includes everything up to the last
    /// event at or before `time`, and no commit is split.
    ///
    /// The rows are those that `apply` computes today. If it fails for an event, that is treated as
    /// [`on_error`](ProjectionBuilder::on_error) says: it is retried, and then the call returns an error, or the event
    /// is left out, and with `ParkStream` also the later events of its stream.
    ///
    /// ```
    /// # use filmstrip::{ExpectedVersion, Filter, HandlerError, NewEvent, Projection};
    /// # use filmstrip::{RecordedEvent, Store, ViewWriter};
    /// # use filmstrip::testing::ManualClock;
    /// # struct Prices;
    /// # impl Projection for Prices {
    /// #     const NAME: &'static str = "prices";
    /// #     const VERSION: u32 = 1;
    /// #     fn filter(&self) -> Filter { Filter::category("Price") }
    /// #     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
    /// #         Ok(view.put(event.stream.id().unwrap_or_default(), &event.json::<u32>()?)?)
    /// #     }
    /// # }
    /// let clock = ManualClock::new("2025-03-03T09:00:00Z".parse().expect("a time"));
    /// let store = Store::builder().clock(clock.clone()).temporary()?;
    /// store.append("Price-tea", ExpectedVersion::Any, [NewEvent::json("Set", &250)?])?;
    /// clock.advance(std::time::Duration::from_secs(3_600));
    /// store.append("Price-tea", ExpectedVersion::Any, [NewEvent::json("Set", &300)?])?;
    ///
    /// let half_past_nine = "2025-03-03T09:30:00Z".parse().expect("a time");
    /// let then = store.project(Prices).as_of(half_past_nine)?;
    /// assert_eq!(then.get::<u32>("tea")?, Some(250));
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TooLarge`](crate::ErrorKind::TooLarge) if the rows need more memory than allowed;
    /// [`Faulted`](crate::ErrorKind::Faulted) if `apply` fails; errors of reading the log.
    pub fn as_of(self, time: DateTime<Utc>) -> Result<PastView> {
        self.log.log().refuse_if_closed()?;
        let position = self.log.log().position_at(Micros::of(time))?;
        self.as_of_position(Position::new(position))
    }

    /// Returns the view as it was at `position`, with every event up to it. A position within a commit splits that
    /// commit; one after the last event means the last event. See [`as_of`](ProjectionBuilder::as_of).
    ///
    /// # Errors
    /// Those of [`as_of`](ProjectionBuilder::as_of).
    pub fn as_of_position(self, position: Position) -> Result<PastView> {
        let mut fold = self.fold()?;
        let last = up_to(fold.log(), position);
        let mut rows = MemoryRows::new(P::INDEXES);
        for event in SelectedEvents::new(fold.log(), &fold.filter, last)? {
            let event = event?;
            let Some(changes) = fold.changes(&event, &rows)? else { continue };
            rows.apply(changes);
            if !failpoint!("projection::hold_any_past") {
                fold.check_bytes(rows.bytes(), event.position)?;
            }
        }
        Ok(PastView { rows: Arc::new(rows), position: last, skipped: fold.skipped })
    }

    /// Explains the row of `key`: returns the events that wrote it so far, in order, each with the row before and after
    /// it. The iterator finds them among the events that the projection's filter accepts; see [`Explained`].
    ///
    /// ```
    /// # use filmstrip::{ExpectedVersion, Filter, HandlerError, NewEvent, Projection};
    /// # use filmstrip::{RecordedEvent, Store, ViewWriter};
    /// # struct Cities;
    /// # impl Projection for Cities {
    /// #     const NAME: &'static str = "cities";
    /// #     const VERSION: u32 = 1;
    /// #     fn filter(&self) -> Filter { Filter::category("Customer") }
    /// #     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
    /// #         Ok(view.put(event.stream.as_str(), &event.json::<String>()?)?)
    /// #     }
    /// # }
    /// let store = Store::temporary()?;
    /// for (n, city) in [(1, "Bath"), (2, "York"), (1, "Boston")] {
    ///     let customer = format!("Customer-{n}");
    ///     store.append(customer, ExpectedVersion::Any, [NewEvent::json("Moved", &city)?])?;
    /// }
    /// // Why does this row say Boston?
    /// let changes: Vec<_> = store.project(Cities).explain("Customer-1")?.collect::<Result<_, _>>()?;
    /// assert_eq!(changes.len(), 2);
    /// assert_eq!(changes[1].event.position.get(), 3);
    /// assert_eq!(changes[1].before_as::<String>()?.as_deref(), Some("Bath"));
    /// assert_eq!(changes[1].after_as::<String>()?.as_deref(), Some("Boston"));
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed); errors of reading the log.
    pub fn explain(self, key: &str) -> Result<Explained<P>> {
        let fold = self.fold()?;
        let last = fold.log().head_position();
        Explained::new(fold, key, last)
    }

    fn fold(self) -> Result<Fold<P>> {
        let ProjectionBuilder { log, projection, on_error, memory_bytes, .. } = self;
        log.log().refuse_if_closed()?;
        check_indexes::<P>()?;
        Fold::new(projection, on_error, log, memory_bytes)
    }
}

/// `position`, or the head if that is before it.
fn up_to(log: &Arc<Log>, position: Position) -> Position {
    match failpoint!("projection::fold_past_the_moment") {
        true => log.head_position(),
        false => position.min(log.head_position()),
    }
}

/// A view of the past, in memory. Made by [`ProjectionBuilder::as_of`] and [`ProjectionBuilder::as_of_position`].
/// Cloning is cheap.
#[derive(Clone)]
pub struct PastView {
    rows: Arc<MemoryRows>,
    position: Position,
    skipped: u64,
}

impl PastView {
    /// Returns the position up to which it includes every event.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns how many events are left out, because `apply` failed for them or for an earlier event of their stream.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns the row of `key`, if there was one.
    ///
    /// # Errors
    /// [`Undecodable`](crate::ErrorKind::Undecodable) if the row is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.rows.row(key)?.map(|row| decode(key, &row)).transpose()
    }

    /// Returns the rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](PastView::get).
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        self.rows().prefix(prefix).collect()
    }

    /// Reads rows in the order of their keys, forwards or backwards.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&*self.rows)
    }

    /// Reads rows in the order of one of the view's [`INDEXES`](Projection::INDEXES).
    pub fn index(&self, index: &str) -> IndexRows<'_> {
        IndexRows::new(&*self.rows, index)
    }
}
