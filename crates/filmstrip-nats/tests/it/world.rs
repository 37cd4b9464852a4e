//! What the tests share: a store that grows, a relay, and the comparison of the stream with the store.

use crate::servers::Servers;
use filmstrip::relay::RelayHandle;
use filmstrip::{ExpectedVersion, Filter, NewEvent, Position, RecordedEvent, Store};
use filmstrip_nats::CloudEvents;
use filmstrip_nats::async_nats::jetstream::stream::{Config, Info, Stream};
use filmstrip_nats::async_nats::jetstream::{self, Context};
use futures_util::{StreamExt, TryStreamExt};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const SUBJECT: &str = "orders.events";
pub(crate) const STREAM: &str = "orders_events";

/// A client of the servers, beside the relay.
pub(crate) struct Client {
    runtime: Runtime,
    context: Context,
}

impl Client {
    pub(crate) fn of(servers: &Servers) -> Client {
        let runtime = Runtime::new().unwrap();
        let addresses: Vec<String> = servers.addresses().split(',').map(str::to_owned).collect();
        let client = runtime.block_on(filmstrip_nats::async_nats::connect(addresses)).unwrap();
        let context = runtime.block_on(async { jetstream::new(client) });
        Client { runtime, context }
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// The stream, as soon as it has a leader.
    pub(crate) fn stream(&self) -> Stream {
        let deadline = Instant::now() + LONG;
        loop {
            match self.wait(self.context.get_stream(STREAM)) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "no stream: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn info(&self) -> Info {
        self.stream().cached_info().clone()
    }

    /// Changes the stream's settings.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Config)) {
        let mut config = self.info().config;
        change(&mut config);
        self.wait(self.context.update_stream(config)).unwrap();
    }

    /// Replaces the stream by an empty one with these settings. The server removes files after it has answered, so the
    /// first attempts may fail.
    pub(crate) fn replace(&self, config: Config) {
        self.wait(self.context.delete_stream(STREAM)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = self.wait(self.context.create_stream(config.clone())) {
            assert!(Instant::now() < deadline, "no stream: {error}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The payloads of all messages, the first one first. None may be missing.
    fn messages(&self) -> Vec<Vec<u8>> {
        let stream = self.stream();
        let last = stream.cached_info().state.last_sequence;
        let read = |sequence| {
            let stream = stream.clone();
            async move { stream.get_raw_message(sequence).await }
        };
        let messages = futures_util::stream::iter(1..=last).map(read).buffered(64);
        let messages: Vec<_> = self.wait(messages.try_collect()).unwrap();
        messages.into_iter().map(|message| message.payload.to_vec()).collect()
    }

    /// Compares the stream with the store: message n is the n-th event that the filter accepts.
    #[track_caller]
    pub(crate) fn assert_holds(&self, store: &Store, filter: Filter) {
        let events = store.read_all().filter(filter).collect().unwrap();
        let messages = self.messages();
        let position = |message: &Vec<u8>| {
            let json: serde_json::Value = serde_json::from_slice(message).unwrap();
            let text = |name: &str| json[name].as_str().unwrap().to_owned();
            (text("position"), text("id"))
        };
        let of_event = |event: &RecordedEvent| (event.position.to_string(), event.id.to_string());
        let held: Vec<_> = messages.iter().map(position).collect();
        let recorded: Vec<_> = events.iter().map(of_event).collect();
        let first = held.iter().zip(&recorded).position(|(held, recorded)| held != recorded);
        assert_eq!(first, None, "message {:?} differs", first.map(|at| at + 1));
        assert_eq!(held.len(), recorded.len());
    }
}

/// A target for these servers, which makes the stream.
pub(crate) fn target(servers: &Servers, replicas: usize) -> CloudEvents {
    CloudEvents::to(servers.addresses(), SUBJECT).replicas(replicas).create()
}

/// Appends events to a stream, one commit for each.
pub(crate) fn append(store: &Store, stream: &str, events: u32) {
    for n in 0..events {
        append_at_once(store, stream, [n]);
    }
}

/// Appends events to a stream with one commit.
pub(crate) fn append_at_once(store: &Store, stream: &str, events: impl IntoIterator<Item = u32>) {
    let events = events.into_iter().map(|n| NewEvent::json("Counted", &n).unwrap());
    store.append(stream, ExpectedVersion::Any, events).unwrap();
}

/// Waits until the relay has sent everything.
#[track_caller]
pub(crate) fn finish(store: &Store, relay: &RelayHandle) {
    if let Err(error) = relay.wait_for(store.head(), LONG) {
        panic!("{error}; {:?}", relay.status());
    }
}

/// Waits until the relay has sent everything up to `position`.
#[track_caller]
pub(crate) fn reach(relay: &RelayHandle, position: u64) {
    if let Err(error) = relay.wait_for(Position::new(position), LONG) {
        panic!("{error}; {:?}", relay.status());
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How often the kills are repeated.
pub(crate) fn rounds() -> u64 {
    std::env::var("FILMSTRIP_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"))
}

/// Milliseconds below `bound`, from a seed that is printed.
pub(crate) struct Pauses(u64);

impl Pauses {
    pub(crate) fn new() -> Pauses {
        let seed = std::env::var("FILMSTRIP_SEED").map(|seed| seed.parse().expect("a number"));
        let random = || filmstrip::uuid::Uuid::now_v7().as_u64_pair().1;
        let seed = seed.unwrap_or_else(|_| random());
        println!("FILMSTRIP_SEED={seed}");
        Pauses(seed)
    }

    /// Waits for less than `bound` milliseconds.
    pub(crate) fn wait(&mut self, bound: u64) {
        // A linear congruential generator (Knuth's MMIX); its high bits are random enough for a pause.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis((self.0 >> 33) % bound));
    }
}
