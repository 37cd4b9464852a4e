//! The trait of projections, which the application implements.

use crate::model::projection::writer::ViewWriter;
use crate::value::error::{Error, HandlerError, Result};
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::limits::{VIEW_INDEX_NAME_BYTES_MAX, VIEW_INDEXES_MAX};
use crate::value::text::has_control;

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

    /// The names of the view's indexes, by whose secondary keys its rows are listed: see
    /// [`ViewWriter::put_indexed`]. At most 16, each with at most 32 bytes of UTF-8 without control characters. A view
    /// that was stored with other indexes, or with none, is rebuilt as one of another version is.
    const INDEXES: &'static [&'static str] = &[];

    /// Returns the events that it is made from.
    fn filter(&self) -> Filter;

    /// Applies an event. What it writes is kept only if it returns `Ok`. It may be called again for the same event, but
    /// never for one whose writes were kept.
    ///
    /// # Errors
    /// An error, or a panic, is handled as the projection's [`OnError`](crate::projection::OnError) says.
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError>;
}

/// Refuses indexes that no view can have.
pub(crate) fn check_indexes<P: Projection>() -> Result<()> {
    let projection = P::NAME;
    if P::INDEXES.len() > VIEW_INDEXES_MAX {
        let what = format!("the list of indexes of projection {projection}");
        return Err(Error::too_large(&what, P::INDEXES.len(), VIEW_INDEXES_MAX, "names"));
    }
    for (n, name) in P::INDEXES.iter().enumerate() {
        if name.len() > VIEW_INDEX_NAME_BYTES_MAX {
            let what = format!("the name {name:?} of an index");
            return Err(Error::too_large(&what, name.len(), VIEW_INDEX_NAME_BYTES_MAX, "bytes"));
        }
        let fault = match () {
            () if name.is_empty() => "empty",
            () if has_control(name) => "has a control character",
            () if P::INDEXES.iter().take(n).any(|other| other == name) => "is there twice",
            () => continue,
        };
        let message = format!("projection {projection}: the name {name:?} of an index: {fault}");
        return Err(Error::invalid(message));
    }
    Ok(())
}
