//! Appends and a forget at the same time.

use super::*;
use chrono::{DateTime, Utc};
use filmstrip::clock::{Clock, SystemClock};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// No event may be acknowledged that nobody can ever read: what a key has sealed lies before its fence in the journal,
/// or was refused.
#[test]
fn what_is_appended_while_its_subject_is_forgotten_lies_before_the_fence_or_is_refused() {
    for _round in 0..20 {
        let place = Place::new();
        let store = place.open();
        store.append("Order-0", ExpectedVersion::Any, [private("7", "first")]).unwrap();
        let refused = AtomicBool::new(false);
        let last = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let (store, refused) = (&store, &refused);
                    scope.spawn(move || {
                        let mut last = Position::START;
                        while !refused.load(Ordering::Relaxed) {
                            let stream = format!("Order-{writer}");
                            match store.append(stream, ExpectedVersion::Any, [private("7", "x")]) {
                                Ok(done) => last = done.position,
                                Err(AppendError::Store(error)) => {
                                    assert_eq!(error.kind(), ErrorKind::Erased, "{error}");
                                    refused.store(true, Ordering::Relaxed);
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                        last
                    })
                })
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(5));
            store.forget("7").unwrap();
            writers.into_iter().map(|writer| writer.join().unwrap()).max().unwrap()
        });
        // The fence is a record, between two positions: what comes after it is no event of this key.
        assert_eq!(store.head(), last.max(Position::new(1)));
        assert!(formats(&store).iter().all(|format| *format == PayloadFormat::Erased));
        let ids: std::collections::HashSet<_> =
            store.read_all().collect().unwrap().iter().map(|event| event.key_id()).collect();
        assert_eq!(ids.len(), 1, "one key was made for the first of them all");
        store.append("Order-0", ExpectedVersion::Any, [public()]).unwrap();
    }
}

/// A clock that holds up the next commit, which asks it after sealing and before queueing.
struct Gate(Arc<Mutex<Held>>);

/// What tells that a commit is held up, and lets it go on.
type Held = Option<(Sender<()>, Receiver<()>)>;

impl Clock for Gate {
    fn now(&self) -> DateTime<Utc> {
        let held = self.0.lock().unwrap().take();
        if let Some((here, goes_on)) = held {
            here.send(()).unwrap();
            goes_on.recv().unwrap();
        }
        SystemClock.now()
    }
}

#[test]
fn what_was_sealed_before_the_fence_and_is_queued_after_it_is_refused() {
    let place = Place::new();
    let held = Arc::new(Mutex::new(None));
    let builder = Store::builder().keys(place.keys()).clock(Gate(Arc::clone(&held)));
    let store = builder.open(place.store()).unwrap();
    store.append("Order-1", ExpectedVersion::Any, [private("7", "first")]).unwrap();
    let ((here, is_here), (go, goes_on)) = (channel(), channel());
    *held.lock().unwrap() = Some((here, goes_on));
    let late = std::thread::scope(|scope| {
        let late =
            scope.spawn(|| store.append("Order-1", ExpectedVersion::Any, [private("7", "late")]));
        is_here.recv().unwrap();
        store.forget("7").unwrap();
        go.send(()).unwrap();
        late.join().unwrap()
    });
    let Err(AppendError::Store(error)) = late else { panic!("{late:?}") };
    assert_eq!(error.kind(), ErrorKind::Erased, "{error}");
    assert_eq!(formats(&store), [PayloadFormat::Erased]);
}
