//! How the store grew and which streams are the largest, from bounded work.

use crate::common::{Served, between, text};
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::replica::StoreDirectory;
use filmstrip::testing::ManualClock;
use filmstrip::{ExpectedVersion, Follower, NewEvent, Store};
use filmstrip_studio::Studio;
use std::path::Path;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn start() -> DateTime<Utc> {
    "2026-03-02T09:00:00Z".parse().unwrap()
}

/// `count` events, of which the stream of each is chosen by its number. Commits are a minute apart.
fn fill(store: &Store, clock: &ManualClock, count: u64, stream: impl Fn(u64) -> String) {
    for number in 0..count {
        let event = NewEvent::json("Written", &number).unwrap();
        store.append(stream(number), ExpectedVersion::Any, [event]).unwrap();
        clock.advance(Duration::from_secs(60));
    }
}

/// The names and sizes in the list of the largest streams.
fn largest(html: &str) -> Vec<String> {
    let list = between(html, "id=\"largest\"", "</section>");
    let rows = between(list, "<tbody>", "</tbody>").split("</tr>");
    rows.map(text).filter(|row| !row.is_empty()).collect()
}

/// The points of the line of events, and of that of bytes.
fn lines(html: &str) -> Vec<Vec<(u64, u64)>> {
    let point = |point: &str| {
        let (x, y) = point.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    let lines = html.split("<polyline points=\"").skip(1);
    lines.map(|line| line.split('"').next().unwrap().split(' ').map(point).collect()).collect()
}

#[tokio::test]
async fn a_short_log_is_looked_at_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(start());
    let store = Store::builder().clock(clock.clone()).open(directory.path()).unwrap();
    fill(&store, &clock, 30, |number| format!("Door-{}", number % 4 * (number % 3)));
    clock.advance(9 * DAY);
    fill(&store, &clock, 10, |_| "Lamp-1".to_owned());
    let follower = Follower::open(store.path()).unwrap();
    for studio in [Studio::new(&store), Studio::follow(&follower)] {
        let (status, html) = Served::new(studio).await.get("/store").await;
        assert_eq!(status, 200);
        let expected = ["Door-0 15", "Lamp-1 10", "Door-2 5", "Door-1 3", "Door-3 3"];
        assert_eq!(largest(&html)[..3], expected[..3], "{html}");
        let shown = text(&html);
        assert!(!shown.contains("spread over the log") && !shown.contains("newest"), "{shown}");
        assert!(shown.contains("40 events") && shown.contains("of journal"), "{shown}");
        assert!(shown.contains("2026-03-02 09:00:00 UTC"), "{shown}");
        assert!(shown.contains(&store.path().display().to_string()), "{shown}");
        let lines = lines(&html);
        assert_eq!(lines.len(), 2, "events and bytes");
        for line in &lines {
            assert_eq!((line[0], *line.last().unwrap()), ((0, 200), (1_000, 2)));
            assert!(line.is_sorted_by(|a, b| a.0 <= b.0 && a.1 >= b.1), "{line:?}");
            // Nothing was recorded for nine days, from the 30th event to the 31st.
            let pause = line.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
            assert!(pause > 980, "{line:?}");
        }
    }
}

/// Two large streams among 2,000 small ones, and the work is that of 130 events.
#[tokio::test]
async fn of_a_long_log_some_events_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for round in 0..100u64 {
        let commit = (0..20).fold(filmstrip::Commit::new(), |commit, number| {
            let small = NewEvent::bytes("Written", "");
            commit.append(format!("Small-{}", 20 * round + number), ExpectedVersion::Any, [small])
        });
        let events = |count| (0..count).map(|_| NewEvent::bytes("Written", "")).collect::<Vec<_>>();
        let commit = commit.append("Large-1", ExpectedVersion::Any, events(40));
        store.commit(commit.append("Large-2", ExpectedVersion::Any, events(15))).unwrap();
    }
    let served = Served::new(Studio::new(&store)).await;
    let (_, html) = served.get("/store").await;
    assert_eq!(largest(&html), ["Large-1 4,000", "Large-2 1,500"]);
    assert!(text(&html).contains("spread over the log"), "{html}");
    assert!(html.len() < 16 << 10, "{} bytes", html.len());
    for line in lines(&html) {
        assert!((100..=131).contains(&line.len()), "{} points", line.len());
    }
    let rows = between(&html, "<details>", "</details>").matches("<tr>").count();
    assert!((2..=9).contains(&rows), "{rows} rows, with their heading");
}

#[tokio::test]
async fn an_empty_store_has_not_grown() {
    let store = Store::temporary().unwrap();
    let (status, html) = Served::new(Studio::new(&store)).await.get("/store").await;
    assert_eq!(status, 200);
    assert!(text(&html).contains("Growth Nothing was recorded yet."), "{html}");
}

#[tokio::test]
async fn a_replica_is_shown_as_one_with_its_lag() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["source", "copy"].map(|name| directory.path().join(name));
    let store = Store::open(&path).unwrap();
    let opened = NewEvent::json("Opened", &()).unwrap();
    let head = store.append("Door-1", ExpectedVersion::Any, [opened]).unwrap().position;
    let replica = Store::builder().replica(StoreDirectory::at(&path)).open(&copy).unwrap();
    replica.wait_for(head, Duration::from_secs(60)).unwrap();
    let shown = |store: Store| async move {
        text(&Served::new(Studio::new(&store)).await.get("/store").await.1)
    };
    let html = shown(replica.clone()).await;
    assert!(html.contains("events behind 0") && html.contains("frames taken 1"), "{html}");
    assert!(!shown(store).await.contains("events behind"));
    replica.promote().unwrap();
    let html = shown(replica).await;
    assert!(html.contains("accepts commits") && !html.contains("events behind"), "{html}");
}

/// The page on which a person looks for the damage.
#[tokio::test]
async fn damage_hides_only_what_it_damages() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let marked = NewEvent::json("Opened", &"a mark in the payload").unwrap();
    store.append("Door-1", ExpectedVersion::Any, [marked]).unwrap();
    // Until the first event is in the index, so that it is read from the disk.
    let large = vec![0; 256 << 10];
    while store.stats().unwrap().index.unindexed_events >= store.head().get() {
        let large = NewEvent::bytes("Filled", large.clone());
        store.append("Door-2", ExpectedVersion::Any, [large]).unwrap();
    }
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    damage(&directory.path().join("journal/00000000000000000001"));
    let (status, html) = Served::new(Studio::new(&store)).await.get("/store").await;
    assert_eq!(status, 200);
    let shown = text(&html);
    assert!(shown.contains("accepts commits") && shown.contains("00000000000000000001"), "{shown}");
}

fn damage(segment: &Path) {
    let mut bytes = std::fs::read(segment).unwrap();
    let mark = bytes.windows(6).position(|at| at == b"a mark").unwrap();
    bytes[mark] ^= 1;
    std::fs::write(segment, bytes).unwrap();
}
