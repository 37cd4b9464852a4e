//! A stream of JetStream as a relay's target.

use crate::link::{Found, Link};
use crate::settings::Settings;
use async_nats::ConnectOptions;
use filmstrip::RecordedEvent;
use filmstrip::relay::{LastEvent, Receipts, RelayError, RelaySource, RelayTarget};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// How long it may take to open the stream, all requests together.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// How long the relay waits, at an event that cannot be sent, until what came before it is stored.
const SETTLE_WAIT: Duration = Duration::from_secs(2);
/// How long between two looks then.
const SETTLE_LOOK: Duration = Duration::from_millis(1);

/// A stream of NATS JetStream that gets a store's events as [CloudEvents](filmstrip_cloudevents): structured mode, in
/// JSON, all under one subject. For [`Store::relay`](filmstrip::Store::relay).
///
/// * **Each event once, in order.** Without a filter, message *n* of the stream is the event of position *n*. Each
///   message is published with the sequence that it must follow, so the stream refuses one that comes twice or out of
///   turn; and after each failure the relay asks the stream for its last message. No window of time is involved: the
///   promise holds after an outage of any length, with a filter too.
/// * **It holds as long as the stream keeps what it has acknowledged, and nobody else publishes there**: grant the
///   right to publish under the subject to this relay alone. If servers lose the end of the stream, it is sent again.
///   Another store's stream, another filter's, and a foreign last message are [refused](filmstrip::ErrorKind::Refused).
/// * **The stream is checked by its settings**, when it is opened and whenever it was changed. An error names the
///   setting, the value met and the value asked for.
///
/// What goes wrong at the servers (no connection, no leader, a full stream) is retried for as long as it takes. An
/// event that is too large for the server, a deleted stream and wrong settings stop the relay until it is
/// [resumed](filmstrip::relay::RelayHandle::resume).
pub struct CloudEvents {
    settings: Settings,
    link: Option<Box<Link>>,
    /// Whether the stream was there when it was opened last: then one that is gone was deleted.
    was_there: bool,
    /// Dropped after the link, whose tasks run on it.
    runtime: Option<Runtime>,
}

impl CloudEvents {
    /// Sends to the stream of `subject` at `servers`: addresses such as `nats://a:4222`, separated by commas. The
    /// stream's name is the subject with `_` for each `.`.
    #[must_use]
    pub fn to(servers: impl Into<String>, subject: impl Into<String>) -> CloudEvents {
        let settings = Settings::new(servers.into(), subject.into());
        CloudEvents { settings, link: None, was_there: false, runtime: None }
    }

    /// Sets the stream's name.
    #[must_use]
    pub fn stream(mut self, name: impl Into<String>) -> CloudEvents {
        self.settings.stream = name.into();
        self
    }

    /// Sets the attribute `source` of the CloudEvents, a URI reference; the default is `urn:uuid:` and the store's id.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> CloudEvents {
        self.settings.source = Some(source.into());
        self
    }

    /// Makes the stream if it does not exist: on disk, without limits, in as many [replicas](CloudEvents::replicas) as
    /// asked for, and so that no message can be deleted. One that is deleted while the relay runs is made again when
    /// the relay is resumed, and gets all events again.
    #[must_use]
    pub fn create(mut self) -> CloudEvents {
        self.settings.create = true;
        self
    }

    /// Sets how many replicas the stream must have at least; the default is 3. With 1, the loss of one server loses the
    /// stream, which the relay then fills again from the store.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> CloudEvents {
        self.settings.replicas = replicas;
        self
    }

    /// Accepts a stream whose limits remove old messages (`max_age`, or `discard` old). Its sequences are still the
    /// positions; consumers that are away for longer than the limits miss events. With a filter, the last message must
    /// stay.
    #[must_use]
    pub fn allow_expiry(mut self) -> CloudEvents {
        self.settings.allow_expiry = true;
        self
    }

    /// Sets how to connect: credentials, TLS. The relay sets the name, the time-outs and the callback for events.
    #[must_use]
    pub fn connect_with(
        mut self,
        options: impl Fn() -> ConnectOptions + Send + 'static,
    ) -> CloudEvents {
        self.settings.connect = Box::new(options);
        self
    }

    fn not_there(&mut self) -> RelayError {
        let stream = &self.settings.stream;
        let message = match std::mem::take(&mut self.was_there) {
            true if self.settings.create => format!(
                "the stream {stream} was deleted; when the relay is resumed, it is made again and gets all events"
            ),
            true => format!("the stream {stream} was deleted"),
            false => format!("there is no stream {stream}; make it, or ask for `create`"),
        };
        RelayError::refused(message)
    }
}

/// The runtime of the NATS client, which is started if it does not run.
fn started(runtime: &mut Option<Runtime>) -> Result<&Runtime, RelayError> {
    let running = match runtime.take() {
        Some(running) => running,
        None => {
            let mut builder = Builder::new_multi_thread();
            let builder = builder.worker_threads(1).thread_name("filmstrip-nats").enable_all();
            builder.build().map_err(|error| {
                RelayError::outage(format!("cannot start the thread of the NATS client: {error}"))
            })?
        }
    };
    Ok(runtime.insert(running))
}

impl RelayTarget for CloudEvents {
    fn name(&self) -> String {
        format!("nats {}", self.settings.stream)
    }

    fn open(
        &mut self,
        source: &RelaySource,
        receipts: Receipts,
    ) -> Result<Option<LastEvent>, RelayError> {
        self.link = None;
        let runtime = started(&mut self.runtime)?;
        let create = self.settings.create && !self.was_there;
        let opening = Link::open(&self.settings, source, create, receipts);
        let opened = runtime.block_on(async { tokio::time::timeout(OPEN_WAIT, opening).await });
        let opened = opened.map_err(|_| {
            let servers = &self.settings.servers;
            RelayError::outage(format!(
                "the servers at {servers} did not answer within {OPEN_WAIT:?}"
            ))
        })?;
        match opened? {
            Found::NoStream => Err(self.not_there()),
            Found::Link(link, last) => {
                (self.link, self.was_there) = (Some(link), true);
                Ok(last)
            }
        }
    }

    fn send(&mut self, events: &[RecordedEvent]) -> Result<(), RelayError> {
        let (Some(link), Some(runtime)) = (&mut self.link, &self.runtime) else {
            return Err(RelayError::outage("the stream is not open"));
        };
        let published = runtime.block_on(async {
            for event in events {
                link.publish(event).await?;
            }
            Ok(())
        });
        if let Err(RelayError::Refused(_)) = &published {
            // So the relay stops right before the event that cannot be sent, and says so.
            let deadline = Instant::now() + SETTLE_WAIT;
            while !link.in_flight.is_empty() && Instant::now() < deadline {
                std::thread::sleep(SETTLE_LOOK);
            }
        }
        published
    }
}
