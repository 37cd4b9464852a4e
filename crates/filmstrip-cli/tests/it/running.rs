//! `projections`, `groups` and `processes`, against the studio of an application: this process, which has a store open.

use crate::common::{Done, PATIENCE, program, refused, wait_until};
use filmstrip::group::{Consumer, Nack};
use filmstrip::process::{Effects, ProcessHandle, Trigger};
use filmstrip::projection::{ErrorAction, OnError, ProjectionHandle, ProjectionState};
use filmstrip::{
    Event, ExpectedVersion, Filter, Follower, HandlerError, NewEvent, Position, ProcessManager,
    Projection, RecordedEvent, Store, ViewWriter,
};
use filmstrip_studio::Studio;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::{TempDir, tempdir};

/// What an order costs. It fails on orders of nothing, until it is told not to.
struct Totals {
    is_mended: Arc<AtomicBool>,
}

impl Projection for Totals {
    const NAME: &'static str = "totals of/orders";
    const VERSION: u32 = 1;
    fn filter(&self) -> Filter {
        Filter::category("Order")
    }
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let total: u32 = event.json()?;
        if total == 0 && !self.is_mended.load(Ordering::SeqCst) {
            return Err("an order of \u{1b}[2Jnothing".into());
        }
        Ok(view.put(event.stream.as_str(), &total)?)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum ShippingEvent {
    Shipped,
}
impl Event for ShippingEvent {}

/// Fails on each order.
#[derive(Default, Clone)]
struct Shipping;

impl ProcessManager for Shipping {
    const NAME: &'static str = "Shipping";
    type Event = ShippingEvent;
    fn filter() -> Filter {
        Filter::category("Order")
    }
    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }
    fn react(&self, _: Trigger<'_>) -> Result<Vec<ShippingEvent>, HandlerError> {
        Err("the harbour is closed".into())
    }
    fn evolve(&mut self, ShippingEvent::Shipped: &ShippingEvent) {}
    fn effect(
        &self,
        _: &ShippingEvent,
        _: &mut Effects<'_>,
    ) -> Result<Vec<ShippingEvent>, HandlerError> {
        Ok(Vec::new())
    }
}

/// A store with four orders, of which each follower has parked some.
struct Application {
    store: Store,
    is_mended: Arc<AtomicBool>,
    totals: ProjectionHandle,
    shipping: ProcessHandle,
    mailer: Consumer,
    _directory: TempDir,
}

fn application() -> Application {
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let park = |then| OnError::default().retries(0).then(then);
    let is_mended = Arc::new(AtomicBool::new(false));
    let totals = store.project(Totals { is_mended: Arc::clone(&is_mended) });
    let totals = totals.on_error(park(ErrorAction::ParkEvent)).start().unwrap();
    let shipping = store.process::<Shipping>().on_error(park(ErrorAction::ParkInstance));
    let shipping = shipping.start().unwrap();
    let mailer = store.subscribe().category("Order").group("mailer").attempts(1).start().unwrap();
    for (n, total) in [5, 0, 7, 0].into_iter().enumerate() {
        let event = NewEvent::json("Placed", &total).unwrap();
        store.append(format!("Order-{n}"), ExpectedVersion::NoStream, [event]).unwrap();
    }
    totals.wait_for(Position::new(4), PATIENCE).unwrap();
    shipping.wait_for(store.head(), PATIENCE).unwrap();
    mailer.recv_timeout(PATIENCE).unwrap().nack(Nack::Park).unwrap();
    Application { store, is_mended, totals, shipping, mailer, _directory: directory }
}

impl Application {
    fn studio(&self) -> Studio {
        Studio::new(&self.store).projection(&self.totals).process(&self.shipping)
    }
}

/// Serves a studio on a thread until this is dropped.
struct Served {
    url: String,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Served {
    fn new(studio: Studio) -> Served {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(studio.bind(([127, 0, 0, 1], 0).into())).unwrap();
        let (url, (end, ended)) = (server.url(), tokio::sync::oneshot::channel());
        let thread = thread::spawn(move || {
            runtime.spawn(server.run());
            let _ = runtime.block_on(ended);
        });
        Served { url, end: Some(end), thread: Some(thread) }
    }

    fn run(&self, arguments: &[&str]) -> Done {
        run(&[arguments, &["--url", &self.url]].concat())
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{arguments:?}: {}", done.out);
        done.out
    }

    #[track_caller]
    fn documents(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.ok(&[&["--json"], arguments].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().unwrap().join();
    }
}

fn run(arguments: &[&str]) -> Done {
    let done = program().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

const TOTALS: &str = "totals of/orders";

#[test]
fn a_projection_is_listed_paused_resumed_and_rebuilt() {
    let application = application();
    let served = Served::new(application.studio().allow_writes());
    let [listed] = &served.documents(&["projections", "list"])[..] else { panic!() };
    let fields = ["name", "state", "position", "parked", "error"];
    assert_eq!(
        fields.map(|field| listed[field].clone()),
        [json!(TOTALS), json!("running"), json!(4), json!(2), json!(null)],
    );
    let table = served.ok(&["projections", "list"]);
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("totals of/orders  running"), "{table}");

    let state = || application.totals.status().state;
    assert_eq!(
        served.ok(&["projections", "pause", TOTALS]),
        format!("done: pause projection {TOTALS}\n")
    );
    assert!(matches!(state(), ProjectionState::Paused));
    assert_eq!(served.documents(&["projections", "list"])[0]["state"], "paused");
    let done = served.documents(&["projections", "resume", TOTALS]);
    assert_eq!(
        done,
        [json!({ "done": "resume", "kind": "projection", "name": TOTALS, "instance": null })]
    );
    assert!(matches!(state(), ProjectionState::Running));

    application.is_mended.store(true, Ordering::SeqCst);
    served.ok(&["projections", "rebuild", TOTALS]);
    let total = || application.totals.view().get::<u32>("Order-1").unwrap();
    wait_until("the view that was built again", || total() == Some(0));
}

#[test]
fn what_a_projection_has_parked_is_listed_tried_again_and_given_up() {
    let application = application();
    let served = Served::new(application.studio().allow_writes());
    let parked = served.documents(&["projections", "parked", TOTALS]);
    assert_eq!(parked.len(), 2);
    assert_eq!(
        (&parked[0]["position"], &parked[0]["what"]),
        (&json!(2), &json!("Placed in Order-1"))
    );
    let told = served.ok(&["projections", "parked", TOTALS]);
    assert!(told.contains("position 2  Placed in Order-1  1 attempt, parked "), "{told}");
    assert!(told.contains("an order of \\u{1b}[2Jnothing"), "{told}");

    served.ok(&["projections", "replay", TOTALS]);
    assert_eq!(application.totals.parked().unwrap().len(), 2, "it has failed again");
    let refused_one = served.run(&["projections", "discard", TOTALS]);
    assert!(refused_one.code == 2 && refused_one.err.contains("--yes"), "{}", refused_one.err);
    assert_eq!(application.totals.parked().unwrap().len(), 2);
    served.ok(&["projections", "discard", TOTALS, "--yes"]);
    assert_eq!(application.totals.parked().unwrap(), []);
    assert_eq!(served.ok(&["projections", "parked", TOTALS]), "nothing is parked\n");
}

#[test]
fn a_group_and_a_process_are_listed_and_what_they_have_parked_is_tried_again_or_given_up() {
    let application = application();
    let served = Served::new(application.studio().allow_writes());
    assert_eq!(served.documents(&["groups", "list"])[0]["name"], "mailer");
    assert_eq!(served.documents(&["groups", "parked", "mailer"])[0]["position"], 1);
    served.ok(&["groups", "replay", "mailer"]);
    assert_eq!(application.store.group("mailer").parked().unwrap(), []);
    let again = loop {
        let delivery = application.mailer.recv_timeout(PATIENCE).unwrap();
        match delivery.event.position.get() {
            1 => break delivery,
            _ => delivery.ack().unwrap(),
        }
    };
    again.nack(Nack::Park).unwrap();
    served.ok(&["groups", "discard", "mailer", "--yes"]);
    assert_eq!(application.store.group("mailer").parked().unwrap(), []);

    let process = &application.shipping;
    assert_eq!(served.documents(&["processes", "list"])[0]["parked"], 4);
    served.ok(&["processes", "pause", "Shipping"]);
    assert_eq!(served.documents(&["processes", "list"])[0]["state"], "paused");
    served.ok(&["processes", "resume", "Shipping"]);
    let parked = served.documents(&["processes", "parked", "Shipping"]);
    let instances: Vec<_> = parked.iter().map(|it| it["instance"].as_str().unwrap()).collect();
    assert_eq!(instances, ["0", "1", "2", "3"]);
    assert!(served.ok(&["processes", "parked", "Shipping"]).contains("the harbour is closed"));
    served.ok(&["processes", "replay", "Shipping", "2"]);
    wait_until("the instance that has failed again", || process.parked().unwrap().len() == 4);
    served.ok(&["processes", "discard", "Shipping", "2", "--yes"]);
    assert_eq!(process.parked().unwrap().len(), 3);
    served.ok(&["processes", "replay", "Shipping", "--all"]);
    wait_until("the instances that have failed again", || process.parked().unwrap().len() == 3);
    let unsure = served.run(&["processes", "discard", "Shipping", "--all"]);
    assert!(unsure.code == 2 && unsure.err.contains("--yes"), "{}", unsure.err);
    assert_eq!(process.parked().unwrap().len(), 3);
    served.ok(&["processes", "discard", "Shipping", "--all", "--yes"]);
    assert_eq!(process.parked().unwrap(), []);
    refused(
        &served.run(&["processes", "discard", "Shipping", "9", "--yes"]),
        &["has refused it", "9"],
    );
}

#[test]
fn a_token_is_taken_from_the_address_or_the_environment_and_never_shown() {
    let application = application();
    let served = Served::new(application.studio().token("a-secret-token"));
    assert!(served.url.contains("?token="));
    assert!(served.ok(&["projections", "list"]).contains(TOTALS));
    let (bare, _) = served.url.split_once('?').unwrap();
    let with = |token: &str| {
        let mut command = program();
        command.args(["projections", "list"]).env("FILMSTRIP_STUDIO", bare);
        command.env("FILMSTRIP_TOKEN", token).output().unwrap()
    };
    assert!(with("a-secret-token").status.success());
    let wrong = with("another-token");
    let err = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(2) && err.contains("has refused the token"), "{err}");
    assert!(!err.contains("another-token"), "{err}");
    let none = run(&["projections", "list", "--url", bare]);
    refused(&none, &["asks for a token", "FILMSTRIP_TOKEN"]);
    // It shows, and changes nothing.
    let refused_one = served.run(&["projections", "pause", TOTALS]);
    refused(&refused_one, &["only shows", "Studio::allow_writes"]);
    assert!(!refused_one.err.contains("a-secret-token"), "{}", refused_one.err);
    assert!(matches!(application.totals.status().state, ProjectionState::Running));
}

#[test]
fn what_is_not_there_is_named() {
    let application = application();
    let served = Served::new(application.studio().allow_writes());
    for action in [&["pause"][..], &["parked"], &["replay"], &["discard", "--yes"]] {
        let arguments = [&["projections", action[0], "none"], &action[1..]].concat();
        refused(&served.run(&arguments), &["no projection \"none\" is registered"]);
    }
    refused(&served.run(&["groups", "replay", "none"]), &["no group \"none\""]);
    refused(&served.run(&["groups", "parked", "none"]), &["no group \"none\""]);
    refused(&served.run(&["processes", "pause", "none"]), &["no process \"none\""]);

    // Beside the application, nothing runs.
    let follower = Follower::open(application.store.path()).unwrap();
    let beside = Served::new(Studio::follow(&follower));
    refused(&beside.run(&["projections", "list"]), &["this studio reads beside it"]);

    drop(served);
    let nothing = tempdir().unwrap();
    let store = Store::open(nothing.path()).unwrap();
    let idle = Served::new(Studio::new(&store));
    assert_eq!(idle.ok(&["processes", "list"]), "no process runs there\n");
}

/// Answers one request with this, and ends.
fn answer_once(answer: &'static str) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (url, thread)
}

#[test]
fn what_is_no_studio_is_told_from_one_and_so_is_nothing() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<html",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"followers\":[]}",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Filmstrip-Studio: 2\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let (url, thread) = answer_once(answer);
        let done = run(&["projections", "list", "--url", &url]);
        thread.join().unwrap();
        refused(&done, &["is no studio of this version", url.trim_end_matches('/')]);
    }
    let (url, thread) = answer_once("SSH-2.0-OpenSSH_9.9\r\n");
    refused(
        &run(&["projections", "list", "--url", &url]),
        &["cannot be reached", &url[..url.len() - 1]],
    );
    thread.join().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    refused(&run(&["groups", "list", "--url", &url]), &["cannot be reached", &url, "must run"]);

    refused(&run(&["projections", "list"]), &["--url", "FILMSTRIP_STUDIO"]);
    for (url, words) in [
        ("https://shop.example.org/studio?token=secret", "does not encrypt"),
        ("127.0.0.1:7070", "it must begin with http://"),
        ("http://", "it is not a URL"),
        ("not a url", "it is not a URL"),
    ] {
        let done = run(&["projections", "list", "--url", url]);
        refused(&done, &["is no address of a studio", words]);
        assert!(!done.err.contains("secret"), "{}", done.err);
    }
}
