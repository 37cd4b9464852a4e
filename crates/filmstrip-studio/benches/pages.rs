//! The figures in `docs/book/studio.md`: `cargo bench -p filmstrip-studio`. What it needs of the tests is built once
//! more.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/it/common.rs"]
mod common;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/it/browser/driver.rs"]
mod driver;

use crate::common::{Customer, Served, client};
use crate::driver::with_browser;
use filmstrip::{Commit, ExpectedVersion, Follower, NewEvent, Store, Version};
use filmstrip_studio::Studio;
use serde_json::json;
use std::time::{Duration, Instant};

const STREAMS: u64 = 40_000;
/// Events of each of the streams, and of the long one.
const SHORT: u64 = 20;
const LONG: u64 = 200_000;
const LIVE: usize = 100;

fn event(n: u64) -> NewEvent {
    let address = json!({"street": format!("{n} Mill Lane"), "city": "Bath"});
    NewEvent::json("AddressUpdated", &json!({"address": address})).unwrap()
}

/// A million events.
fn fill(store: &Store) {
    for first in (0..STREAMS).step_by(400) {
        for round in 0..SHORT {
            let append = |commit: Commit, stream| {
                let expected = ExpectedVersion::from(Version::new(round));
                commit.append(format!("Customer-{stream:05}"), expected, [event(stream)])
            };
            store.commit((first..first + 400).fold(Commit::new(), append)).unwrap();
        }
    }
    for first in (0..LONG).step_by(1_000) {
        let events: Vec<_> = (first..first + 1_000).map(event).collect();
        store.append("Customer-long", Version::new(first), events).unwrap();
    }
}

/// Milliseconds until all of a page is there, and its bytes.
async fn fetch(served: &Served, path: &str) -> (f64, usize) {
    let begun = Instant::now();
    let response = client().get(served.page(path)).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    let bytes = response.bytes().await.unwrap().len();
    (begun.elapsed().as_secs_f64() * 1_000.0, bytes)
}

/// The median and the greatest of several pages.
async fn several(served: &Served, what: &str, path: impl Fn(u64) -> String) {
    let mut met = Vec::new();
    let mut bytes = 0;
    for n in 0..100 {
        let (time, length) = fetch(served, &path(n)).await;
        met.push(time);
        bytes = bytes.max(length);
    }
    let first = met[0];
    met.sort_by(f64::total_cmp);
    println!(
        "{what}: first {first:.1} ms, median {:.1} ms, greatest {:.1} ms, {bytes} bytes",
        met[50], met[99]
    );
}

/// Bytes that this process has read, from files for the most part.
fn bytes_read() -> u64 {
    let counts = std::fs::read_to_string("/proc/self/io").unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// Bytes of memory that this process has.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    fill(&store);
    let served = Served::new(Studio::new(&store).aggregate::<Customer>()).await;
    println!("{} events", store.head());
    several(&served, "films of streams of 20", |n| format!("/film/Customer-{:05}", n * 397)).await;
    several(&served, "frames at random of 200,000", |n| {
        format!("/film/Customer-long?version={}", 1 + n * 7_919 * 7 % LONG)
    })
    .await;
    several(&served, "steps through 200,000", |n| {
        format!("/film/Customer-long?version={}", 150_000 + n)
    })
    .await;
    several(&served, "streams", |n| format!("/streams?after=Customer-{:05}", n * 391)).await;
    several(&served, "live", |_| "/live".to_owned()).await;
    several(&served, "store", |_| "/store".to_owned()).await;
    let before = bytes_read();
    fetch(&served, "/store").await;
    println!("store: {} KiB read from files", (bytes_read() - before) >> 10);
    paint(&served).await;
    memory(&store, &served).await;

    let follower = Follower::open(store.path()).unwrap();
    let beside = Served::new(Studio::follow(&follower).aggregate::<Customer>()).await;
    for path in ["/film/Customer-20000", "/film/Customer-20000?version=3", "/streams", "/store"] {
        let (time, _) = fetch(&beside, path).await;
        println!("beside another process, {path}: {time:.0} ms");
    }
}

/// What a person waits for in a browser.
async fn paint(served: &Served) {
    with_browser(async |browser| {
        let mut met = Vec::new();
        for n in 0..10 {
            browser.open(&served.page(&format!("/film/Customer-{:05}", n * 3_001))).await;
            browser.until("performance.getEntriesByName('first-contentful-paint').length").await;
            let painted =
                "return performance.getEntriesByName('first-contentful-paint')[0].startTime";
            met.push(browser.script(painted).await.as_f64().unwrap());
        }
        println!("first paint of a film in Chromium: {met:.0?} ms");
    })
    .await;
}

/// Memory before and with many live pages, while events come.
async fn memory(store: &Store, served: &Served) {
    let before = resident();
    let mut clients = Vec::new();
    for _ in 0..LIVE {
        let mut response = client().get(served.page("/live/events")).send().await.unwrap();
        clients
            .push(tokio::spawn(async move { while let Ok(Some(_)) = response.chunk().await {} }));
    }
    for n in 0..200 {
        let events: Vec<_> = (0..10).map(event).collect();
        store.append(format!("Door-{n}"), ExpectedVersion::Any, events).unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let with = resident();
    println!(
        "memory: {before:.0} MiB before, {with:.0} MiB with {LIVE} live pages and their clients"
    );
    clients.iter().for_each(tokio::task::JoinHandle::abort);
}
