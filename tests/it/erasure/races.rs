//! Appends and a forget at the same time.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

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
