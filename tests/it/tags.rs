//! Events are found by their tags, by whatever reads events.

use crate::common::whole::PATIENCE;
use crate::common::{Random, seed};
use filmstrip::copy::CopyAs;
use filmstrip::repository::StoredEvent;
use filmstrip::{
    ErrorKind, ExpectedVersion, Filter, Follower, NewEvent, Position, RecordedEvent, Store,
};
use std::path::Path;
use std::time::Duration;

const TAGS: [&str; 6] = ["course:c1", "course:c2", "student:s7", "학생:칠", "слово", "🎓"];

fn append(store: &Store, stream: &str, event_type: &str, tags: &[&str]) -> Position {
    let event = NewEvent::json(event_type, &()).unwrap();
    let event = tags.iter().fold(event, |event, tag| event.tag(*tag));
    store.append(stream, ExpectedVersion::Any, [event]).unwrap().position
}

/// Events of some streams and types with some tags each, at random.
fn append_some(store: &Store, random: &mut Random, count: usize) {
    for _ in 0..count {
        let stream = format!("{}-{}", ["A", "B"][random.below(2) as usize], random.below(3));
        let tags: Vec<_> = TAGS.into_iter().filter(|_| random.below(3) == 0).collect();
        append(store, &stream, ["T", "U"][random.below(2) as usize], &tags);
    }
}

type Accepts = fn(&RecordedEvent) -> bool;

/// Filters of tags, and what each of them accepts, said in another way.
fn filters() -> Vec<(Filter, Accepts)> {
    fn has(event: &RecordedEvent, tag: &str) -> bool {
        event.tags().any(|met| met == tag)
    }
    vec![
        (Filter::tag("course:c1"), |e| has(e, "course:c1")),
        (Filter::tag("🎓").tagged("학생:칠"), |e| has(e, "🎓") && has(e, "학생:칠")),
        (Filter::category("A").and_event_type("T").tagged("слово"), |e| {
            e.stream.category() == "A" && e.event_type == "T" && has(e, "слово")
        }),
        (Filter::tag("course:c1").and_event_type("T").or(Filter::tag("student:s7")), |e| {
            has(e, "course:c1") && e.event_type == "T" || has(e, "student:s7")
        }),
        (Filter::tag("nobody's"), |_| false),
        (Filter::tag("course:c2").or(Filter::category("B")), |e| {
            has(e, "course:c2") || e.stream.category() == "B"
        }),
    ]
}

fn positions(events: &[RecordedEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

fn check(store: &Store, path: &Path) {
    let all = store.read_all().collect().unwrap();
    for (filter, accepts) in filters() {
        let wanted: Vec<_> =
            all.iter().filter(|e| accepts(e)).map(|event| event.position).collect();
        let forwards = store.read_all().filter(filter.clone()).collect().unwrap();
        assert_eq!(positions(&forwards), wanted, "{filter:?}");
        assert!(forwards.iter().all(|event| filter.wants_event(event)));
        let mut backwards = store.read_all().backwards().filter(filter.clone()).collect().unwrap();
        backwards.reverse();
        assert_eq!(positions(&backwards), wanted, "{filter:?}, backwards");
        let subscription = store.subscribe().filter(filter.clone()).start().unwrap();
        for position in &wanted {
            let event = subscription.recv_timeout(PATIENCE).unwrap();
            assert_eq!(event.position, *position, "{filter:?}, subscribed");
        }
        while subscription.position() < store.head() {
            assert!(subscription.recv_timeout(Duration::from_millis(1)).is_err());
        }
        let followed = Follower::open(path).unwrap().read().filter(filter).collect().unwrap();
        assert_eq!(positions(&followed), wanted, "followed");
        assert!(followed == forwards);
    }
}

/// Tags were a field of the format for later; all that reads events must see them alike.
#[test]
fn whatever_reads_events_finds_the_same_ones_by_their_tags() {
    let random = &mut Random(seed());
    for _round in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).unwrap();
        append_some(&store, random, 200);
        check(&store, &path);
        store.close().unwrap();
        let store = Store::open(&path).unwrap();
        append_some(&store, random, 20);
        check(&store, &path);
        let copy = directory.path().join("copy");
        store.copy_into(&copy, |_| Ok(CopyAs::Unchanged)).unwrap();
        let exported = directory.path().join("exported");
        store.close().unwrap();
        Store::repair(&path).unwrap().export(&exported).unwrap();
        for other in [copy, exported] {
            check(&Store::open(&other).unwrap(), &other);
        }
        assert!(Store::verify_at(&path).unwrap().findings.is_empty());
    }
}

#[test]
fn live_subscribers_and_a_group_get_what_has_their_tags() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(path).unwrap();
    let filter = || Filter::tag("a").and_event_type("T").or(Filter::tag("b").tagged("c"));
    let subscription = store.subscribe().filter(filter()).start().unwrap();
    let tagged = store.subscribe().tagged("b").start().unwrap();
    let mailer = |store: &Store, filter| store.subscribe().filter(filter).group("mailer").start();
    let consumer = mailer(&store, filter()).unwrap();
    append(&store, "A-1", "U", &["a"]);
    append(&store, "A-1", "T", &["b"]);
    let first = append(&store, "A-1", "T", &["a", "b"]);
    let second = append(&store, "A-1", "U", &["b", "c", "d"]);
    for position in [first, second] {
        assert_eq!(subscription.recv_timeout(PATIENCE).unwrap().position, position);
    }
    for position in [2, 3, 4] {
        assert_eq!(tagged.recv_timeout(PATIENCE).unwrap().position.get(), position);
    }
    let delivery = consumer.recv_timeout(PATIENCE).unwrap();
    assert_eq!(delivery.event.position, first);
    delivery.ack().unwrap();
    drop(consumer);
    // It goes on after a restart; its filter is fixed, and an equal one may be written in another order.
    drop((subscription, tagged));
    store.close().unwrap();
    let store = Store::open(path).unwrap();
    for other in [Filter::all(), Filter::tag("a"), filter().or(Filter::tag("d"))] {
        let refused = mailer(&store, other).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let message = refused.to_string();
        assert!(message.contains(r#"event types ["T"], tags ["a"]"#), "{message}");
        assert!(message.contains(r#"tags ["b", "c"]"#), "{message}");
    }
    let same = Filter::tag("c").tagged("b").or(Filter::event_type("T").tagged("a"));
    let consumer = mailer(&store, same).unwrap();
    let delivery = consumer.recv_timeout(PATIENCE).unwrap();
    assert_eq!(delivery.event.position, second);
    delivery.ack().unwrap();
    drop(consumer);
    store.group("mailer").remove().unwrap();
    mailer(&store, Filter::tag("d")).unwrap();
}

/// The parts of an event that a copy takes apart kept its metadata, and were to keep its tags.
#[test]
fn what_takes_the_place_of_an_event_in_a_copy_has_its_tags() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, "A-1", "Both", &["a", "b"]);
    let copy = directory.path().join("copy");
    let part = |name| StoredEvent::json_of(name, 1, &()).unwrap();
    let parts = |_: &RecordedEvent| Ok(CopyAs::Events(vec![part("One"), part("Two")]));
    store.copy_into(&copy, parts).unwrap();
    let events = Store::open(&copy).unwrap().read_all().filter(Filter::tag("b")).collect().unwrap();
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.tags().eq(["a", "b"])));
}

#[test]
fn what_cannot_be_a_tag_is_refused_and_says_why() {
    let store = Store::temporary().unwrap();
    let refused = |event: NewEvent| {
        let error = store.append("A-1", ExpectedVersion::Any, [event]).unwrap_err();
        let error = filmstrip::Error::from(error);
        (error.kind(), error.to_string())
    };
    let event = || NewEvent::bytes("T", vec![]);
    let cases = [
        (event().tag(""), ErrorKind::InvalidInput, "a tag is empty; it needs at least 1 byte"),
        (event().tag("a\nb"), ErrorKind::InvalidInput, r#"tag "a\nb" holds a control character"#),
        (event().tag("é".repeat(129)), ErrorKind::TooLarge, "258 bytes; at most 256 are allowed"),
        (
            (0..65).fold(event(), |event, n| event.tag(n.to_string())),
            ErrorKind::TooLarge,
            "an event has 65 tags; at most 64 are allowed",
        ),
    ];
    for (event, kind, message) in cases {
        let met = refused(event);
        assert!(met.0 == kind && met.1.contains(message), "{met:?}");
    }
    assert_eq!(store.head(), Position::START);
    let most = (0..64).fold(event(), |event, n| event.tag(format!("{n:02}{}", "é".repeat(127))));
    let most = most.tag(format!("00{}", "é".repeat(127)));
    store.append("A-1", ExpectedVersion::Any, [most]).unwrap();
    assert_eq!(store.read_stream("A-1").collect().unwrap()[0].tags().len(), 64);
    for (filter, kind) in [
        (Filter::tag(""), ErrorKind::InvalidInput),
        (Filter::tag("é".repeat(129)), ErrorKind::TooLarge),
        (Filter::tag("a").or(Filter::all()).and_category("A"), ErrorKind::InvalidInput),
    ] {
        let refused = [
            store.read_all().filter(filter.clone()).iter().map(drop).unwrap_err(),
            store.subscribe().filter(filter).start().map(drop).unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.kind() == kind), "{refused:?}");
    }
}

/// What an event is about is a part of it: the same event with another tag is another one.
#[test]
fn a_repetition_with_other_tags_is_a_conflict() {
    let store = Store::temporary().unwrap();
    let event = |tag: &str| NewEvent::bytes("T", vec![]).id(uuid::Uuid::max()).tag(tag);
    let append = |tag| store.append("A-1", ExpectedVersion::NoStream, [event(tag)]);
    assert!(!append("a").unwrap().already_recorded);
    assert!(append("a").unwrap().already_recorded);
    assert!(append("b").is_err());
}
