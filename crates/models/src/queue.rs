//! Callers lead in turn: each gets one reply, with the result of its own work; no caller waits forever, and no two
//! lead at once.

use crate::check;
use crate::log::commit::queue::{CommitQueue, Terms, Turn};
use crate::value::error::{Error, ErrorKind};
use crate::value::limits::QUEUE_BYTES_MAX;
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

const CALLERS: u64 = 4;
const EACH: u64 = 2;
const BYTES_MAX: usize = 1_000;

/// The maximum number of groups that one caller leads, and how many callers must wait for it to continue. They make
/// leaders stop at each bound and hand over in each way.
const TERMS: [(usize, usize); 3] = [(2, 1), (2, 2), (3, 1)];

/// A model of the journal: one caller writes at a time, and each group comes after the one before.
struct Journal {
    queue: CommitQueue<u64, Result<u64, ErrorKind>>,
    written: Mutex<Vec<u64>>,
    writes: AtomicBool,
    groups: AtomicU64,
    /// The group whose write fails.
    failing: Option<u64>,
    /// The group after which the next one is slow.
    slow: u64,
    groups_max: usize,
}

impl Journal {
    fn new(failing: Option<u64>, (groups_max, waiting_min): (usize, usize)) -> Arc<Journal> {
        Arc::new(Journal {
            queue: CommitQueue::new(Terms { groups_max, waiting_min, bytes_max: BYTES_MAX }),
            groups_max,
            slow: 2,
            written: Mutex::default(),
            writes: AtomicBool::new(false),
            groups: AtomicU64::new(0),
            failing,
        })
    }

    /// Appends `value` and returns its place.
    fn append(&self, value: u64, bytes: usize) -> Result<u64, ErrorKind> {
        let mut led = 0;
        let mut lead = |group: Vec<u64>| {
            assert!(!self.writes.swap(true, Ordering::SeqCst), "two lead at once");
            assert_eq!(group[0] == value, led == 0, "who leads is the first of its first group");
            led += 1;
            assert!(led <= self.groups_max, "leads for too long");
            let failed = Some(self.groups.fetch_add(1, Ordering::SeqCst)) == self.failing;
            thread::yield_now();
            let answers = match failed {
                true => {
                    let cause = Error::new(ErrorKind::Io, "the disk is tired");
                    self.queue.refuse(&cause, |refusal| Err(refusal.kind()));
                    group.iter().map(|_| Err(ErrorKind::OutcomeUnknown)).collect()
                }
                false => {
                    let mut written = self.written.lock().unwrap();
                    let place = |value: u64| {
                        written.push(value);
                        Ok(written.len() as u64 - 1)
                    };
                    group.into_iter().map(place).collect()
                }
            };
            self.writes.store(false, Ordering::SeqCst);
            answers
        };
        let is_slow = || self.groups.load(Ordering::SeqCst) == self.slow;
        match self.queue.join(value, bytes, || {}) {
            Ok(Turn::Answered(answer)) => answer,
            Ok(Turn::Leads(mut leader)) => loop {
                let answers = lead(leader.take_group());
                if let Some(own) = leader.reply(answers, is_slow) {
                    break own;
                }
            },
            Err(error) => Err(error.kind()),
        }
    }

    /// The replies to each caller, in order.
    fn callers(self: &Arc<Journal>, bytes: usize) -> Vec<(u64, Result<u64, ErrorKind>)> {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let journal = Arc::clone(self);
                thread::spawn(move || {
                    let values = (0..EACH).map(|n| 10 * caller + n);
                    values.map(|value| (value, journal.append(value, bytes))).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    }
}

/// Runs `model` under each of the terms.
fn check_each(model: impl Fn((usize, usize)) + Send + Sync + Copy + 'static) {
    for terms in TERMS {
        check(move || model(terms));
    }
}

#[test]
fn everyone_is_answered_once_with_its_own_place() {
    check_each(|terms| {
        let journal = Journal::new(None, terms);
        let told = journal.callers(1);
        let written = journal.written.lock().unwrap();
        assert_eq!(written.len() as u64, CALLERS * EACH);
        for (value, place) in told {
            assert_eq!(
                written[place.unwrap() as usize],
                value,
                "the reply has the place of another value"
            );
        }
    });
}

#[test]
fn who_waits_for_room_in_the_queue_gets_it() {
    check_each(|terms| {
        // No two fit the queue together.
        let told = Journal::new(None, terms).callers(QUEUE_BYTES_MAX / 2 + 1);
        assert!(told.iter().all(|(_, place)| place.is_ok()));
    });
}

#[test]
fn after_a_failed_write_everybody_is_told_and_nothing_more_is_written() {
    check_each(|terms| {
        let journal = Journal::new(Some(1), terms);
        let told = journal.callers(1);
        let written = journal.written.lock().unwrap();
        let acknowledged = told.iter().filter(|(_, place)| place.is_ok()).count();
        assert_eq!(written.len(), acknowledged, "only the first group was written");
        for (value, place) in &told {
            match place {
                Ok(place) => assert_eq!(written[*place as usize], *value),
                Err(kind) => {
                    assert!(matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::ReadOnly));
                }
            }
        }
    });
}

#[test]
fn closing_waits_for_what_is_under_way_and_refuses_the_rest() {
    check_each(|terms| {
        let journal = Journal::new(None, terms);
        let its = Arc::clone(&journal);
        let closer = thread::spawn(move || {
            assert!(its.queue.close(), "it was the first");
            assert!(!its.writes.load(Ordering::SeqCst), "somebody still writes");
            its.written.lock().unwrap().len()
        });
        let told = journal.callers(1);
        let written = closer.join().unwrap();
        assert_eq!(journal.written.lock().unwrap().len(), written, "written after it was closed");
        for (_, place) in told {
            assert!(matches!(place, Ok(_) | Err(ErrorKind::Closed)), "{place:?}");
        }
    });
}
