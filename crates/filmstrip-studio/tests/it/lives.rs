//! Live events as a client other than a browser gets them: resumed by position, bounded.

use crate::common::{Served, client};
use filmstrip::{ExpectedVersion, NewEvent, Store};
use filmstrip_studio::Studio;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

/// As many as the studio allows.
const CLIENTS_MAX: usize = 256;

fn append(store: &Store, stream: &str, events: usize) {
    let events = (0..events).map(|n| NewEvent::json("Counted", &n).unwrap());
    store.append(stream, ExpectedVersion::Any, events.collect::<Vec<_>>()).unwrap();
}

/// What comes until `done`.
async fn read(response: reqwest::Response, done: impl Fn(&str) -> bool) -> String {
    let (mut bytes, mut text) = (response.bytes_stream(), String::new());
    while !done(&text) {
        let next = timeout(Duration::from_secs(30), bytes.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing more came after {text}"));
        text.push_str(str::from_utf8(&next.expect("it goes on").unwrap()).unwrap());
    }
    text
}

/// The positions of the events in what came.
fn positions(text: &str) -> Vec<u64> {
    let events = text.split("\n\n").filter(|event| event.contains("event: recorded"));
    events
        .map(|event| crate::common::between(event, "\"position\":", ",").parse().unwrap())
        .collect()
}

async fn connect(served: &Served, path: &str, last: Option<&str>) -> reqwest::Response {
    let mut request = client().get(served.page(path));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_client_goes_on_where_it_was() {
    let store = Store::temporary().unwrap();
    append(&store, "Door-1", 300);
    append(&store, "Lamp-1", 2);
    append(&store, "Door-2", 3);
    let served = Served::new(Studio::new(&store)).await;
    let at_head =
        |text: &str| text.contains("event: head\nid: 305") || text.contains("id: 305\nevent: head");
    // Several pages, without a gap and without a duplicate.
    let all = read(connect(&served, "/live/events", Some("0")).await, at_head).await;
    assert_eq!(positions(&all), (1..=305).collect::<Vec<_>>());
    let rest = read(connect(&served, "/live/events", Some("298")).await, at_head).await;
    assert_eq!(positions(&rest), (299..=305).collect::<Vec<_>>());
    let doors =
        read(connect(&served, "/live/events?category=Door&after=299", None).await, at_head).await;
    assert_eq!(positions(&doors), [300, 303, 304, 305]);
    // What is beyond the head has not happened.
    let ahead = connect(&served, "/live/events", Some("9999")).await;
    append(&store, "Door-3", 1);
    let new = read(ahead, |text| text.contains("306")).await;
    assert_eq!(positions(&new), [306]);
    assert_eq!(connect(&served, "/live/events", Some("x")).await.status().as_u16(), 400);
    assert_eq!(connect(&served, "/live/events?category=a-b", None).await.status().as_u16(), 400);
}

#[tokio::test]
async fn a_client_that_lags_far_skips_to_the_newest_and_is_told() {
    let store = Store::temporary().unwrap();
    append(&store, "Door-1", 20_000);
    let served = Served::new(Studio::new(&store)).await;
    let text = read(connect(&served, "/live/events", Some("1000")).await, |text| {
        text.contains("event: head")
    })
    .await;
    assert!(text.contains("event: skipped\ndata: 18900"), "{}", &text[..200]);
    assert_eq!(positions(&text), (19_901..=20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn more_clients_than_are_allowed_are_refused_until_one_leaves() {
    let store = Store::temporary().unwrap();
    let served = Served::new(Studio::new(&store)).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS_MAX {
        let response = connect(&served, "/live/events", None).await;
        assert_eq!(response.status().as_u16(), 200);
        clients.push(response);
    }
    let refused = connect(&served, "/live/events", None).await;
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()),
        (503, "2")
    );
    assert_eq!(served.get("/streams").await.0, 200, "pages have places of their own");
    clients.pop();
    for _ in 0..600 {
        if connect(&served, "/live/events", None).await.status().as_u16() == 200 {
            return;
        }
        // Its place is free when the server notices that it has left: at the next keep-alive at the latest.
        append(&store, "Door-1", 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no place became free");
}

#[tokio::test]
async fn live_events_end_when_they_are_told_to_and_when_the_store_closes() {
    let store = Store::temporary().unwrap();
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    let studio = Studio::new(&store).live_until(async { drop(ends.await) });
    let (ended, closed) = (Served::new(studio).await, Served::new(Studio::new(&store)).await);
    let (first, second) =
        (connect(&ended, "/live/events", None).await, connect(&closed, "/live/events", None).await);
    end.send(()).unwrap();
    let rest = timeout(Duration::from_secs(30), first.text()).await.expect("it ends").unwrap();
    assert!(!rest.contains("event: fault"), "{rest}");
    append(&store, "Door-1", 1);
    store.close().unwrap();
    let rest = timeout(Duration::from_secs(30), second.text()).await.expect("it ends").unwrap();
    assert!(rest.contains("event: fault"), "{rest}");
}
