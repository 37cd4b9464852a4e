//! What stops a relay, or makes it wait: a stream that is deleted, full or somebody else's, an event that is too large,
//! servers that are not there.

use crate::servers::Servers;
use crate::world::{
    Client, LONG, STREAM, SUBJECT, append, append_at_once, finish, reach, target, wait_until,
};
use filmstrip::relay::{RelayHandle, RelayState};
use filmstrip::{ErrorKind, ExpectedVersion, Filter, NewEvent, Store};
use filmstrip_nats::CloudEvents;
use std::time::Duration;

/// A store of so many events, which its relay has sent, and a client beside it.
fn relayed(servers: &Servers, events: u32) -> (Store, RelayHandle, Client) {
    let store = Store::temporary().unwrap();
    append_at_once(&store, "Order-1", 0..events);
    let relay = store.relay(target(servers, 1)).start().unwrap();
    finish(&store, &relay);
    (store, relay, Client::of(servers))
}

#[test]
fn an_event_is_a_cloud_event_in_one_message() {
    let Some(servers) = Servers::start(1) else { return };
    let store = Store::temporary().unwrap();
    let placed = NewEvent::json("Placed", &serde_json::json!({"boxes": 3})).unwrap();
    let photo = NewEvent::bytes("Photo", vec![0, 159, 255]).tag("album:ä");
    store.append("Order-7", ExpectedVersion::NoStream, [placed, photo]).unwrap();
    let relay = store.relay(target(&servers, 1).source("https://shop.example")).start().unwrap();
    assert_eq!(relay.name(), "nats orders_events");
    finish(&store, &relay);
    let client = Client::of(&servers);
    let stream = client.stream();
    let read = |sequence| {
        let message = client.wait(stream.get_raw_message(sequence)).unwrap();
        let content = message.headers.get("Content-Type").unwrap().to_string();
        assert_eq!(content, "application/cloudevents+json");
        serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap()
    };
    let (placed, photo) = (read(1), read(2));
    assert_eq!(placed["data"], serde_json::json!({"boxes": 3}));
    assert_eq!(placed["source"], "https://shop.example");
    assert_eq!((&photo["subject"], &photo["position"]), (&"Order-7".into(), &"2".into()));
    assert_eq!(photo["data_base64"], "AJ//");
    assert_eq!(photo["tags"], r#"["album:ä"]"#);
}

#[test]
fn a_relay_begins_before_its_servers_are_there() {
    let Some(mut servers) = Servers::start(1) else { return };
    servers.kill(0);
    let store = Store::temporary().unwrap();
    append(&store, "Order-1", 3);
    let relay = store.relay(target(&servers, 1)).start().unwrap();
    wait_until("a failure in the status", || relay.status().retrying.is_some());
    let status = relay.status();
    assert!(status.retrying.unwrap().cause.contains("cannot connect"), "{:?}", relay.status());
    assert!(status.failing_since.is_some());
    servers.restart(0);
    finish(&store, &relay);
    Client::of(&servers).assert_holds(&store, Filter::all());
}

#[test]
fn a_stream_that_is_deleted_stops_the_relay_and_is_filled_again_when_it_is_resumed() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, relay, client) = relayed(&servers, 100);
    client.wait(client.context().delete_stream(STREAM)).unwrap();
    append(&store, "Order-1", 1);
    let fault = relay.wait_for(store.head(), LONG).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Refused);
    assert!(fault.to_string().contains("the stream orders_events was deleted"), "{fault}");
    relay.resume();
    finish(&store, &relay);
    client.assert_holds(&store, Filter::all());
}

#[test]
fn a_message_of_somebody_else_is_refused_by_name() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, relay, client) = relayed(&servers, 3);
    client.wait(async {
        let published = client.context().publish(SUBJECT, "hello".into()).await.unwrap();
        published.await.unwrap();
    });
    append(&store, "Order-1", 1);
    let fault = relay.wait_for(store.head(), LONG).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Refused);
    let expected = "message 4 of the stream orders_events is no event of a relay: somebody else publishes there";
    assert!(fault.to_string().ends_with(expected), "{fault}");
    relay.stop().unwrap();
    let again = store.relay(target(&servers, 1)).start().map(drop).unwrap_err();
    assert!(again.to_string().ends_with(expected), "{again}");
    // So is another store, before anything is sent.
    let other = Store::temporary().unwrap();
    let refused = other.relay(target(&servers, 1)).start().map(drop).unwrap_err();
    assert!(refused.to_string().contains("has filmstrip.store"), "{refused}");
    assert_eq!(client.info().state.last_sequence, 4);
}

#[test]
fn a_full_stream_is_waited_for_until_it_has_room() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, relay, client) = relayed(&servers, 10);
    client.change(|config| config.max_bytes = 50_000);
    append_at_once(&store, "Order-1", 0..500);
    let is_full = || relay.status().retrying.is_some_and(|it| it.cause.contains("takes no more"));
    wait_until("a full stream", is_full);
    assert!(matches!(relay.status().state, RelayState::Running));
    let since = relay.status().failing_since.unwrap();
    client.change(|config| config.max_bytes = -1);
    finish(&store, &relay);
    client.assert_holds(&store, Filter::all());
    assert!(since <= filmstrip::chrono::Utc::now());
}

#[test]
fn an_event_that_is_too_large_stops_the_relay_right_before_it_and_is_named() {
    let Some(servers) = Servers::start_with(1, "max_payload: 64KB") else { return };
    let store = Store::temporary().unwrap();
    append_at_once(&store, "Order-1", 0..200);
    let large = NewEvent::bytes("Photo", vec![7; 60_000]);
    store.append("Album-1", ExpectedVersion::NoStream, [large]).unwrap();
    append(&store, "Order-1", 1);
    let relay = store.relay(target(&servers, 1)).start().unwrap();
    let fault = relay.wait_for(store.head(), LONG).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Refused);
    let said = fault.to_string();
    assert!(said.contains("the event of position 201 is 80"), "{said}");
    assert!(said.ends_with("max_payload of the server allows 65536"), "{said}");
    assert_eq!(relay.status().position.get(), 200);
    let client = Client::of(&servers);
    assert_eq!(client.info().state.last_sequence, 200);
    // The stream may have a limit of its own.
    client.change(|config| config.max_message_size = 30_000);
    relay.stop().unwrap();
    let (store, subject) = (Store::temporary().unwrap(), "small.events");
    let target = || CloudEvents::to(servers.addresses(), subject).replicas(1).create();
    store.relay(target()).start().unwrap().stop().unwrap();
    client.wait(async {
        let mut small = client.context().get_stream("small_events").await.unwrap();
        let mut config = small.info().await.unwrap().config.clone();
        config.max_message_size = 2_000;
        client.context().update_stream(config).await.unwrap();
    });
    append(&store, "Order-1", 5);
    let large = NewEvent::bytes("Photo", vec![7; 3_000]);
    store.append("Album-1", ExpectedVersion::NoStream, [large]).unwrap();
    let relay = store.relay(target()).start().unwrap();
    let fault = relay.wait_for(store.head(), LONG).unwrap_err();
    assert!(fault.to_string().contains("the event of position 6 is larger"), "{fault}");
    reach(&relay, 5);
}

/// The store has what servers lose, as they do in a power cut if they do not sync always.
#[test]
fn an_end_that_the_stream_has_lost_is_sent_again() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, relay, client) = relayed(&servers, 100);
    let config = client.info().config;
    // Another stream of the same settings, as after a restore from a snapshot; it has nothing. While the relay is
    // paused, or it could find the stream deleted.
    relay.pause();
    client.replace(config);
    relay.resume();
    append(&store, "Order-1", 1);
    wait_until("all events", || client.info().state.last_sequence == 101);
    client.assert_holds(&store, Filter::all());
}

/// A relay that has nothing to send takes no time of anybody's.
#[test]
fn stopping_a_relay_does_not_wait_for_servers_that_are_gone() {
    let Some(mut servers) = Servers::start(1) else { return };
    let store = Store::temporary().unwrap();
    let relay = store.relay(target(&servers, 1)).start().unwrap();
    servers.kill(0);
    append(&store, "Order-1", 1);
    wait_until("a failure in the status", || relay.status().failing_since.is_some());
    relay.stop().unwrap();
    store.close().unwrap();
    let late = relay.wait_for(filmstrip::Position::new(1), Duration::ZERO).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
}
