//! The relay beside raw publishes to the same servers, and its lag at half of their rate.
//!
//! `cargo bench -p filmstrip-nats --bench relay`. FILMSTRIP_SERVERS is how many servers there are (3, or 1),
//! FILMSTRIP_EVENTS how many events a round has. Both sides have 1,024 messages under way at most, of the same bytes.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement ends at the first error")]

#[path = "../tests/it/binary.rs"]
mod binary;
#[allow(dead_code, reason = "the tests stop and start servers, too")]
#[path = "../tests/it/servers.rs"]
mod servers;

use filmstrip::relay::RelayHandle;
use filmstrip::{ExpectedVersion, NewEvent, Store};
use filmstrip_nats::async_nats::jetstream::{self, context::PublishAckFuture};
use filmstrip_nats::async_nats::{HeaderMap, HeaderValue, header::NATS_EXPECTED_LAST_SEQUENCE};
use filmstrip_nats::{CloudEvents, async_nats};
use servers::Servers;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const PAYLOAD_BYTES: usize = 300;
const WINDOW: usize = 1_024;
const ROUNDS: usize = 5;
const LONG: Duration = Duration::from_secs(600);
/// How often a batch is sent where lags are measured, and how many.
const EVERY: Duration = Duration::from_millis(2);
const BATCHES: u32 = 5_000;

fn main() {
    let count = variable("FILMSTRIP_SERVERS", 3);
    let events = variable("FILMSTRIP_EVENTS", 40_000);
    let Some(servers) = Servers::start(count) else { return };
    let runtime = Runtime::new().unwrap();
    let store = filled(events);
    let (mut raws, mut relays) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turn, so that what else the machine does falls on both.
        raws.push(raw(&runtime, &servers, count, &format!("raw{round}"), events));
        relays.push(relayed(&store, &servers, count, &format!("relay{round}"), events));
        println!("round {round}: raw {:.0}/s, relay {:.0}/s", raws[round], relays[round]);
    }
    let (raw, relay) = (median(raws), median(relays));
    println!("{count} servers, {events} events of {PAYLOAD_BYTES} bytes, window {WINDOW}");
    println!("raw publishes {raw:.0}/s, relay {relay:.0}/s, ratio {:.2}", relay / raw);
    raw_lag(&runtime, &servers, count, raw / 2.0);
    lag(&servers, count, raw / 2.0);
}

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn event() -> NewEvent {
    // A text, so that its JSON has two bytes more.
    NewEvent::json("Measured", &"x".repeat(PAYLOAD_BYTES - 2)).unwrap()
}

fn filled(events: usize) -> Store {
    let store = Store::temporary().unwrap();
    for _ in 0..events / 1_000 {
        let thousand = std::iter::repeat_with(event).take(1_000);
        store.append("Measure-1", ExpectedVersion::Any, thousand).unwrap();
    }
    store
}

fn target(servers: &Servers, replicas: usize, name: &str) -> CloudEvents {
    CloudEvents::to(servers.addresses(), name).replicas(replicas).create()
}

/// Events a second of a relay that finds all of them recorded.
fn relayed(store: &Store, servers: &Servers, replicas: usize, name: &str, events: usize) -> f64 {
    // The stream is made before the time begins, as it is for the raw publishes.
    let relay = store.relay(target(servers, replicas, name)).window(WINDOW).start().unwrap();
    let begun = Instant::now();
    relay.wait_for(store.head(), LONG).unwrap();
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    relay.stop().unwrap();
    rate
}

/// Messages a second of a client that publishes without waiting for each acknowledgement.
fn raw(runtime: &Runtime, servers: &Servers, replicas: usize, name: &str, events: usize) -> f64 {
    let addresses: Vec<String> = servers.addresses().split(',').map(str::to_owned).collect();
    let payload = message();
    runtime.block_on(async {
        let client = async_nats::connect(addresses).await.unwrap();
        let context = jetstream::ContextBuilder::new().max_ack_inflight(2 * WINDOW).build(client);
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            num_replicas: replicas,
            ..jetstream::stream::Config::default()
        };
        // Servers that have just started elect a leader first.
        while let Err(error) = context.create_stream(config.clone()).await {
            println!("no stream yet: {error}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let (sender, mut acks) = tokio::sync::mpsc::channel::<PublishAckFuture>(WINDOW);
        let begun = Instant::now();
        let acknowledged = tokio::spawn(async move {
            while let Some(ack) = acks.recv().await {
                ack.await.unwrap();
            }
        });
        for sequence in 0..events {
            let mut headers = HeaderMap::new();
            headers.insert("Content-Type", "application/cloudevents+json");
            headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(sequence));
            let published = context.publish_with_headers(name.to_owned(), headers, payload.clone());
            sender.send(published.await.unwrap()).await.unwrap();
        }
        drop(sender);
        acknowledged.await.unwrap();
        events as f64 / begun.elapsed().as_secs_f64()
    })
}

/// Prints how long after it was begun a batch of raw publishes is acknowledged, at so many messages a second: what the
/// servers and the disk take of the relay's lag.
fn raw_lag(runtime: &Runtime, servers: &Servers, replicas: usize, rate: f64) {
    let addresses: Vec<String> = servers.addresses().split(',').map(str::to_owned).collect();
    let payload = message();
    let lags = runtime.block_on(async {
        let client = async_nats::connect(addresses).await.unwrap();
        let context = jetstream::ContextBuilder::new().max_ack_inflight(64 * WINDOW).build(client);
        let config = jetstream::stream::Config {
            name: "rawlag".to_owned(),
            num_replicas: replicas,
            ..jetstream::stream::Config::default()
        };
        context.create_stream(config).await.unwrap();
        let (sender, mut acks) = tokio::sync::mpsc::channel::<(Instant, PublishAckFuture)>(WINDOW);
        let acknowledged = tokio::spawn(async move {
            let mut lags = Vec::new();
            while let Some((begun, ack)) = acks.recv().await {
                ack.await.unwrap();
                lags.push(begun.elapsed());
            }
            lags
        });
        let begun = Instant::now();
        for batch in 0..BATCHES {
            tokio::time::sleep_until((begun + EVERY * batch).into()).await;
            let now = Instant::now();
            for left in (0..per_batch(rate)).rev() {
                let published = context.publish("rawlag", payload.clone()).await.unwrap();
                if left == 0 {
                    sender.send((now, published)).await.unwrap();
                }
            }
        }
        drop(sender);
        acknowledged.await.unwrap()
    });
    show(&format!("raw acknowledgements at {rate:.0} messages/s"), lags);
}

/// Events of one batch, at so many events a second.
fn per_batch(rate: f64) -> usize {
    (rate * EVERY.as_secs_f64()).round().max(1.0) as usize
}

fn show(what: &str, mut lags: Vec<Duration>) {
    lags.sort();
    let at = |percent: usize| lags[(lags.len() * percent / 100).min(lags.len() - 1)];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
}

/// The bytes of such an event as a message.
fn message() -> filmstrip::bytes::Bytes {
    let store = filled(1_000);
    let event = store.read_all().iter().unwrap().next().unwrap().unwrap();
    let source = format!("urn:uuid:{}", filmstrip::uuid::Uuid::nil());
    let mut bytes = Vec::new();
    filmstrip_cloudevents::CloudEvent::of(&event, &source).write(&mut bytes);
    bytes.into()
}

/// Prints how long after a commit the relay has confirmed its events, at so many events a second.
fn lag(servers: &Servers, replicas: usize, rate: f64) {
    let store = Store::temporary().unwrap();
    let relay = store.relay(target(servers, replicas, "lag")).window(WINDOW).start().unwrap();
    let (sender, commits) = std::sync::mpsc::channel();
    let watching = std::thread::spawn(move || lags(&relay, &commits));
    let begun = Instant::now();
    for commit in 0..BATCHES {
        std::thread::sleep((begun + EVERY * commit).saturating_duration_since(Instant::now()));
        let events = std::iter::repeat_with(event).take(per_batch(rate));
        let done = store.append("Measure-1", ExpectedVersion::Any, events).unwrap();
        sender.send((done.position, Instant::now())).unwrap();
    }
    let reached = store.head().get() as f64 / begun.elapsed().as_secs_f64();
    drop(sender);
    show(&format!("lag at {reached:.0} events/s"), watching.join().unwrap());
}

fn lags(
    relay: &RelayHandle,
    commits: &std::sync::mpsc::Receiver<(filmstrip::Position, Instant)>,
) -> Vec<Duration> {
    let wait = |(position, recorded): (filmstrip::Position, Instant)| {
        relay.wait_for(position, LONG).unwrap();
        recorded.elapsed()
    };
    commits.iter().map(wait).collect()
}
