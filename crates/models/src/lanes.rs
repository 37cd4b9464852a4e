//! A process's thread and its lanes: no instance is in two lanes at once, no effect is lost or out of order, and the
//! cursor is never past an event that is neither reacted to nor known to wait.

use crate::check;
use crate::model::process::lanes::{Closing, Lanes};
use crate::model::process::pending::Pending;
use crate::model::process::schedule::{Id, Next, Schedule, State};
use crate::value::position::Position;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use std::collections::BTreeMap;

const LANES: usize = 3;
/// Whose each event is: by its place, from 1.
const EVENTS: [usize; 7] = [0, 1, 0, 0, 2, 1, 0];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// The effects of one instance, and how many of them were done.
type Task = (Id, Pending);
type Ran = (Id, u64);

/// What the journal has: what a restart would find.
#[derive(Clone, Default)]
struct Journal {
    cursor: u64,
    waits: BTreeMap<usize, u64>,
    /// The events that each instance has reacted to.
    reacted: BTreeMap<usize, Vec<u64>>,
}

impl Journal {
    /// Every event that the cursor is past was reacted to, or waits; none is both.
    fn check(&self) {
        for (place, whose) in EVENTS.iter().enumerate() {
            let position = place as u64 + 1;
            let waits = self.waits.get(whose).is_some_and(|from| position >= *from);
            let reacted = self.reacted.get(whose).is_some_and(|events| events.contains(&position));
            let ingested = position <= self.cursor && !waits;
            assert_eq!(ingested, reacted, "the event at {position}");
        }
    }
}

/// What rings when there are results.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

struct Process {
    schedule: Schedule<u64>,
    lanes: Closing<Task, Ran>,
    bell: Arc<Bell>,
    journal: Journal,
    /// Not written yet.
    cursor: u64,
    reacted: BTreeMap<usize, Vec<u64>>,
}

fn whose(id: &str) -> usize {
    NAMES.iter().position(|name| *name == id).unwrap()
}

impl Process {
    /// Reads the next event.
    fn ingest(&mut self) {
        self.cursor += 1;
        let (position, id) = (Position::new(self.cursor), EVENTS[self.cursor as usize - 1]);
        let id: Id = NAMES[id].into();
        let is_idle = !self.schedule.is_active(&id);
        if is_idle {
            self.schedule.activate(&id, Position::new(self.cursor - 1));
        }
        self.schedule.wait(&id, position, 1, self.cursor);
        if is_idle {
            self.advance(&id);
        }
    }

    /// Each event leads to one own event, whose version is the number of those before.
    fn advance(&mut self, id: &Id) {
        loop {
            match self.schedule.next(id) {
                Next::Effects => return self.schedule.make_ready(id),
                Next::Event(position) => {
                    let reacted = self.reacted.entry(whose(id)).or_default();
                    reacted.push(position.get());
                    let version = reacted.len() as u64;
                    self.schedule.recorded(id, version, version);
                    self.schedule.ingested(id);
                }
                Next::Reread => return,
                Next::Nothing => return self.schedule.retire(id),
            }
        }
    }

    /// What found no room comes again.
    fn reread(&mut self) {
        let Some(after) = self.schedule.to_reread() else { return };
        let mut reached = after.get();
        while reached < self.cursor {
            let id = NAMES[EVENTS[reached as usize]];
            if !self.schedule.wait_again(id, Position::new(reached + 1), 1, reached + 1) {
                break;
            }
            reached += 1;
        }
        let caught_up = reached == self.cursor;
        for id in self.schedule.read_again(Position::new(reached), caught_up) {
            self.advance(&id);
        }
    }

    fn hear(&mut self) {
        for (id, done) in self.lanes.0.results() {
            self.schedule.back_from_lane(&id);
            self.schedule.effects_done(&id, done);
            self.advance(&id);
        }
    }

    fn commit(&mut self) {
        let from = |name: &&str| self.schedule.waits_from(name).map(Position::get);
        let waits = NAMES.iter().enumerate().filter_map(|(n, name)| Some((n, from(name)?)));
        let (waits, reacted) = (waits.collect(), self.reacted.clone());
        self.journal = Journal { cursor: self.cursor, waits, reacted };
        self.journal.check();
        let tasks: Vec<_> = std::iter::from_fn(|| self.schedule.give_to_lane()).collect();
        self.lanes.0.offer(tasks);
    }

    /// Takes back what was not begun, and waits for what was.
    fn quiesce(&mut self) {
        for (id, _) in self.lanes.0.rest() {
            self.schedule.back_from_lane(&id);
        }
        while !self.lanes.0.is_idle() {
            self.bell.wait();
        }
        self.hear();
        for id in self.schedule.all_busy() {
            self.advance(&id);
        }
    }
}

/// Does what lanes do, and checks that no other one is at the same instance.
fn lane(lanes: &Lanes<Task, Ran>, busy: &[AtomicBool; 3], ran: &Mutex<BTreeMap<usize, Vec<u64>>>) {
    while let Some((id, mut effects)) = lanes.next() {
        let (n, mut done) = (whose(&id), 0);
        assert!(!busy[n].swap(true, Ordering::SeqCst), "{id} is in two lanes");
        while let Some(version) = effects.first() {
            thread::yield_now();
            ran.lock().unwrap().entry(n).or_default().push(version);
            effects.remove_first();
            done += 1;
        }
        busy[n].store(false, Ordering::SeqCst);
        lanes.done((id, done));
    }
}

/// Runs all events through; `room` for the waiting ones of an instance, and a pause after so many events.
fn run(room: usize, pause_after: Option<u64>) {
    let bell = Arc::new(Bell::default());
    let rings = Arc::clone(&bell);
    let lanes = std::sync::Arc::new(Lanes::new(move || rings.ring()));
    let busy: Arc<[AtomicBool; 3]> = Arc::default();
    let ran: Arc<Mutex<BTreeMap<usize, Vec<u64>>>> = Arc::default();
    let threads: Vec<_> = (0..LANES)
        .map(|_| {
            let (lanes, busy, ran) = (lanes.clone(), Arc::clone(&busy), Arc::clone(&ran));
            thread::spawn(move || lane(&lanes, &busy, &ran))
        })
        .collect();
    let schedule = Schedule::with_room(room);
    let (lanes, journal, reacted) = (Closing(lanes), Journal::default(), BTreeMap::new());
    let mut process = Process { schedule, lanes, bell, journal, cursor: 0, reacted };
    while process.cursor < EVENTS.len() as u64 {
        process.hear();
        process.ingest();
        process.reread();
        process.commit();
        if Some(process.cursor) == pause_after {
            process.quiesce();
            assert!(busy.iter().all(|busy| !busy.load(Ordering::SeqCst)), "a lane goes on");
            process.commit();
        }
    }
    while process.schedule.busy() > 0 {
        process.bell.wait();
        process.hear();
        process.reread();
        process.commit();
    }
    assert!(NAMES.iter().all(|name| process.schedule.state(name) != Some(State::Parked)));
    assert_eq!((process.journal.cursor, process.journal.waits.len()), (EVENTS.len() as u64, 0));
    drop(process);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for (n, count) in [(0, 4), (1, 2), (2, 1)] {
        assert_eq!(ran.lock().unwrap()[&n], (1..=count).collect::<Vec<_>>(), "{}", NAMES[n]);
    }
}

#[test]
fn each_effect_runs_once_in_one_lane_and_the_cursor_passes_no_event() {
    check(|| run(8, None));
}

#[test]
fn what_finds_no_room_comes_in_its_place() {
    check(|| run(1, None));
}

#[test]
fn a_pause_waits_for_every_lane_and_what_was_not_begun_comes_after_it() {
    check(|| run(8, Some(4)));
}
