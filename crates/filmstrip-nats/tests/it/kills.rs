//! Kills in the middle: of a server, of the leader of three, of the process that relays.

use crate::servers::Servers;
use crate::world::{
    Client, LONG, Pauses, append, append_at_once, finish, reach, rounds, target, wait_until,
};
use filmstrip::{ExpectedVersion, Filter, NewEvent, Store};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Appends so many events of 8 KB.
fn append_large(store: &Store, events: usize) {
    let large = std::iter::repeat_with(|| NewEvent::json("Drawn", &"x".repeat(8_000)).unwrap());
    store.append("Drawing-1", ExpectedVersion::Any, large.take(events)).unwrap();
}

/// Appends until `work` is done.
fn while_appending(store: &Store, work: impl FnOnce()) {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                append_at_once(store, "Order-1", 0..20);
                append(store, "Note-1", 1);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        work();
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_server_that_is_killed_in_the_middle_costs_and_doubles_nothing() {
    let Some(mut servers) = Servers::start(1) else { return };
    let (store, mut pauses) = (Store::temporary().unwrap(), Pauses::new());
    append_at_once(&store, "Order-1", 0..5_000);
    let relay = store.relay(target(&servers, 1)).start().unwrap();
    for _ in 0..rounds() {
        while_appending(&store, || {
            pauses.wait(400);
            servers.kill(0);
            pauses.wait(200);
            servers.restart(0);
            pauses.wait(200);
        });
    }
    finish(&store, &relay);
    Client::of(&servers).assert_holds(&store, Filter::all());
    println!("figures: relay, server killed: {} events, {} kills", store.head(), rounds());
}

/// The stream's sequences are not positions then, so the last message says where to go on.
#[test]
fn with_a_filter_a_server_that_is_killed_costs_and_doubles_nothing_either() {
    let Some(mut servers) = Servers::start(1) else { return };
    let (store, mut pauses) = (Store::temporary().unwrap(), Pauses::new());
    let filter = || Filter::category("Order");
    let relay = store.relay(target(&servers, 1)).filter(filter()).start().unwrap();
    for _ in 0..rounds() {
        while_appending(&store, || {
            pauses.wait(300);
            servers.kill(0);
            servers.restart(0);
            pauses.wait(300);
        });
    }
    finish(&store, &relay);
    Client::of(&servers).assert_holds(&store, filter());
}

#[test]
fn the_leader_of_three_servers_that_is_killed_costs_and_doubles_nothing() {
    let Some(mut servers) = Servers::start(3) else { return };
    let (store, mut pauses) = (Store::temporary().unwrap(), Pauses::new());
    let relay = store.relay(target(&servers, 3)).start().unwrap();
    append(&store, "Order-1", 1);
    finish(&store, &relay);
    for _ in 0..rounds() {
        let leader = Client::of(&servers).info().cluster.unwrap().leader.unwrap();
        let number = (0..3).find(|number| Servers::name(*number) == leader).unwrap();
        while_appending(&store, || {
            pauses.wait(300);
            servers.kill(number);
            // A new leader, with the old one away.
            let before = store.head().get();
            reach(&relay, before);
        });
        servers.restart(number);
    }
    finish(&store, &relay);
    Client::of(&servers).assert_holds(&store, Filter::all());
    println!("figures: relay, leader killed: {} events, {} kills", store.head(), rounds());
}

/// Where the process that is killed finds its store and its servers.
const CHILD: &str = "FILMSTRIP_RELAYING";

/// The process that is killed: it appends and relays, and says how far it is.
#[test]
fn relays_until_it_is_killed() {
    let Ok(place) = std::env::var(CHILD) else { return };
    let (path, servers) = place.split_once(' ').unwrap();
    let store = Store::open(path).unwrap();
    let target = filmstrip_nats::CloudEvents::to(servers, crate::world::SUBJECT).replicas(1);
    let _relay = store.relay(target.create()).start().unwrap();
    loop {
        append_at_once(&store, "Order-1", 0..50);
        println!("appended {}", store.head());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_relaying_process_that_is_killed_goes_on_where_the_stream_is() {
    let Some(servers) = Servers::start(1) else { return };
    let (directory, mut pauses) = (tempfile::tempdir().unwrap(), Pauses::new());
    let path = directory.path().join("store");
    for _ in 0..2 * rounds() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["kills::relays_until_it_is_killed", "--exact", "--nocapture"]);
        command.env(CHILD, format!("{} {}", path.display(), servers.addresses()));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        said.find(|line| line.as_ref().unwrap().starts_with("appended")).unwrap().unwrap();
        let reading = std::thread::spawn(move || said.count());
        pauses.wait(400);
        child.kill().unwrap();
        child.wait().unwrap();
        reading.join().unwrap();
    }
    let store = Store::open(&path).unwrap();
    let relay = store.relay(target(&servers, 1)).start().unwrap();
    finish(&store, &relay);
    Client::of(&servers).assert_holds(&store, Filter::all());
    println!("figures: relay, process killed: {} events, {} kills", store.head(), 2 * rounds());
}

#[test]
fn a_server_that_hangs_is_waited_for_and_nothing_is_doubled() {
    let Some(servers) = Servers::start(1) else { return };
    let (store, mut pauses) = (Store::temporary().unwrap(), Pauses::new());
    // More than the client's queue and the system's buffers hold.
    let relay = store.relay(target(&servers, 1)).window(8_000).start().unwrap();
    for _ in 0..rounds() {
        while_appending(&store, || {
            pauses.wait(200);
            servers.pause(0);
            append_large(&store, 4_000);
            wait_until("a failure in the status", || relay.status().failing_since.is_some());
            // Nor does a request to it wait for the server.
            relay.pause();
            servers.resume(0);
            relay.resume();
            pauses.wait(100);
        });
    }
    relay.wait_for(store.head(), LONG).unwrap();
    wait_until("a status that is well", || relay.status().failing_since.is_none());
    Client::of(&servers).assert_holds(&store, Filter::all());
}
