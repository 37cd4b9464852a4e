//! Drives the service over HTTP, as its clients do.

mod running;

use reqwest::{Method, StatusCode};
use running::{Service, etag, json};
use serde_json::{Value, json as value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn order(customer: &str, article: &str, pieces: u32) -> Value {
    value!({"customer": customer, "lines": [{"article": article, "pieces": pieces}]})
}

#[tokio::test]
async fn an_address_belongs_to_one_customer_at_a_time() {
    let directory = directory();
    let service = Service::start(directory.path());
    let alice = service.customer("alice@example.com").await;
    let taken = value!({"name": "Bob", "email": " Alice@Example.com"});
    let problem = json(service.post("/customers", &taken).await, 409).await;
    assert_eq!(problem["detail"], "another customer has this e-mail address");

    let path = format!("/customers/{alice}/email");
    let change = |tag: &str| {
        let request = service.request(Method::PUT, &path).header("if-match", tag);
        request.json(&value!({"email": "alice@example.org"})).send()
    };
    let seen = etag(&service.get(&format!("/customers/{alice}")).await);
    let changed = change(&seen).await.unwrap();
    let newer = etag(&changed);
    assert_eq!(json(changed, 200).await["email"], "alice@example.org");
    assert_ne!(newer, seen);
    // Who still has the old version is told so, and the old address is free again.
    let problem = json(change(&seen).await.unwrap(), 412).await;
    assert_eq!(problem["detail"], "the newest version is 2, not 1");
    service.customer("alice@example.com").await;
    let blind = service.request(Method::PUT, &path).json(&value!({"email": "a@example.net"}));
    json(blind.send().await.unwrap(), 428).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_with_the_status_for_it() {
    let directory = directory();
    let service = Service::start(directory.path());
    let alice = service.customer("alice@example.com").await;
    service.receive("lamp", 3).await;
    let post = async |path: &str, body: Value, status: u16| {
        let answer = service.post(path, &body).await;
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        json(answer, status).await["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(post("/orders", order("nobody", "lamp", 1), 404).await, "there is no such customer");
    assert_eq!(
        post("/orders", order(&alice, "lamp", 4), 409).await,
        "3 are left, 4 were asked for"
    );
    assert_eq!(
        post("/orders", order(&alice, "lamp", 0), 422).await,
        "at least one piece must be named"
    );
    post("/orders", value!({"customer": alice}), 422).await;
    post("/customers", value!({"name": "Bob", "email": "nothing"}), 422).await;
    post("/stock/lamp", value!("three"), 422).await;
    let long = "a".repeat(2_000);
    post(&format!("/stock/{long}"), value!({"pieces": 1}), 413).await;
    assert_eq!(service.get("/stock/none").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.get("/orders/none").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.get("/nothing").await.status(), StatusCode::NOT_FOUND);
    let huge = value!({"name": "x".repeat(100_000), "email": "b@example.com"});
    assert_eq!(service.post("/customers", &huge).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Nothing of all that was recorded.
    assert_eq!(json(service.get("/stock/lamp").await, 200).await["pieces"], 3);
}

#[tokio::test]
async fn a_request_that_is_sent_again_with_its_key_runs_once() {
    let directory = directory();
    let service = Service::start(directory.path());
    let alice = service.customer("alice@example.com").await;
    service.receive("lamp", 10).await;
    let key = "0198c0de-0000-7000-8000-000000000001";
    let send = || {
        let request = service.request(Method::POST, "/orders").header("idempotency-key", key);
        request.json(&order(&alice, "lamp", 2)).send()
    };
    let first = json(send().await.unwrap(), 201).await;
    let again = json(send().await.unwrap(), 200).await;
    assert_eq!(first, again);
    assert_eq!(json(service.get("/stock/lamp").await, 200).await["pieces"], 8);
    let bad = service.request(Method::POST, "/orders").header("idempotency-key", "1");
    json(bad.json(&order(&alice, "lamp", 2)).send().await.unwrap(), 400).await;
}

#[tokio::test]
async fn a_cancelled_order_gives_its_pieces_back_once() {
    let directory = directory();
    let service = Service::start(directory.path());
    let alice = service.customer("alice@example.com").await;
    service.receive("lamp", 5).await;
    let placed = service.post("/orders", &order(&alice, "lamp", 2)).await;
    let (tag, location) =
        (etag(&placed), placed.headers()["location"].to_str().unwrap().to_owned());
    json(placed, 201).await;
    let cancel = || service.request(Method::DELETE, &location).header("if-match", &tag).send();
    assert_eq!(json(cancel().await.unwrap(), 200).await["is_cancelled"], true);
    json(cancel().await.unwrap(), 412).await;
    assert_eq!(json(service.get("/stock/lamp").await, 200).await["pieces"], 5);
}

#[tokio::test]
async fn the_film_of_an_article_shows_its_pieces_after_each_event() {
    let directory = directory();
    let service = Service::start(directory.path());
    let alice = service.customer("alice@example.com").await;
    service.receive("lamp", 5).await;
    json(service.post("/orders", &order(&alice, "lamp", 2)).await, 201).await;
    let film = service.get("/studio/film/Stock-lamp").await;
    assert_eq!(film.status(), StatusCode::OK);
    let film = film.text().await.unwrap();
    let state = film.split("State after it").nth(1).expect("the state");
    assert!(
        state.contains("pieces") && state.contains('3') && state.contains("before: "),
        "{film}"
    );
    let elsewhere = service.request(Method::GET, "/studio/streams").header("host", "evil.example");
    assert_eq!(elsewhere.send().await.unwrap().status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn pages_go_on_and_back_over_all_orders_and_a_customers() {
    let directory = directory();
    let service = Service::start(directory.path());
    let alice = service.customer("alice@example.com").await;
    let bob = service.customer("bob@example.com").await;
    service.receive("lamp", 1_000).await;
    let mut ids = Vec::new();
    for n in 0..25 {
        let customer = if n % 5 == 4 { &bob } else { &alice };
        let placed = json(service.post("/orders", &order(customer, "lamp", 1)).await, 201).await;
        ids.push((placed["id"].as_str().unwrap().to_owned(), customer.clone()));
    }
    for path in ["/orders".to_owned(), format!("/customers/{bob}/orders")] {
        let wanted: Vec<_> = ids
            .iter()
            .filter(|(_, by)| path == "/orders" || *by == bob)
            .map(|(id, _)| id)
            .collect();
        let (mut seen, mut next) = (Vec::new(), format!("{path}?limit=4"));
        let mut pages = Vec::new();
        loop {
            let page = json(service.get(&next).await, 200).await;
            let rows = page["orders"].as_array().unwrap();
            seen.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            pages.push(page.clone());
            let Some(link) = page["next"].as_str() else { break };
            next = link.to_owned();
        }
        assert_eq!(seen.iter().collect::<Vec<_>>(), wanted);
        let back = pages[1]["previous"].as_str().unwrap();
        assert_eq!(json(service.get(back).await, 200).await["orders"], pages[0]["orders"]);
    }
    json(service.get("/orders?limt=3").await, 400).await;
}

/// Reads server-sent events until `count` have come: their ids, and their data.
async fn live(
    service: &Service,
    path: &str,
    after: Option<u64>,
    count: usize,
) -> Vec<(u64, Value)> {
    let mut request = service.request(Method::GET, path);
    if let Some(after) = after {
        request = request.header("last-event-id", after.to_string());
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut events) = (String::new(), Vec::new());
    while events.len() < count {
        let chunk = response.chunk().await.unwrap().expect("events do not end");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                events.push((id.parse().unwrap(), serde_json::from_str(data).unwrap()));
            }
            text = rest.to_owned();
        }
    }
    events
}

#[tokio::test]
async fn live_events_go_on_after_the_last_one_that_a_browser_had() {
    let directory = directory();
    let service = Service::start(directory.path());
    for n in 1..=5 {
        service.receive("lamp", n).await;
    }
    service.customer("alice@example.com").await;
    let first = live(&service, "/events", Some(0), 3).await;
    assert_eq!(first.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3]);
    let rest = live(&service, "/events?category=Stock", Some(3), 2).await;
    assert_eq!(rest.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(rest[1].1["data"], value!({"pieces": 5}));

    // Without an id, what comes from now on. The browser is connected when the answer has begun.
    let follows = async { live(&service, "/events?category=Stock", None, 1).await };
    let writes = async {
        for _ in 0..100 {
            service.receive("lamp", 1).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        events = follows => assert!(events[0].0 > 7, "{events:?}"),
        () = writes => panic!("no event came in five seconds"),
    }
    json(
        service.request(Method::GET, "/events").header("last-event-id", "x").send().await.unwrap(),
        400,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_asked_to_end_answers_what_is_under_way_and_closes() {
    let directory = directory();
    let service = Arc::new(Service::start(directory.path()));
    service.receive("lamp", 1).await;
    // A browser that follows does not hold it up.
    let browser = service.request(Method::GET, "/events").send().await.unwrap();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                let mut answered = 0;
                let body = value!({"pieces": 1});
                while let Ok(answer) =
                    service.request(Method::POST, "/stock/lamp").json(&body).send().await
                {
                    json(answer, 200).await;
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ends = service.clone();
    let has_closed = tokio::task::spawn_blocking(move || ends.terminate()).await.unwrap();
    assert!(has_closed, "it ended with an error");
    drop(browser);
    let mut answered = 1;
    for client in clients {
        answered += client.await.unwrap();
    }
    // Each was answered, or not begun: a connection that was cut in the middle would have one more piece.
    let service = Service::start(directory.path());
    assert_eq!(json(service.get("/stock/lamp").await, 200).await["pieces"], answered);
}

#[tokio::test]
async fn an_operator_sees_health_and_metrics_and_whose_request_an_event_came_from() {
    let directory = directory();
    let service = Service::start(directory.path());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let sent = service
        .request(Method::POST, "/stock/lamp")
        .headers(
            [("traceparent", parent), ("x-user", "carol")]
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect(),
        )
        .json(&value!({"pieces": 1}));
    json(sent.send().await.unwrap(), 200).await;
    assert_eq!(service.get("/health").await.status(), StatusCode::OK);
    let metrics = service.get("/metrics").await;
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = metrics.text().await.unwrap();
    for line in [
        "http_requests_total{method=\"POST\",route=\"/stock/{article}\",status=\"200\"} 1",
        "# TYPE filmstrip_commits_total counter",
        "filmstrip_follower_running{store=\"shop\",kind=\"projection\",name=\"orders\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(service.terminate());
    let store = filmstrip::Store::open(directory.path()).unwrap();
    let event = &store.read_all().collect().unwrap()[0];
    assert_eq!(event.metadata.user.as_deref(), Some("carol"));
    assert_eq!(event.metadata.entries["traceparent"], parent);
    let trace = event.metadata.correlation_id.map(|id| id.simple().to_string());
    assert_eq!(trace.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
}

/// Rounds of the test below.
fn rounds() -> usize {
    std::env::var("FILMSTRIP_KILLS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

/// Clients place orders while the service is killed. Each order that was acknowledged is there afterwards, once, in the
/// log and in the view, and the stock fits all orders that are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_order_is_lost_when_the_service_is_killed_under_load() {
    const CLIENTS: usize = 32;
    const PIECES: u32 = 1_000_000;
    let directory = directory();
    let service = Service::start(directory.path());
    let alice = service.customer("alice@example.com").await;
    service.receive("lamp", PIECES).await;
    service.kill();
    let mut acknowledged = HashSet::new();
    for round in 1..=rounds() {
        let service = Arc::new(Service::start(directory.path()));
        let is_over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (service, alice, is_over) = (service.clone(), alice.clone(), is_over.clone());
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let request = service.request(Method::POST, "/orders");
                        let answer = request.json(&order(&alice, "lamp", 1)).send().await;
                        let Ok(answer) = answer else { break };
                        if answer.status() != StatusCode::CREATED {
                            break;
                        }
                        // The status is the acknowledgement: the body may be cut off.
                        let place = answer.headers()["location"].to_str().unwrap();
                        mine.push(place.strip_prefix("/orders/").unwrap().to_owned());
                    }
                    mine
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200 + 37 * (round as u64 % 17))).await;
        service.kill();
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            acknowledged.extend(client.await.unwrap());
        }
    }
    assert!(!acknowledged.is_empty());
    let service = Service::start(directory.path());
    // An order is answered when the view holds it, and with it all those before.
    json(service.post("/orders", &order(&alice, "lamp", 1)).await, 201).await;
    let mut found: HashMap<String, usize> = HashMap::new();
    let mut next = Some("/orders".to_owned());
    while let Some(path) = next {
        let page = json(service.get(&path).await, 200).await;
        for row in page["orders"].as_array().unwrap() {
            *found.entry(row["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        next = page["next"].as_str().map(str::to_owned);
    }
    let lost: Vec<_> = acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
    assert!(lost.is_empty(), "of {} acknowledged orders, {lost:?} are lost", acknowledged.len());
    assert!(found.values().all(|count| *count == 1));
    let left = json(service.get("/stock/lamp").await, 200).await["pieces"].as_u64().unwrap();
    assert_eq!(left, u64::from(PIECES) - found.len() as u64);
    println!("figures: {} kills, {} orders acknowledged, none lost", rounds(), acknowledged.len());
}
