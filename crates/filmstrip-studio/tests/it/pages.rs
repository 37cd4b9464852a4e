//! What pages say.

use crate::common::{
    ByCity, Customer, Served, Shop, Welcome, address, between, client, shop, text,
};
use filmstrip::group::Nack;
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{ExpectedVersion, Follower, Metadata, NewEvent, Store};
use filmstrip_studio::Studio;
use std::time::Duration;

/// Waits until it is so, for a minute at most.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it has not become so within a minute");
}

#[tokio::test]
async fn a_frame_shows_its_event_and_what_it_changed() {
    let Shop { store, .. } = shop();
    let served = Served::new(Studio::new(&store).aggregate::<Customer>()).await;
    let (status, html) = served.get("/film/Customer-1001?version=6").await;
    assert_eq!(status, 200);
    let shown = text(&html);
    for part in
        ["AddressUpdated", "3 Harbour Street", "version 6", "8 events", "6 of 8", "user alice"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let state = text(between(&html, "State after it", "</section>"));
    assert!(state.contains("~ changed city Boston before: Bath"), "{state}");
    assert!(state.contains("name Alice Hart") && !state.contains("changed name"), "{state}");
    assert_eq!(html.matches("class=\"cell\"").count(), 8);

    let (_, first) = served.get("/film/Customer-1001?version=1").await;
    assert!(
        text(between(&first, "State after it", "</section>")).contains("+ added name Alice Hart")
    );
    let (_, last) = served.get("/film/Customer-1001").await;
    assert!(text(&last).contains("8 of 8"));
    for wrong in ["0", "9", "-1", "x", "18446744073709551616"] {
        let (status, html) = served.get(&format!("/film/Customer-1001?version={wrong}")).await;
        assert_eq!(status, 404, "{wrong}");
        assert!(text(&html).contains("has the versions 1 to 8"), "{html}");
        assert!(html.contains("href=\"/film/Customer-1001\""), "a way on: {html}");
    }
    assert_eq!(served.get("/film/Customer-none").await.0, 404);
    assert_eq!(served.get("/film/%24own").await.0, 400);
}

#[tokio::test]
async fn a_frame_is_found_by_time_id_and_position() {
    let Shop { store, counted, .. } = shop();
    let served = Served::new(Studio::new(&store)).await;
    let leads_to = async |path: String| {
        let response = client().get(served.page(&path)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 303, "{path}");
        response.headers()["location"].to_str().unwrap().to_owned()
    };
    let third = "/film/Customer-1001?version=3";
    assert_eq!(leads_to("/film/Customer-1001?at=2026-03-04T00:00".into()).await, third);
    assert_eq!(leads_to("/film/Customer-1001?at=2026-03-04T00:00:00Z".into()).await, third);
    assert_eq!(leads_to(format!("/go?q={counted}")).await, "/film/Customer-1001?version=4");
    assert_eq!(leads_to("/go?q=3".into()).await, third);
    assert_eq!(leads_to("/go?q=Customer-1001".into()).await, "/film/Customer-1001");
    assert_eq!(leads_to("/go?q=Custo".into()).await, "/streams?prefix=Custo");
    assert_eq!(served.get("/film/Customer-1001?at=2020-01-01T00:00").await.0, 404);
    assert_eq!(served.get("/film/Customer-1001?at=yesterday").await.0, 400);
    assert_eq!(served.get("/go?q=999").await.0, 404);
    assert_eq!(served.get(&format!("/go?q={}", filmstrip::uuid::Uuid::nil())).await.0, 404);
}

/// Every frame of a long stream has its own state, in whatever order they are looked at.
#[tokio::test]
async fn states_are_right_in_any_order() {
    let store = Store::temporary().unwrap();
    let events = (0..40_000).map(|n| {
        let data = serde_json::json!({"order": n.to_string()});
        NewEvent::json("OrderCounted", &data).unwrap()
    });
    store.append("Customer-1", ExpectedVersion::NoStream, events.collect::<Vec<_>>()).unwrap();
    let served = Served::new(Studio::new(&store).aggregate::<Customer>()).await;
    for version in [40_000, 1, 20_000, 19_999, 20_001, 39_999, 2, 16_384, 16_385, 40_000] {
        let (_, html) = served.get(&format!("/film/Customer-1?version={version}")).await;
        let state = text(between(&html, "State after it", "</section>"));
        assert!(state.contains(&format!("orders {version}")), "{version}: {state}");
        assert!(html.len() < 60_000, "{} bytes", html.len());
        assert!(html.matches("class=\"cell\"").count() <= 25);
    }
}

#[tokio::test]
async fn causes_and_effects_are_shown_across_steps() {
    let Shop { store, registered, counted, .. } = shop();
    let served = Served::new(Studio::new(&store)).await;
    let (_, html) = served.get(&format!("/why/{counted}")).await;
    let tree = between(&html, "<ol class=\"tree\">", "</ol>");
    let (cause, this, effect) =
        (tree.find("CustomerRegistered"), tree.find("OrderCounted"), tree.find("Tagged"));
    assert!(cause.unwrap() < this.unwrap() && this.unwrap() < effect.unwrap(), "{tree}");
    assert!(
        tree.contains("d0 cause") && tree.contains("d1 this") && tree.contains("d2 effect"),
        "{tree}"
    );
    let (_, html) = served.get(&format!("/why/{registered}")).await;
    assert!(between(&html, "<ol class=\"tree\">", "</ol>").contains("d2 effect"));
    assert_eq!(served.get("/why/x").await.0, 400);
}

#[tokio::test]
async fn streams_are_listed_by_page_prefix_and_category() {
    let Shop { store, .. } = shop();
    for n in 0..120 {
        let event = NewEvent::json("Placed", &n).unwrap();
        store.append(format!("Order-{n:03}"), ExpectedVersion::NoStream, [event]).unwrap();
    }
    let served = Served::new(Studio::new(&store)).await;
    let (_, all) = served.get("/streams").await;
    let categories = text(between(&all, "aria-label=\"Categories\"", "</nav>"));
    assert!(categories.contains("All Customer Order"), "{categories}");
    let list = |html: &str| between(html, "<table class=\"streams\">", "</table>").to_owned();
    let (_, orders) = served.get("/streams?category=Order").await;
    assert!(list(&orders).contains("Order-049") && !list(&orders).contains("Order-050"));
    assert!(orders.contains("after=Order-049"), "{orders}");
    let (_, last) = served.get("/streams?category=Order&after=Order-099").await;
    assert!(list(&last).contains("Order-119") && !last.contains("The next"));
    let (_, found) = served.get("/streams?prefix=Customer-100").await;
    assert_eq!(list(&found).matches("<tr>").count(), 4);
    assert!(
        text(&served.get("/streams?prefix=Zebra").await.1).contains("No stream has such a name")
    );
    assert_eq!(served.get("/streams?category=Order-1").await.0, 400);
}

#[tokio::test]
async fn a_view_is_shown_now_and_as_it_was_and_its_rows_are_explained() {
    let Shop { store, .. } = shop();
    let by_city = store.project(ByCity).start().unwrap();
    by_city.wait_for(store.head(), Duration::from_secs(10)).unwrap();
    let served = Served::new(Studio::new(&store).projection(&by_city).past(|| ByCity)).await;
    assert!(text(&served.get("/views").await.1).contains("by_city up to 12"));
    let row = |html: &str| text(html.split_once("Customer-1001").unwrap().1);
    assert!(row(&served.get("/views/by_city").await.1).contains("city Boston"));
    assert!(row(&served.get("/views/by_city?at=2026-03-20T00:00").await.1).contains("city Bath"));
    let (_, html) = served.get("/views/by_city?prefix=Customer-1002").await;
    assert!(!html.contains("Customer-1001") && text(&html).contains("Köln"));
    let (_, why) = served.get("/views/by_city/row?key=Customer-1001").await;
    let why = text(&why);
    assert!(why.contains("Bath") && why.contains("~ changed city Boston before: Bath"), "{why}");
    assert_eq!(served.get("/views/other").await.0, 404);
    assert_eq!(served.get("/views/by_city?at=then").await.0, 400);
}

#[tokio::test]
async fn what_is_parked_is_shown_with_its_error_and_replayed() {
    let Shop { store, .. } = shop();
    let park = OnError::default().retries(0).then(ErrorAction::ParkEvent);
    let by_city = store.project(ByCity).on_error(park).start().unwrap();
    let lost =
        store.repository::<Customer>().execute("1009", &address("1 Reef", "Atlantis")).unwrap();
    by_city.wait_for(lost.position, Duration::from_secs(10)).unwrap();
    let served = Served::new(Studio::new(&store).projection(&by_city).allow_writes()).await;
    let (_, html) = served.get("/running").await;
    let shown = text(&html);
    for part in
        ["projection by_city running", "there is no such city", "AddressUpdated in Customer-1009"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    assert!(html.contains("/film/Customer-1009?version=1"), "{html}");
    let act = async |action: &str| {
        let path = served.page(&format!("/running/projection/by_city/{action}"));
        let request =
            client().post(path).header("origin", served.page("")).header("x-filmstrip-studio", "1");
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(act("replay").await, 204);
    assert_eq!(by_city.status().parked, 1, "it fails again");
    assert_eq!(act("discard").await, 204);
    assert_eq!(by_city.status().parked, 0);
}

/// A process and a group park as well, and what they park is tried again or given up.
#[tokio::test]
async fn what_processes_and_groups_have_parked_is_given_up_when_asked() {
    let Shop { store, .. } = shop();
    let park = OnError::default().retries(0).then(ErrorAction::ParkInstance);
    let welcome = store.process::<Welcome>().on_error(park).start().unwrap();
    welcome.wait_for(store.head(), Duration::from_secs(10)).unwrap();
    let group = store.subscribe().category("Customer").group("mails");
    let consumer = group.attempts(1).start().unwrap();
    let delivery = consumer.recv_timeout(Duration::from_secs(10)).unwrap();
    delivery.nack(Nack::Park).unwrap();
    let served = Served::new(Studio::new(&store).process(&welcome).allow_writes()).await;
    let (_, html) = served.get("/running").await;
    let shown = text(&html);
    for part in [
        "process Welcome running",
        "no welcome today",
        "group mails running",
        "CustomerRegistered in",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let parked = welcome.parked().unwrap();
    assert_eq!(
        html.matches("data-action=\"/running/process/Welcome/discard?instance=").count(),
        parked.len()
    );
    let act = async |path: String| {
        let request = client().post(served.page(&path)).header("origin", served.page(""));
        request.header("x-filmstrip-studio", "1").send().await.unwrap().status().as_u16()
    };
    let instance = format!("instance={}", parked[0].id);
    assert_eq!(act(format!("/running/process/Welcome/replay?{instance}")).await, 204);
    // It has begun, and is parked again when it has failed again.
    until(|| welcome.parked().unwrap().len() == parked.len()).await;
    assert_eq!(act(format!("/running/process/Welcome/discard?{instance}")).await, 204);
    assert_eq!(welcome.parked().unwrap().len(), parked.len() - 1);
    assert_eq!(act("/running/process/Welcome/discard".into()).await, 404);
    assert_eq!(act("/running/process/Welcome/discard?instance=nobody".into()).await, 400);
    assert_eq!(act("/running/process/Welcome/replay-all".into()).await, 204);
    until(|| welcome.parked().unwrap().len() == parked.len() - 1).await;
    let (_, html) = served.get("/running").await;
    for action in ["replay-all", "discard-all"] {
        let button = format!("data-action=\"/running/process/Welcome/{action}\"");
        assert_eq!(html.matches(&button).count(), 1, "{action}");
    }
    assert_eq!(act("/running/process/Welcome/discard-all".into()).await, 204);
    assert_eq!(welcome.parked().unwrap(), []);
    assert_eq!(act("/running/group/mails/discard".into()).await, 204);
    assert_eq!(store.group("mails").parked().unwrap(), []);
}

#[tokio::test]
async fn an_event_that_does_not_decode_shows_why_in_place_of_the_state() {
    let Shop { store, .. } = shop();
    let unknown = NewEvent::json("Promoted", &"<b>gold</b>").unwrap();
    store.append("Customer-1002", ExpectedVersion::Any, [unknown]).unwrap();
    let served = Served::new(Studio::new(&store).aggregate::<Customer>()).await;
    let (status, html) = served.get("/film/Customer-1002").await;
    assert_eq!(status, 200);
    assert!(html.contains("&lt;b&gt;gold&lt;/b&gt;"), "{html}");
    assert!(text(between(&html, "State after it", "</section>")).contains("Promoted"), "{html}");
    let (_, html) = served.get("/film/Customer-1002?version=2").await;
    assert!(text(between(&html, "State after it", "</section>")).contains("Köln"));
}

/// Events may claim to be caused by each other, or by themselves.
#[tokio::test]
async fn causes_that_go_round_in_a_circle_are_shown_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let ids: Vec<_> = (1..=3).map(filmstrip::uuid::Uuid::from_u128).collect();
    for (n, cause) in [(0, 1), (1, 0), (2, 2)] {
        let metadata = Metadata::default().causation_id(ids[cause]);
        let event = NewEvent::json(format!("Event{n}"), &n).unwrap().id(ids[n]).metadata(metadata);
        store.append("Circle-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let follower = Follower::open(store.path()).unwrap();
    for studio in [Studio::new(&store), Studio::follow(&follower)] {
        let served = Served::new(studio).await;
        for id in &ids {
            let (status, html) = served.get(&format!("/why/{id}")).await;
            assert_eq!(status, 200, "{html}");
            let tree = between(&html, "<ol class=\"tree\">", "</ol>");
            assert!((1..=3).contains(&tree.matches("<li").count()), "{tree}");
        }
    }
}

#[tokio::test]
async fn the_store_is_verified_when_asked() {
    let Shop { store, .. } = shop();
    let served = Served::new(Studio::new(&store).allow_writes()).await;
    assert!(text(&served.get("/store").await.1).contains("accepts commits"));
    let request = client().post(served.page("/store/verify"));
    let request = request.header("origin", served.page("")).header("x-filmstrip-studio", "1");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 202);
    for _ in 0..600 {
        if text(&served.get("/store").await.1).contains("whole 12 events") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the store was not verified within a minute");
}

/// The same pages beside the process that writes.
#[tokio::test]
async fn a_followed_store_has_the_same_film() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let customers = store.repository::<Customer>();
    let event = customers.execute("1", &address("1 Main Street", "Bath")).unwrap();
    customers.execute("1", &address("1 Main Street", "York")).unwrap();
    let follower = Follower::open(store.path()).unwrap();
    let served = Served::new(Studio::follow(&follower).aggregate::<Customer>()).await;
    let (_, html) = served.get("/film/Customer-1?version=2").await;
    let state = text(between(&html, "State after it", "</section>"));
    assert!(state.contains("~ changed city York before: Bath"), "{state}");
    assert!(text(&served.get("/streams").await.1).contains("Customer-1 2"));
    assert!(
        text(&served.get(&format!("/why/{}", event.event_ids[0])).await.1)
            .contains("AddressUpdated")
    );
    for path in ["/views", "/running", "/store", "/live"] {
        assert_eq!(served.get(path).await.0, 200, "{path}");
    }
    assert_eq!(served.get("/film/Customer-2").await.0, 404);
}

/// Links and files are found below the path at which the studio is mounted.
#[tokio::test]
async fn it_can_be_mounted_below_a_path() {
    let Shop { store, .. } = shop();
    let app = axum::Router::new().nest("/admin/studio", Studio::new(&store).router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async { axum::serve(listener, app).await });
    let get =
        async |path: &str| client().get(format!("http://{address}{path}")).send().await.unwrap();
    assert_eq!(get("/admin/studio").await.headers()["location"], "/admin/studio/streams");
    let html = get("/admin/studio/film/Customer-1001").await.text().await.unwrap();
    let style = between(&html, "rel=\"stylesheet\" href=\"", "\"");
    assert!(style.starts_with("/admin/studio/assets/"), "{style}");
    assert_eq!(get(style).await.status().as_u16(), 200);
    assert!(html.contains("href=\"/admin/studio/film/Customer-1001?version=3\""), "{html}");
    serving.abort();
}
