//! The trait of projections, which the application implements.

use crate::model::projection::writer::ViewWriter;
use crate::value::error::HandlerError;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;

/// A durable view: rows, ordered by key, that are computed from events and survive a restart.
///
/// A projection has no other state: everything it knows is in its rows, which are updated together with its checkpoint.
/// So each event is in the view exactly once, after a crash too.
///
/// A projection that reads its store holds a [`WeakStore`](crate::WeakStore). With a [`Store`](crate::Store), or with
/// something that keeps one open, the store is closed by [`close`](crate::Store::close) alone.
///
/// ```
/// use filmstrip::{
///     ExpectedVersion, Filter, HandlerError, NewEvent, Projection, RecordedEvent, Store, ViewWriter,
/// };
/// use std::time::Duration;
///
/// struct VisitsByDoor;
///
/// impl Projection for VisitsByDoor {
///     const NAME: &'static str = "visits-by-door";
///     const VERSION: u32 = 1;
///
///     fn filter(&self) -> Filter {
///         Filter::category("Door").and_event_type("Opened")
///     }
///
///     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
///         let visits: u64 = view.get(event.stream.as_str())?.unwrap_or(0);
///         view.put(event.stream.as_str(), &(visits + 1))?;
///         Ok(())
///     }
/// }
///
/// let store = Store::temporary()?;
/// let visits = store.project(VisitsByDoor).start()?;
/// let opened = || NewEvent::json("Opened", &());
/// let done = store.append("Door-1", ExpectedVersion::Any, [opened()?, opened()?])?;
///
/// visits.wait_for(done.position, Duration::from_secs(5))?;
/// assert_eq!(visits.view().get::<u64>("Door-1")?, Some(2));
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub trait Projection: Send + Sync + 'static {
    /// The name under which its view is kept.
    const NAME: &'static str;

    /// The version of what `filter` and `apply` compute. A view of another version, higher or lower, is rebuilt. Until
    /// that is done the old view is served unchanged; then it is replaced as a whole.
    const VERSION: u32;

    /// Returns the events that it is made from.
    fn filter(&self) -> Filter;

    /// Applies an event. What it writes is kept only if it returns `Ok`. It may be called again for the same event, but
    /// never for one whose writes were kept.
    ///
    /// # Errors
    /// An error, or a panic, is handled as the projection's [`OnError`](crate::projection::OnError) says.
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError>;
}
