//! Tasks and threads that use one store side by side.

use crate::common::{Account, event, patience, tokio};
use async_tests::block_on;
use filmstrip::projection::ProjectionHandle;
use filmstrip::{
    ExpectedVersion, Filter, HandlerError, Position, Projection, RecordedEvent, Store, ViewWriter,
};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::thread::ThreadId;
use std::time::Duration;

struct Doors;

impl Projection for Doors {
    const NAME: &'static str = "doors";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Door")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        Ok(view.put(event.stream.as_str(), &event.version.get())?)
    }
}

/// A waker that has something done by another thread, and waits until it is done, the first time that it is woken.
struct Hook {
    is_first: AtomicBool,
    woken_by: Mutex<Option<ThreadId>>,
    asks: SyncSender<()>,
    done: Mutex<Receiver<()>>,
}

impl Wake for Hook {
    fn wake(self: Arc<Self>) {
        if self.is_first.swap(false, Ordering::SeqCst) {
            *self.woken_by.lock().unwrap() = Some(std::thread::current().id());
            let _ = self.asks.send(());
            let _ = self.done.lock().unwrap().recv_timeout(patience());
        }
    }
}

/// A thread that found out how far a view has come woke the tasks that wait for it, and then compared the position that
/// it had found out before. What had moved meanwhile had notified nobody: the thread slept on.
#[test]
fn a_thread_that_wakes_tasks_sees_what_moves_meanwhile() {
    let store = Store::temporary().unwrap();
    let doors = store.project(Doors).start().unwrap();
    // The view's own thread may be the one that wakes the task. Then nothing is shown.
    let met = (0..100).any(|_| has_woken_a_task_while_the_view_moved(&store, &doors));
    assert!(met, "no thread that waits has woken a task");
}

/// Whether the thread that waits was the one to wake the task that waits.
fn has_woken_a_task_while_the_view_moved(store: &Store, doors: &ProjectionHandle) -> bool {
    let append = |stream: &str| store.append(stream, ExpectedVersion::Any, [event(1)]).unwrap();
    doors.wait_for(append("Door-1").position, patience()).unwrap();
    // So that it sleeps.
    std::thread::sleep(Duration::from_millis(20));

    let (asks, asked) = sync_channel(1);
    let (tells, done) = channel();
    let (is_first, woken_by) = (AtomicBool::new(true), Mutex::default());
    let hook = Arc::new(Hook { is_first, woken_by, asks, done: Mutex::new(done) });
    let waker = Arc::clone(&hook).into();
    let handle = doors.aio();
    let mut waiting = pin!(handle.wait_for(Position::new(1 << 40)));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

    // Nobody is woken for it, so who looks next moves the position past it.
    let passed = append("Lamp-1").position;
    let awaited = Position::new(passed.get() + 1);
    let (writer, view) = (store.clone(), doors.clone());
    std::thread::spawn(move || {
        let _ = asked.recv_timeout(Duration::from_millis(500));
        writer.append("Door-1", ExpectedVersion::Any, [event(1)]).unwrap();
        while view.status().checkpoint < awaited {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = tells.send(());
    });
    // Its time is far longer than that of the test.
    let (ended, has_ended) = channel();
    let handle = doors.clone();
    let waits = std::thread::spawn(move || {
        let _ = ended.send(handle.wait_for(awaited, Duration::MAX));
    });
    match has_ended.recv_timeout(patience()) {
        Ok(reached) => reached.unwrap(),
        Err(_) => {
            eprintln!("the thread sleeps, though the view is at {awaited}");
            std::process::exit(101);
        }
    }
    let woken_by = *hook.woken_by.lock().unwrap();
    woken_by == Some(waits.thread().id())
}

/// Takes longer over an event than an engine thread waits for the reply to a request.
struct Slow;

impl Projection for Slow {
    const NAME: &'static str = "slow";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Door")
    }

    fn apply(&self, _: &RecordedEvent, _: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        std::thread::sleep(Duration::from_secs(6));
        Ok(())
    }
}

/// The pool's threads asked followers as the engine's own threads do, which gave up after five seconds.
#[test]
fn a_request_of_a_task_waits_for_as_long_as_it_takes() {
    let store = Store::temporary().unwrap();
    let slow = store.project(Slow).start().unwrap().aio();
    store.append("Door-1", ExpectedVersion::Any, [event(1)]).unwrap();
    tokio(async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        slow.stop().await.unwrap();
    });
}

/// A value of the application's that panics when it is dropped.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("on purpose, when it is dropped");
    }
}

/// What waits for the pool is dropped when the store closes. A panic of that left the store half closed, and its lock
/// free.
#[test]
fn what_panics_when_it_is_dropped_does_not_keep_a_store_from_closing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap().aio();
    let (goes_on, waits) = channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    tokio(async {
        for _ in 0..64 {
            let waits = Arc::clone(&waits);
            let job = store.run(move |_| waits.lock().unwrap().recv().is_ok());
            tokio::spawn(job);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        for _ in 0..2 {
            let fragile = Fragile;
            let mut job = Box::pin(store.run(move |_| drop(fragile)));
            assert!(futures_util::poll!(job.as_mut()).is_pending());
            tokio::spawn(job);
        }
        let closing = tokio::spawn(store.clone().close());
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(goes_on);
        closing.await.unwrap().unwrap();
    });
    block_on(Store::open(directory.path()).unwrap().aio().close()).unwrap();
}

/// A thread of the pool that has taken a delivery for one task decides on the commands of others.
#[test]
fn what_one_task_takes_on_the_pool_causes_nothing_of_another_task() {
    let store = Store::temporary().unwrap().aio();
    tokio(async {
        store.append("Door-1", ExpectedVersion::NoStream, [event(1)]).await.unwrap();
        let group = store.subscribe().category("Door").group("adder");
        let delivery = store
            .run(move |_| -> filmstrip::Result<_> {
                let mut consumer = group.start()?;
                let delivery = consumer.next().expect("a delivery")?;
                Ok((consumer, delivery))
            })
            .await
            .unwrap()
            .unwrap();
        let accounts = store.repository::<Account>();
        // One after the other, so that the thread of the delivery gets some of them.
        for n in 0..20 {
            accounts.execute(format!("a{n}"), 1).await.unwrap();
        }
        let events = store.sync().read_all().category("Account").collect().unwrap();
        assert!(events.iter().all(|event| event.metadata.causation_id.is_none()));
        store.run(move |_| drop(delivery)).await.unwrap();
    });
}
