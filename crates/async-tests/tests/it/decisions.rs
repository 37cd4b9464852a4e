//! Decisions across streams, for tasks.

use crate::common::{store, tokio};
use async_tests::poll_once;
use filmstrip::{
    DecideError, Decision, DecisionModel, ErrorKind, Event, ExpectedVersion, Filter, Metadata,
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Waker;
use std::time::Duration;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Sale {
    Sold { show: u32, seat: u32 },
}

impl Event for Sale {
    fn tags(&self) -> Vec<String> {
        let Sale::Sold { show, .. } = self;
        vec![format!("show:{show}")]
    }
}

struct Sold {
    show: u32,
    seats: u32,
}

impl DecisionModel for Sold {
    type Event = Sale;
    fn filter(&self) -> Filter {
        Filter::tag(format!("show:{}", self.show))
    }
    fn evolve(&mut self, _: &Sale) {
        self.seats += 1;
    }
}

#[derive(Debug, PartialEq)]
struct SoldOut;

impl std::fmt::Display for SoldOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sold out")
    }
}

impl std::error::Error for SoldOut {}

const SEATS: u32 = 50;
/// The show for which it is never decided: it panics.
const PANIC: u32 = u32::MAX;

/// Sells the next seat. Counts how often it is decided.
#[derive(Clone, Default)]
struct Sell {
    show: u32,
    decided: Arc<AtomicUsize>,
}

impl Decision for Sell {
    type Model = Sold;
    type Event = Sale;
    type Error = SoldOut;

    fn model(&self) -> Sold {
        Sold { show: self.show, seats: 0 }
    }

    fn decide(&self, sold: &Sold) -> Result<Vec<Sale>, SoldOut> {
        assert_ne!(self.show, PANIC, "this is not decided");
        self.decided.fetch_add(1, Ordering::SeqCst);
        match sold.seats {
            SEATS.. => Err(SoldOut),
            seat => Ok(vec![Sale::Sold { show: self.show, seat }]),
        }
    }

    fn stream(&self, Sale::Sold { show, seat }: &Sale) -> String {
        format!("Seat-{show}x{seat}")
    }
}

fn sell(show: u32) -> Sell {
    Sell { show, ..Sell::default() }
}

#[test]
fn a_hundred_tasks_sell_each_seat_once() {
    let store = store();
    tokio(async {
        let tasks = (0..100).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.decision(sell(1)).retries(u32::MAX).run().await })
        });
        let mut sold = Vec::new();
        for outcome in join_all(tasks).await {
            match outcome.unwrap() {
                Ok(done) => sold.extend(done.events),
                Err(refused) => assert!(matches!(refused, DecideError::Rejected(SoldOut))),
            }
        }
        sold.sort_by_key(|Sale::Sold { seat, .. }| *seat);
        assert!(sold.into_iter().eq((0..SEATS).map(|seat| Sale::Sold { show: 1, seat })));
    });
}

#[test]
fn a_task_gets_what_a_thread_would_and_a_panic_as_an_error() {
    let store = store();
    tokio(async {
        let command = Metadata::default().command_id(Uuid::from_u128(1));
        let first = store.decision(sell(2)).metadata(command.clone()).run().await.unwrap();
        let again = store.decision(sell(2)).metadata(command.clone()).run().await.unwrap();
        assert!(!first.already_executed && again.already_executed);
        let thread = store.sync().decision(&sell(2)).metadata(command).run().unwrap();
        assert_eq!(thread, again);
        let second = store.decide(sell(2)).await.unwrap();
        assert_eq!(second.events, [Sale::Sold { show: 2, seat: 1 }]);
        match store.decide(sell(PANIC)).await {
            Err(DecideError::Store(error)) => assert_eq!(error.kind(), ErrorKind::Panicked),
            other => panic!("{other:?}"),
        }
        assert_eq!(store.decide(sell(3)).await.unwrap().retries, 0);
    });
}

/// Before its turn it has not begun; afterwards it is made as if it had been awaited.
#[test]
fn a_dropped_decision_is_not_made_or_made_as_a_whole() {
    let store = store();
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    tokio(async {
        let blockers: Vec<_> = (0..64)
            .map(|_| {
                let held = Arc::clone(&held);
                tokio::spawn(store.run(move |_| held.lock().unwrap().recv().unwrap()))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let dropped = sell(4);
        let decided = Arc::clone(&dropped.decided);
        {
            let mut deciding = pin!(store.decide(dropped));
            assert!(poll_once(deciding.as_mut(), Waker::noop()).is_pending());
        }
        (0..64).for_each(|_| release.send(()).unwrap());
        for blocker in blockers {
            blocker.await.unwrap().unwrap();
        }
        store.run(|_| ()).await.unwrap();
        assert_eq!(decided.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&decided), 1, "its decision is still held");

        let dropped = sell(4);
        let decided = Arc::clone(&dropped.decided);
        let command = Metadata::default().command_id(Uuid::from_u128(2));
        {
            let deciding = store.decision(dropped).metadata(command.clone()).run();
            let mut deciding = pin!(deciding);
            let _ = poll_once(deciding.as_mut(), Waker::noop());
            while decided.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        // Sent again, it is recorded once.
        let again = store.decision(sell(4)).metadata(command).run().await.unwrap();
        let next = store.append("End-1", ExpectedVersion::Any, [crate::common::event(0)]).await;
        assert_eq!(next.unwrap().position.get(), again.position.get() + 1);
        assert_eq!(again.position.get(), 1);
    });
}
