//! Threads and tasks in one commit queue: each is answered once, by the one that leads; a task that goes away is
//! written whole or not at all; no wake-up is lost, and the engine's thread ends.

use crate::check;
use crate::log::commit::queue::{CommitQueue, Terms, Turn};
use crate::value::error::{Error, ErrorKind};
use crate::value::limits::QUEUE_BYTES_MAX;
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use std::task::{Poll, Wake, Waker};

/// The terms of leading: at most so many groups, and only where so many wait.
const TERMS: [(usize, usize); 2] = [(2, 1), (3, 2)];

type Reply = Result<u64, ErrorKind>;

struct Journal {
    queue: CommitQueue<u64, Reply>,
    written: Mutex<Vec<u64>>,
    writes: AtomicBool,
    groups: AtomicU64,
    failing: Option<u64>,
}

/// A task's executor: one thread that sleeps until it is woken.
#[derive(Default)]
pub(crate) struct Sleeper {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Sleeper {
    fn wake(self: std::sync::Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

impl Sleeper {
    pub(crate) fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !*woken {
            woken = self.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Journal {
    fn new(failing: Option<u64>, (groups_max, waiting_min): (usize, usize)) -> Arc<Journal> {
        Arc::new(Journal {
            queue: CommitQueue::new(Terms { groups_max, waiting_min, bytes_max: 1_000 }),
            written: Mutex::default(),
            writes: AtomicBool::new(false),
            groups: AtomicU64::new(0),
            failing,
        })
    }

    fn write(&self, group: Vec<u64>) -> Vec<Reply> {
        assert!(!group.is_empty(), "a group of nobody");
        assert!(!self.writes.swap(true, Ordering::SeqCst), "two lead at once");
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
                let place = |value| {
                    written.push(value);
                    Ok(written.len() as u64 - 1)
                };
                group.into_iter().map(place).collect()
            }
        };
        self.writes.store(false, Ordering::SeqCst);
        answers
    }

    /// Appends as a thread does.
    fn append(&self, value: u64, bytes: usize) -> Reply {
        match self.queue.join(value, bytes, || {}) {
            Ok(Turn::Answered(reply)) => reply,
            Ok(Turn::Leads(mut leader)) => loop {
                let answers = self.write(leader.take_group());
                if let Some(own) = leader.reply(answers, || false) {
                    break own;
                }
            },
            Err(error) => Err(error.kind()),
        }
    }

    /// Appends as a task does. It is polled once more than it is woken, and goes away after so many polls.
    fn append_by_task(&self, value: u64, bytes: usize, polls_max: u32) -> Option<Reply> {
        let sleeper = std::sync::Arc::new(Sleeper::default());
        let waker = Waker::from(std::sync::Arc::clone(&sleeper));
        let entered = self.queue.enter(value, bytes, waker.clone(), || {});
        let awaited = match entered {
            Ok(awaited) => awaited,
            Err(error) => return Some(Err(error.kind())),
        };
        for poll in 0..polls_max {
            if let Poll::Ready(reply) = awaited.poll(&waker) {
                return Some(reply);
            }
            if poll > 0 || polls_max > 2 {
                sleeper.sleep();
            }
        }
        self.queue.withdraw(&awaited);
        drop(waker);
        None
    }

    fn lead_for_tasks(&self) {
        while let Some(mut leader) = self.queue.lead_for_tasks() {
            loop {
                let answers = self.write(leader.take_group());
                if !leader.reply(answers) {
                    break;
                }
            }
        }
    }
}

/// Each value, and what its caller was told, if it waited.
type Told = Vec<(u64, Option<Reply>)>;

/// Two threads and three tasks append; one of the tasks goes away after `polls` polls.
fn run(journal: &Arc<Journal>, bytes: usize, polls: u32, closes: bool) -> Told {
    let engine = Arc::clone(journal);
    let engine = thread::spawn(move || engine.lead_for_tasks());
    let callers = (0..5_u64).map(|caller| {
        let journal = Arc::clone(journal);
        thread::spawn(move || match caller {
            0 | 1 => vec![
                (10 * caller, Some(journal.append(10 * caller, bytes))),
                (10 * caller + 1, Some(journal.append(10 * caller + 1, bytes))),
            ],
            2 => vec![(20, journal.append_by_task(20, bytes, polls))],
            _ => vec![
                (10 * caller, journal.append_by_task(10 * caller, bytes, u32::MAX)),
                (10 * caller + 1, journal.append_by_task(10 * caller + 1, bytes, u32::MAX)),
            ],
        })
    });
    let callers: Vec<_> = callers.collect();
    if closes {
        journal.queue.close();
    }
    let told = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
    journal.queue.close();
    engine.join().unwrap();
    told
}

fn check_each(model: impl Fn((usize, usize)) + Send + Sync + Copy + 'static) {
    for terms in TERMS {
        check(move || model(terms));
    }
}

/// Who was told a place finds its value there, and what nobody was told of is there once at most.
fn agree(journal: &Journal, told: &Told) {
    let written = journal.written.lock().unwrap();
    for (value, reply) in told {
        let times = written.iter().filter(|written| *written == value).count();
        match reply {
            Some(Ok(place)) => assert_eq!((written[*place as usize], times), (*value, 1)),
            Some(Err(_)) => assert_eq!(times, 0, "{value} failed and was written"),
            None => assert!(times <= 1, "{value} was written twice"),
        }
    }
}

#[test]
fn threads_and_tasks_are_answered_once_with_their_own_place() {
    check_each(|terms| {
        let journal = Journal::new(None, terms);
        let told = run(&journal, 1, u32::MAX, false);
        agree(&journal, &told);
        assert!(told.iter().all(|(_, reply)| matches!(reply, Some(Ok(_)))), "{told:?}");
    });
}

#[test]
fn a_task_that_goes_away_holds_nobody_up() {
    for polls in [1, 2] {
        check_each(move |terms| {
            let journal = Journal::new(None, terms);
            let told = run(&journal, 1, polls, false);
            agree(&journal, &told);
            assert!(told.iter().all(|(value, reply)| *value == 20 || matches!(reply, Some(Ok(_)))));
        });
    }
}

#[test]
fn who_waits_in_line_gets_into_the_queue_whoever_leaves_the_line() {
    for polls in [1, u32::MAX] {
        check_each(move |terms| {
            let journal = Journal::new(None, terms);
            // No two fit the queue together.
            let told = run(&journal, QUEUE_BYTES_MAX / 2 + 1, polls, false);
            agree(&journal, &told);
            assert!(told.iter().all(|(value, reply)| *value == 20 || matches!(reply, Some(Ok(_)))));
        });
    }
}

#[test]
fn after_a_failed_write_threads_and_tasks_are_told() {
    for bytes in [1, QUEUE_BYTES_MAX / 2 + 1] {
        check_each(move |terms| {
            let journal = Journal::new(Some(1), terms);
            let told = run(&journal, bytes, 1, false);
            agree(&journal, &told);
            let refused = |kind| matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::ReadOnly);
            assert!(
                told.iter()
                    .all(|(_, reply)| reply.is_none_or(|r| r.is_ok() || refused(r.unwrap_err())))
            );
        });
    }
}

#[test]
fn closing_answers_every_task_that_waits() {
    for bytes in [1, QUEUE_BYTES_MAX / 2 + 1] {
        check_each(move |terms| {
            let journal = Journal::new(None, terms);
            let told = run(&journal, bytes, 1, true);
            agree(&journal, &told);
            for (_, reply) in told {
                assert!(matches!(reply, None | Some(Ok(_) | Err(ErrorKind::Closed))), "{reply:?}");
            }
        });
    }
}
