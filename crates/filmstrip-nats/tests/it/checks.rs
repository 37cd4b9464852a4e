//! A stream is refused by the name of the setting that is not as it must be, with the value met and the one asked for.

use crate::servers::Servers;
use crate::world::{Client, LONG, SUBJECT, append, finish, target};
use filmstrip::{ErrorKind, Filter, Store};
use filmstrip_nats::CloudEvents;
use filmstrip_nats::async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, StorageType,
};
use std::time::Duration;

/// What is wrong with a stream, and how the error says so.
type Wrong = (fn(&mut Config), &'static str);

const WRONG: [Wrong; 11] = [
    (|it| it.storage = StorageType::Memory, "has storage memory; a relay needs file"),
    (
        |it| it.retention = RetentionPolicy::WorkQueue,
        "has retention WorkQueue; a relay needs Limits",
    ),
    (
        |it| it.max_messages_per_subject = 1,
        "has max_msgs_per_subject 1; a relay needs -1: all events have one subject",
    ),
    (
        |it| it.max_age = Duration::from_secs(7),
        "has max_age 7s; a relay needs none, or `allow_expiry`",
    ),
    (
        |it| (it.max_messages, it.discard) = (9, DiscardPolicy::Old),
        "has max_msgs 9; a relay needs -1, or discard new, or `allow_expiry`",
    ),
    (
        |it| (it.max_bytes, it.discard) = (9_000, DiscardPolicy::Old),
        "has max_bytes 9000; a relay needs -1, or discard new, or `allow_expiry`",
    ),
    (|it| it.no_ack = true, "has no_ack on; a relay needs it off"),
    (
        |it| (it.allow_rollup, it.deny_purge) = (true, false),
        "has allow_rollup_hdrs on; a relay needs it off",
    ),
    (
        |it| it.subjects.push("other".into()),
        r#"has the subjects ["orders.events", "other"]; a relay needs "orders.events" and no others"#,
    ),
    (
        |it| drop(it.metadata.remove("filmstrip.store")),
        "has filmstrip.store not in its metadata; a relay needs ",
    ),
    (
        |it| drop(it.metadata.insert("filmstrip.filter".into(), "[1]".into())),
        r#"has filmstrip.filter "[1]" in its metadata; a relay needs all"#,
    ),
];

#[test]
fn each_setting_that_is_not_as_it_must_be_is_refused_by_name() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, client) = (Store::temporary().unwrap(), Client::of(&servers));
    store.relay(target(&servers, 1)).start().unwrap().stop().unwrap();
    let right = client.info().config;
    for (make_wrong, expected) in WRONG {
        let mut config = right.clone();
        make_wrong(&mut config);
        client.replace(config);
        let refused = store.relay(target(&servers, 1)).start().map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        let expected = format!("relay nats orders_events: the stream orders_events {expected}");
        assert!(refused.to_string().starts_with(&expected), "{refused}\n{expected}");
    }
}

#[test]
fn replicas_and_streams_that_are_not_there_are_refused_by_name() {
    let Some(servers) = Servers::start(1) else { return };
    let store = Store::temporary().unwrap();
    let refused = |target| store.relay(target).start().map(drop).unwrap_err().to_string();
    let missing = refused(CloudEvents::to(servers.addresses(), SUBJECT));
    assert!(missing.contains("there is no stream orders_events; make it, or ask for `create`"));
    let alone = refused(target(&servers, 3));
    assert!(alone.contains("cannot make the stream orders_events"), "{alone}");
    let named = refused(target(&servers, 1).stream("a.b"));
    assert!(named.contains("a.b"), "{named}");
    store.relay(target(&servers, 1)).start().unwrap().stop().unwrap();
    let few = refused(target(&servers, 3));
    assert!(few.ends_with("has num_replicas 1; a relay needs 3, as `replicas` says"), "{few}");
}

#[test]
fn a_stream_that_expires_is_used_if_that_is_allowed_and_keeps_its_sequences() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, client) = (Store::temporary().unwrap(), Client::of(&servers));
    let expiring = || target(&servers, 1).allow_expiry();
    store.relay(expiring()).start().unwrap().stop().unwrap();
    client.change(|config| (config.max_messages, config.discard) = (2, DiscardPolicy::Old));
    append(&store, "Order-1", 10);
    let relay = store.relay(expiring()).start().unwrap();
    finish(&store, &relay);
    relay.stop().unwrap();
    let state = client.info().state;
    assert_eq!((state.first_sequence, state.last_sequence), (9, 10));
    append(&store, "Order-1", 1);
    let relay = store.relay(expiring()).start().unwrap();
    finish(&store, &relay);
    assert_eq!(client.info().state.last_sequence, 11);
}

/// An operator who weakens a stream need not know of the relay.
#[test]
fn a_stream_that_is_changed_while_the_relay_runs_is_checked_again() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, client) = (Store::temporary().unwrap(), Client::of(&servers));
    let relay = store.relay(target(&servers, 1)).start().unwrap();
    append(&store, "Order-1", 1);
    finish(&store, &relay);
    client.change(|config| config.max_age = Duration::from_secs(7));
    let fault = relay.wait_for(filmstrip::Position::new(9), LONG).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Refused);
    assert!(fault.to_string().contains("has max_age 7s"), "{fault}");
    client.change(|config| config.max_age = Duration::ZERO);
    relay.resume();
    append(&store, "Order-1", 1);
    finish(&store, &relay);
    client.assert_holds(&store, Filter::all());
}
