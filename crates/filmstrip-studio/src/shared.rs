//! What all requests share: where is read, what the application registered, and the bounds.

use crate::fault::Fault;
use crate::guard::Guard;
use crate::limits::{
    HEAVY_AT_ONCE, LIVE_CLIENTS_MAX, LIVE_READS_AT_ONCE, PAGE_WAIT, PAGES_AT_ONCE,
};
use crate::past::Past;
use crate::source::Source;
use crate::states::States;
use crate::verifying::Verifying;
use axum::http::StatusCode;
use filmstrip::Store;
use filmstrip::process::ProcessHandle;
use filmstrip::projection::ProjectionHandle;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The future whose end ends live events.
pub(crate) type Ends = SharedFuture<BoxFuture<'static, ()>>;

pub(crate) struct Shared {
    pub(crate) guard: Guard,
    pub(crate) source: Arc<dyn Source>,
    /// The open store; `None` beside another process.
    pub(crate) store: Option<Store>,
    /// By category.
    pub(crate) states: HashMap<&'static str, Box<dyn States>>,
    /// By name, as the others.
    pub(crate) projections: BTreeMap<String, ProjectionHandle>,
    pub(crate) pasts: BTreeMap<&'static str, Box<dyn Past>>,
    pub(crate) processes: BTreeMap<String, ProcessHandle>,
    pub(crate) ends: Option<Ends>,
    pub(crate) verifying: Verifying,
    pub(crate) bounds: Bounds,
}

/// What is done at once.
pub(crate) struct Bounds {
    pages: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    live_reads: Arc<Semaphore>,
    pub(crate) live: Arc<Semaphore>,
}

impl Default for Bounds {
    fn default() -> Bounds {
        let places = |count| Arc::new(Semaphore::new(count));
        Bounds {
            pages: places(PAGES_AT_ONCE),
            heavy: places(HEAVY_AT_ONCE),
            live_reads: places(LIVE_READS_AT_ONCE),
            live: places(LIVE_CLIENTS_MAX),
        }
    }
}

impl Shared {
    /// Runs what reads the store on a thread for that, when there is a place.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.in_a_place(&self.bounds.pages, work).await
    }

    /// The same for what reads a large part of the store.
    pub(crate) async fn heavy<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.in_a_place(&self.bounds.heavy, work).await
    }

    /// The same for live events, which slow pages must not end.
    pub(crate) async fn live<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.in_a_place(&self.bounds.live_reads, work).await
    }

    async fn in_a_place<T: Send + 'static>(
        self: &Arc<Self>,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let place = timeout(PAGE_WAIT, Arc::clone(places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let why = "the studio is busy with other pages; try again in a moment";
            return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&shared);
            drop(place);
            done
        });
        done.await.unwrap_or_else(|_| {
            let why = "making the page has panicked: the application's own code was called for it, \
                       and its log says more";
            Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, why))
        })
    }
}
