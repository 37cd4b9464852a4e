//! What an application builds: a studio over its store.

use crate::guard::Guard;
use crate::past::{Made, Past};
use crate::router::router;
use crate::server::Server;
use crate::shared::{Bounds, Ends, Shared};
use crate::source::Source;
use crate::states::{Replayed, States};
use crate::verifying::Verifying;
use axum::Router;
use filmstrip::process::ProcessHandle;
use filmstrip::projection::ProjectionHandle;
use filmstrip::{Aggregate, Follower, Projection, Store};
use futures_util::FutureExt;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The film of a store in the browser; see the [first page](crate).
#[must_use = "a studio serves nothing before `router` or `bind`"]
pub struct Studio {
    guard: Guard,
    source: Arc<dyn Source>,
    store: Option<Store>,
    states: HashMap<&'static str, Box<dyn States>>,
    projections: BTreeMap<String, ProjectionHandle>,
    pasts: BTreeMap<&'static str, Box<dyn Past>>,
    processes: BTreeMap<String, ProcessHandle>,
    ends: Option<Ends>,
    serves_others: bool,
}

impl Studio {
    /// A studio over the store that this process has open. It holds a handle, so the store stays open until it is
    /// dropped, or [`Store::close`] is called.
    pub fn new(store: &Store) -> Studio {
        Studio { store: Some(store.clone()), ..Studio::over(Arc::new(store.clone())) }
    }

    /// A studio over a store that another process has open, or none. It reads only, and shows neither views nor what
    /// runs there.
    ///
    /// Films and lists of streams are found by the index of that process; what is asked of all events is answered from
    /// the newest ones.
    pub fn follow(follower: &Follower) -> Studio {
        Studio::over(Arc::new(follower.clone()))
    }

    fn over(source: Arc<dyn Source>) -> Studio {
        Studio {
            guard: Guard::default(),
            source,
            store: None,
            states: HashMap::new(),
            projections: BTreeMap::new(),
            pasts: BTreeMap::new(),
            processes: BTreeMap::new(),
            ends: None,
            serves_others: false,
        }
    }

    /// Shows the state of this kind of aggregate after each event, and what the event changed. The state is shown as
    /// serde writes it to JSON; what serde skips is not shown.
    ///
    /// States are computed from the events. Those of the last frames are kept, so that stepping through a long film
    /// does not replay it for each frame.
    pub fn aggregate<A: Aggregate + Serialize>(mut self) -> Studio {
        self.states.insert(A::CATEGORY, Box::new(Replayed::<A>::new()));
        self
    }

    /// Shows the rows of a projection's view, and its parked events.
    pub fn projection(mut self, handle: &ProjectionHandle) -> Studio {
        self.projections.insert(handle.name().to_owned(), handle.clone());
        self
    }

    /// Shows the view of this projection as of an earlier time, and the events that wrote a row. For that the
    /// projection is made again by `make`, and its events are applied in memory, of which at most 64 MiB are used.
    pub fn past<P: Projection>(mut self, make: impl Fn() -> P + Send + Sync + 'static) -> Studio {
        self.pasts.insert(P::NAME, Box::new(Made(make)));
        self
    }

    /// Shows what a process has parked.
    pub fn process(mut self, handle: &ProcessHandle) -> Studio {
        self.processes.insert(handle.name().to_owned(), handle.clone());
        self
    }

    /// Lets the pages act: pause, resume, rebuild, replay and discard, and verify the store. Without this, they only
    /// show. Each action is confirmed by the person, and accepted only from a page of the studio.
    pub fn allow_writes(mut self) -> Studio {
        self.guard.writes = true;
        self
    }

    /// Accepts requests whose `Host` is this name, with any port, such as `studio.example.org`. Loopback names and
    /// addresses are always accepted; all others are refused, since a page of another site can resolve its own name to
    /// this machine.
    pub fn allow_host(mut self, name: impl Into<String>) -> Studio {
        self.guard.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// Asks for this token: in the address once (`?token=`), from where it moves into a cookie, or as
    /// `Authorization: Bearer`. Only letters, digits, `-` and `_` pass unchanged through an address.
    pub fn token(mut self, token: impl Into<String>) -> Studio {
        self.guard.token = Some(token.into());
        self
    }

    /// Lets [`bind`](Studio::bind) use an address that other machines can reach. A token is asked for then, and one is
    /// made if none was set. There is no encryption: put what needs it in front.
    pub fn allow_remote(mut self) -> Studio {
        self.serves_others = true;
        self
    }

    /// Ends live events when this future does. Without it they go on for as long as their browsers stay, so that a
    /// server that waits for its connections does not end.
    pub fn live_until(mut self, ends: impl Future<Output = ()> + Send + 'static) -> Studio {
        self.ends = Some(ends.boxed().shared());
        self
    }

    /// The pages, to be mounted in an application's own router: `Router::nest("/studio", studio.router())`. The
    /// application's authentication goes around it.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let Studio { guard, source, store, states, projections, pasts, processes, ends, .. } = self;
        let (verifying, bounds) = (Verifying::default(), Bounds::default());
        router(Arc::new(Shared {
            guard,
            source,
            store,
            states,
            projections,
            pasts,
            processes,
            ends,
            verifying,
            bounds,
        }))
        .with_state(())
    }

    /// Listens for a server of the studio's own. With port 0, the system chooses one.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the address is not a loopback one, and
    /// [`allow_remote`](Studio::allow_remote) was not called; errors of listening.
    pub async fn bind(mut self, address: SocketAddr) -> io::Result<Server> {
        if !address.ip().is_loopback() {
            if !self.serves_others {
                let why = format!(
                    "{} can be reached from other machines: use a loopback address such as 127.0.0.1, or call \
                     Studio::allow_remote, which asks for a token",
                    address.ip()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            // 122 random bits.
            self.guard.token.get_or_insert_with(|| uuid::Uuid::new_v4().simple().to_string());
            self.guard.any_address = true;
        }
        let token = self.guard.token.clone();
        Server::bind(self.router(), address, token).await
    }
}
