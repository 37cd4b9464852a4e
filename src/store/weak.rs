//! A handle of a store that does not keep it open, for what the store itself runs.

use crate::log::handle::WeakLogHandle;
use crate::store::{Store, StoreParts};
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use std::sync::Arc;

/// A handle of a store that does not keep it open; see [`Store::downgrade`].
///
/// It is for what runs as long as the store: a projection, a read model, or a thread of the application's that uses
/// the store now and then. If such a thing held a [`Store`], the store would wait for it to end and it for the store,
/// and only [`close`](Store::close) would end both.
///
/// ```
/// use filmstrip::{ExpectedVersion, Filter, HandlerError, NewEvent, Projection, RecordedEvent};
/// use filmstrip::{Store, ViewWriter, WeakStore};
/// # use std::time::Duration;
///
/// /// How many events each door had when it was last opened.
/// struct Doors(WeakStore);
///
/// impl Projection for Doors {
///     const NAME: &'static str = "doors";
///     const VERSION: u32 = 1;
///
///     fn filter(&self) -> Filter {
///         Filter::category("Door").and_event_type("Opened")
///     }
///
///     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
///         let store = self.0.upgrade()?;
///         let info = store.stream_info(event.stream.clone())?;
///         Ok(view.put(event.stream.as_str(), &info.version)?)
///     }
/// }
///
/// # let directory = tempfile::tempdir()?;
/// let store = Store::open(directory.path())?;
/// let doors = store.project(Doors(store.downgrade())).start()?;
/// let opened = NewEvent::json("Opened", &())?;
/// let done = store.append("Door-1", ExpectedVersion::Any, [opened])?;
/// doors.wait_for(done.position, Duration::from_secs(5))?;
/// drop((store, doors)); // this closes the store
/// let store = Store::open(directory.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WeakStore {
    log: WeakLogHandle,
    parts: Arc<StoreParts>,
}

impl Store {
    /// Returns a handle that does not keep the store open.
    #[must_use]
    pub fn downgrade(&self) -> WeakStore {
        if failpoint!("store::keep_open_by_weak_handle") {
            std::mem::forget(self.log.clone());
        }
        WeakStore { log: self.log.downgrade(), parts: Arc::clone(&self.parts) }
    }
}

impl WeakStore {
    /// Returns a handle of the open store. Hold it only as long as it is used: if it is the last one by then, dropping
    /// it closes the store.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed); [`Forked`](crate::ErrorKind::Forked).
    pub fn upgrade(&self) -> Result<Store> {
        let log = self.log.upgrade()?;
        log.log().refuse_if_closed()?;
        Ok(Store { log, parts: Arc::clone(&self.parts) })
    }
}

impl std::fmt::Debug for WeakStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakStore")
            .field("path", &self.parts.directory.path())
            .finish_non_exhaustive()
    }
}
