//! Starting a relay.

use crate::log::handle::LogHandle;
use crate::log::read::options::{ReadOptions, filter_methods, stream_method};
use crate::model::policy::OnError;
use crate::model::relay::handle::RelayHandle;
use crate::model::relay::registry::Relays;
use crate::model::relay::runner::{Runner, Settings};
use crate::model::relay::status::{Shared, Shown};
use crate::model::relay::target::{RelaySource, RelayTarget};
use crate::model::request::requests;
use crate::model::worker::Worker;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::Desk;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::filter_words::as_json;
use crate::value::limits::{RELAY_WINDOW_EVENTS_DEFAULT, RELAY_WINDOW_EVENTS_MAX};
use crate::value::position::Position;
use crossbeam_channel::bounded;
use std::sync::Arc;

/// Settings for running a relay; see [`Store::relay`](crate::Store::relay).
#[must_use = "a relay begins with `start`"]
pub struct RelayBuilder<T> {
    log: LogHandle,
    relays: Arc<Relays>,
    target: T,
    options: ReadOptions,
    window: usize,
}

impl<T: RelayTarget> RelayBuilder<T> {
    pub(crate) fn new(log: LogHandle, relays: Arc<Relays>, target: T) -> RelayBuilder<T> {
        let (options, window) = (ReadOptions::everything(), RELAY_WINDOW_EVENTS_DEFAULT);
        RelayBuilder { log, relays, target, options, window }
    }

    stream_method!();
    filter_methods!();

    /// Sets how many events may be sent and not confirmed: 1 to 65,536, by default 1,024. Their payloads together also
    /// have 32 MiB at most. While there are as many, the relay reads nothing more: it slows down no writer, and takes
    /// no memory beyond that.
    pub fn window(mut self, events: usize) -> RelayBuilder<T> {
        self.window = events;
        self
    }

    /// Starts the relay, and waits for the first attempt to open its target. A target that cannot be reached is no
    /// error: the relay has begun, and tries again.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) if the target refuses the events, or holds others;
    /// [`AlreadyRunning`](ErrorKind::AlreadyRunning) if a relay to a target of this name runs;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a window that is not allowed, or a filter that cannot be used;
    /// [`Closed`](ErrorKind::Closed).
    pub fn start(self) -> Result<RelayHandle> {
        self.check()?;
        let RelayBuilder { log, relays, target, options, window } = self;
        let filter = options.filter;
        let source = RelaySource {
            store: log.log().journal.store(),
            filter: (!filter.wants_all()).then(|| as_json(&filter)),
        };
        let name = target.name();
        let (requests, asked) = requests();
        let (shared, registered) = relays.0.register(&name, |_| {
            let shown = Shown::default();
            Ok((Shared::new("relay", &name, Position::START, shown, requests), ()))
        })?;
        let closed = log.log().closing();
        let on_error = OnError::default();
        let desk = Desk { shared: Arc::clone(&shared), on_error, requests: asked, closed };
        let (begun, begins) = bounded(1);
        let settings = Settings { filter, source, window };
        let runner = Runner::new(Arc::clone(log.engine()), target, settings, desk, begun);
        Worker::start(log.log(), "filmstrip-relay", runner, Arc::clone(&shared), registered)?;
        let opened = begins.recv().unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Closed, format!("relay {name} has ended before it began")))
        });
        if let Err(refused) = opened {
            shared.ask(Ask::Stop)?;
            return Err(refused);
        }
        Ok(RelayHandle { shared, log })
    }

    fn check(&self) -> Result<()> {
        self.options.check()?;
        self.log.log().refuse_if_closed()?;
        if !(1..=RELAY_WINDOW_EVENTS_MAX).contains(&self.window) {
            let message = format!(
                "a relay's window is {} events; 1 to {RELAY_WINDOW_EVENTS_MAX} are allowed",
                self.window
            );
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}
