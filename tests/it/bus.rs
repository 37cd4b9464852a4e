//! Commands through a pool of workers.

use filmstrip::{Aggregate, ErrorKind, Event, ExecuteError, Metadata, Store};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Noted {
    Noted(u64),
}
impl Event for Noted {}

#[derive(Default, Clone)]
struct Notes(Vec<u64>);

enum Command {
    Note(u64),
    Refuse,
    Panic,
    /// Meets another thread there, twice.
    Meet(Arc<Barrier>),
    /// Waits there until it is not alone.
    Join(Arc<Crowd>),
}

#[derive(Default)]
struct Crowd(Mutex<usize>, Condvar);

impl Crowd {
    fn join(&self) {
        let mut joined = self.0.lock();
        *joined += 1;
        self.1.notify_all();
        while *joined < 2 {
            assert!(!self.1.wait_for(&mut joined, LONG).timed_out(), "nobody else came");
        }
    }
}

#[derive(Debug, PartialEq)]
struct Refused;
impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}
impl std::error::Error for Refused {}

impl Aggregate for Notes {
    const CATEGORY: &'static str = "Notes";
    type Command = Command;
    type Event = Noted;
    type Error = Refused;

    fn decide(&self, command: &Command) -> Result<Vec<Noted>, Refused> {
        match command {
            Command::Note(n) => Ok(vec![Noted::Noted(*n)]),
            Command::Refuse => Err(Refused),
            Command::Panic => panic!("it panics on purpose"),
            Command::Meet(barrier) => {
                barrier.wait();
                barrier.wait();
                Ok(vec![])
            }
            Command::Join(crowd) => {
                crowd.join();
                Ok(vec![])
            }
        }
    }

    fn evolve(&mut self, Noted::Noted(n): &Noted) {
        self.0.push(*n);
    }
}

#[test]
fn commands_for_one_aggregate_run_in_the_order_in_which_they_were_sent() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().workers(4).queue(8).start().unwrap();
    let ids = ["a", "b", "c", "d", "e"];
    let mut tickets = Vec::new();
    for n in 0..100 {
        tickets.extend(ids.map(|id| bus.send(id, Command::Note(n)).unwrap()));
    }
    for ticket in tickets {
        let done = ticket.wait().unwrap();
        assert_eq!(done.retries, 0, "two workers wrote one stream");
    }
    for id in ids {
        let notes = store.repository::<Notes>().load(id).unwrap().state;
        assert_eq!(notes.0, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn commands_for_different_aggregates_run_at_the_same_time() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().workers(16).start().unwrap();
    // Which ids share a worker is up to chance; of so many, two do not.
    let crowd = Arc::new(Crowd::default());
    let join = |n| bus.send(format!("a{n}"), Command::Join(Arc::clone(&crowd))).unwrap();
    let tickets: Vec<_> = (0..64).map(join).collect();
    for ticket in tickets {
        ticket.wait().expect("a command that waits for another runs beside it");
    }
}

#[test]
fn rejections_panics_and_bad_ids_fail_their_command_and_no_other() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().workers(1).start().unwrap();
    let refused = bus.send("a", Command::Refuse).unwrap();
    let panicked = bus.send("a", Command::Panic).unwrap();
    let nameless = bus.send("", Command::Note(1)).unwrap();
    let fine = bus.send("a", Command::Note(1)).unwrap();
    assert!(matches!(refused.wait(), Err(ExecuteError::Rejected(Refused))), "not refused");
    let error: filmstrip::Error = panicked.wait().map(|_| ()).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.to_string().contains("Notes-a panicked: it panics on purpose"), "{error}");
    let error: filmstrip::Error = nameless.wait().map(|_| ()).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(fine.wait().unwrap().state.0, [1]);
}

/// A bus of one worker that is busy until the barrier is met twice, with room for one command.
fn busy(store: &Store) -> (filmstrip::Bus<Notes>, Arc<Barrier>, filmstrip::bus::Ticket<Notes>) {
    let bus = store.repository::<Notes>().bus().workers(1).queue(1).start().unwrap();
    let barrier = Arc::new(Barrier::new(2));
    let ticket = bus.send("a", Command::Meet(Arc::clone(&barrier))).unwrap();
    barrier.wait();
    (bus, barrier, ticket)
}

#[test]
fn a_full_queue_gives_the_command_back() {
    let store = Store::temporary().unwrap();
    let (bus, barrier, meeting) = busy(&store);
    let waiting = bus.try_send("a", Command::Note(1)).unwrap();
    let not_sent = bus.try_send("a", Command::Note(2)).map(|_| ()).unwrap_err();
    assert_eq!(not_sent.error.kind(), ErrorKind::QueueFull);
    assert!(not_sent.to_string().contains("1 commands wait"), "{not_sent}");
    assert!(matches!(not_sent.command, Command::Note(2)), "another command came back");
    let soon = bus.command("a", Command::Note(3)).expires_in(Duration::from_millis(1));
    let not_sent = soon.send().map(|_| ()).unwrap_err();
    assert_eq!(not_sent.error.kind(), ErrorKind::Expired);
    assert!(waiting.wait_timeout(Duration::from_millis(1)).is_none(), "it ran already");
    barrier.wait();
    meeting.wait().unwrap();
    assert_eq!(waiting.wait().unwrap().state.0, [1]);
}

#[test]
fn a_command_whose_deadline_passed_before_it_began_is_not_run() {
    let store = Store::temporary().unwrap();
    let (bus, barrier, meeting) = busy(&store);
    let deadline = Instant::now() + Duration::from_millis(20);
    let late = bus.command("a", Command::Note(1)).expires_at(deadline).send().unwrap();
    while Instant::now() < deadline {
        std::thread::yield_now();
    }
    barrier.wait();
    meeting.wait().unwrap();
    let error: filmstrip::Error = late.wait().map(|_| ()).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::Expired);
    assert_eq!(store.head().get(), 0, "it ran all the same");
    let in_time = bus.command("a", Command::Note(1)).expires_in(Duration::MAX).send().unwrap();
    in_time.wait().unwrap();
}

#[test]
fn a_closed_bus_has_executed_what_was_sent_and_takes_no_more() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().workers(3).start().unwrap();
    let tickets: Vec<_> =
        (0..200).map(|n| bus.send(format!("{}", n % 9), Command::Note(n)).unwrap()).collect();
    let clone = bus.clone();
    bus.close();
    assert_eq!(store.head().get(), 200, "it was closed before all was done");
    assert_eq!(
        clone.send("a", Command::Note(1)).map(|_| ()).unwrap_err().kind(),
        ErrorKind::Closed
    );
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

/// The story: of two calls of `close` at the same time, the second returned at once.
#[test]
fn whoever_closes_the_bus_finds_everything_executed() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().workers(1).start().unwrap();
    let barrier = Arc::new(Barrier::new(2));
    drop(bus.send("a", Command::Meet(Arc::clone(&barrier))).unwrap());
    drop(bus.send("a", Command::Note(1)).unwrap());
    barrier.wait();
    std::thread::scope(|scope| {
        let closers = [0, 1].map(|_| {
            scope.spawn(|| {
                bus.close();
                assert_eq!(store.head().get(), 1, "it was closed before all was done");
            })
        });
        // Both have begun by now, in all likelihood; the worker still waits.
        std::thread::sleep(Duration::from_millis(50));
        barrier.wait();
        closers.into_iter().for_each(|closer| closer.join().unwrap());
    });
}

#[test]
fn dropping_the_last_handle_executes_what_was_sent() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().workers(2).start().unwrap();
    let done = AtomicUsize::new(0);
    for n in 0..100 {
        drop(bus.send(format!("{}", n % 5), Command::Note(n)).unwrap());
        done.fetch_add(1, Ordering::Relaxed);
    }
    drop(bus.clone());
    drop(bus);
    assert_eq!(store.head().get(), done.into_inner() as u64);
}

#[test]
fn a_bus_on_a_closed_store_answers_closed() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().workers(1).start().unwrap();
    store.close().unwrap();
    let error: filmstrip::Error =
        bus.send("a", Command::Note(1)).unwrap().wait().map(|_| ()).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn metadata_goes_with_the_command_and_its_id_runs_once() {
    let store = Store::temporary().unwrap();
    let bus = store.repository::<Notes>().bus().start().unwrap();
    let metadata = Metadata::default().command_id(Uuid::from_u128(1)).user("alice");
    let tickets = [1, 2].map(|n| bus.command("a", Command::Note(n)).metadata(metadata.clone()));
    let [first, second] = tickets.map(|sending| sending.send().unwrap().wait().unwrap());
    assert!(!first.already_executed && second.already_executed);
    assert_eq!(second.state.0, [1]);
    let event = store.read_stream("Notes-a").iter().unwrap().next().unwrap().unwrap();
    assert_eq!(*event.metadata, metadata);
}

#[test]
fn a_bus_without_workers_or_room_is_refused() {
    let store = Store::temporary().unwrap();
    for (workers, queue) in [(0, 1), (1, 0), (1_025, 1), (1, 1_048_577)] {
        let bus = store.repository::<Notes>().bus().workers(workers).queue(queue).start();
        assert_eq!(bus.map(|_| ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
