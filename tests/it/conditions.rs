//! What conditions promise: a commit is recorded only if nothing that its filters accept came after their positions,
//! whatever others commit at the same time.

use filmstrip::limits::{COMMIT_CONDITIONS_MAX, EVENT_TAGS_MAX, TAG_BYTES_MAX};
use filmstrip::{
    AppendError, Commit, Committed, Error, ErrorKind, ExpectedVersion, Filter, Matched, NewEvent,
    Position, Store, StreamId, Version,
};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const ANY: ExpectedVersion = ExpectedVersion::Any;

fn at(position: u64) -> Position {
    Position::new(position)
}

fn event(event_type: &str, tags: &[&str]) -> NewEvent {
    tags.iter().fold(NewEvent::bytes(event_type, "x"), |event, tag| event.tag(*tag))
}

fn append(event: NewEvent) -> Commit {
    Commit::new().append("A-1", ANY, [event])
}

/// A store with these events, one to a commit, in streams of their own.
fn store_with(events: impl IntoIterator<Item = NewEvent>) -> Store {
    let store = Store::temporary().unwrap();
    for (n, event) in events.into_iter().enumerate() {
        store.append(format!("S-{}", n + 1), ANY, [event]).unwrap();
    }
    store
}

#[track_caller]
fn matched(result: Result<Committed, AppendError>) -> Matched {
    match result {
        Err(AppendError::Matched(matched)) => matched,
        other => panic!("no match: {other:?}"),
    }
}

#[track_caller]
fn refused(result: Result<Committed, AppendError>, says: &[&str]) -> Error {
    let error = Error::from(result.unwrap_err());
    for said in says {
        assert!(error.to_string().contains(said), "{error} does not say {said:?}");
    }
    error
}

#[test]
fn events_up_to_the_position_do_not_matter_and_the_first_one_after_it_does() {
    let tags = ["b", "b", "a", "b", "a"];
    for (matching, expected) in [(3, None), (4, Some(4))] {
        let events = (1..=5).map(|n| event("T", if n == matching { &["a"] } else { &["b"] }));
        let store = store_with(events);
        let result = store.commit(append(event("T", &["c"])).unless(Filter::tag("a"), at(3)));
        match expected {
            None => assert_eq!(result.unwrap().position, at(6)),
            Some(position) => {
                let matched = matched(result);
                assert_eq!((matched.position, matched.after), (at(position), at(3)));
                assert_eq!(*matched.filter, Filter::tag("a"));
                assert_eq!(store.head(), at(5));
            }
        }
    }
    let store = store_with(tags.map(|tag| event("T", &[tag])));
    let unless =
        |after| store.commit(append(event("T", &["c"])).unless(Filter::tag("a"), at(after)));
    assert_eq!(matched(unless(0)).position, at(3));
    assert_eq!(matched(unless(2)).position, at(3));
    assert_eq!(matched(unless(3)).position, at(5));
    assert_eq!(unless(5).unwrap().position, at(6));
}

#[test]
fn a_position_past_the_head_is_refused_with_both() {
    let store = store_with((0..10).map(|_| event("T", &["a"])));
    let commit = append(event("T", &[])).unless(Filter::tag("b"), at(11));
    let error = refused(store.commit(commit), &["position 11", "at 10"]);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(store.head(), at(10));
    store.commit(append(event("T", &[])).unless(Filter::tag("b"), at(10))).unwrap();
}

#[test]
fn of_several_alternatives_one_is_enough_to_match() {
    let store = store_with([event("A", &["y"])]);
    let filter = Filter::tag("x").and_event_type("A").or(Filter::tag("y"));
    let commit = append(event("T", &[])).unless(filter, Position::START);
    assert_eq!(matched(store.commit(commit)).position, at(1));
    let filter = Filter::tag("x").and_event_type("A").or(Filter::tag("y").and_event_type("B"));
    store.commit(append(event("T", &[])).unless(filter, Position::START)).unwrap();
}

#[test]
fn all_conditions_and_versions_of_a_commit_must_hold() {
    let store = store_with([event("T", &["a"]), event("T", &["b"])]);
    let commit = |a: u64, b: u64, version: u64| {
        Commit::new()
            .append("S-1", Version::new(version), [event("T", &[])])
            .unless(Filter::tag("a"), at(a))
            .unless(Filter::tag("b"), at(b))
    };
    assert_eq!(matched(store.commit(commit(0, 2, 1))).position, at(1));
    assert_eq!(matched(store.commit(commit(1, 1, 1))).position, at(2));
    assert!(matches!(store.commit(commit(0, 0, 7)), Err(AppendError::Conflict(_))));
    assert_eq!(store.head(), at(2));
    store.commit(commit(1, 2, 1)).unwrap();
}

#[test]
fn a_commits_own_events_are_no_conflict() {
    let store = Store::temporary().unwrap();
    let commit = || append(event("T", &["a"])).unless(Filter::tag("a"), Position::START);
    assert_eq!(store.commit(commit()).unwrap().position, at(1));
    assert_eq!(matched(store.commit(commit())).position, at(1));
}

/// The tail keeps what a commit's tags have in common once for each run of events that are alike.
#[test]
fn events_that_are_appended_together_are_each_found_by_their_own_tags_and_type()
-> filmstrip::Result<()> {
    let store = Store::temporary()?;
    let together = [
        event("A", &["x"]),
        event("A", &["x"]),
        event("A", &["y"]),
        event("B", &["y"]),
        event("B", &[]),
        event("B", &["x", "y"]),
    ];
    let commit = Commit::new().append("S-1", ExpectedVersion::NoStream, together).append(
        "S-2",
        ExpectedVersion::NoStream,
        [event("B", &["x", "y"]), event("B", &["z"])],
    );
    store.commit(commit)?;
    let stream = |name: &str| StreamId::new(name).expect("a name");
    let cases = [
        (Filter::tag("x"), &[1, 2, 6, 7][..]),
        (Filter::tag("y"), &[3, 4, 6, 7]),
        (Filter::tag("z"), &[8]),
        (Filter::tag("x").tagged("y"), &[6, 7]),
        (Filter::tag("y").and_event_type("B"), &[4, 6, 7]),
        (Filter::tag("x").and_stream(stream("S-2")), &[7]),
    ];
    for (filter, expected) in cases {
        let read = store.read_all().filter(filter.clone()).iter()?;
        let read: Vec<_> =
            read.map(|e| e.map(|e| e.position.get())).collect::<filmstrip::Result<_>>()?;
        assert_eq!(read, expected, "{filter:?}");
        for after in 0..8 {
            let result = store.commit(Commit::new().unless(filter.clone(), at(after)));
            match expected.iter().find(|position| **position > after) {
                Some(first) => assert_eq!(matched(result).position, at(*first), "{filter:?}"),
                None => assert!(result.is_ok(), "{filter:?} after {after}"),
            }
        }
    }
    Ok(())
}

#[test]
fn conditions_alone_are_a_check_and_write_nothing() {
    let store = store_with([event("T", &["a"]), event("T", &["b"])]);
    let check = |after| Commit::new().unless(Filter::tag("a"), at(after));
    let checked = store.commit(check(1)).unwrap();
    assert_eq!((checked.position, checked.already_recorded), (at(2), false));
    assert!(checked.appended.is_empty());
    assert_eq!(matched(store.commit(check(0))).position, at(1));
    let with_check = check(1).check("S-1", Version::new(1));
    assert_eq!(store.commit(with_check).unwrap().position, at(2));
    let wrong = check(1).check("S-1", Version::new(2));
    assert!(matches!(store.commit(wrong), Err(AppendError::Conflict(_))));
    assert_eq!(store.head(), at(2));
    assert_eq!(store.stats().unwrap().commits.commits, 2, "something was written");
    let error = refused(store.commit(Commit::new()), &["nothing to write"]);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_same_conditional_commit_again_is_recognised_though_it_appends_to_any_version() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.append("S-1", ANY, [event("T", &["b"])]).unwrap();
    let events = [event("T", &["a"]), event("U", &[]), event("T", &["a", "b"])];
    let commit = |events: [NewEvent; 3], after| {
        let [first, second, third] = events;
        Commit::new()
            .append("A-1", ANY, [first, second])
            .append("A-2", ANY, [third])
            .unless(Filter::tag("a"), at(after))
    };
    let first = store.commit(commit(events.clone(), 1)).unwrap();
    assert!(!first.already_recorded);
    let again = |store: &Store| {
        // Whatever has come since, and whatever the condition was judged by.
        for after in [0, 1, 2] {
            let again = store.commit(commit(events.clone(), after)).unwrap();
            assert!(again.already_recorded, "after {after}");
            assert_eq!(again.position, first.position);
            for (again, first) in again.appended.iter().zip(&first.appended) {
                assert!(again.already_recorded);
                assert_eq!((&again.stream, again.first), (&first.stream, first.first));
                assert_eq!((again.version, again.position), (first.version, first.position));
            }
        }
    };
    again(&store);
    store.append("A-1", ANY, [event("T", &["a"])]).unwrap();
    again(&store);
    // After its own events another one is the first match.
    assert_eq!(matched(store.commit(commit(events.clone(), 4))).position, at(5));
    // With one event more, less, changed, or in another order, it is another commit.
    let [one, two, three] = events.clone();
    let more = commit(events.clone(), 1).append("A-3", ANY, [event("T", &[])]);
    let other = [one.clone().tag("c"), two.clone(), three.clone()];
    let swapped = [two, one, three];
    for other in [more, commit(other, 1), commit(swapped, 1)] {
        assert_eq!(matched(store.commit(other)).position, at(2));
    }
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    again(&store);
    assert_eq!(store.head(), at(5));
}

/// A repeated commit may bring a newer position of another log: it is recorded, without the events.
#[test]
fn what_rides_on_a_repeated_conditional_commit_is_recorded() {
    let store = Store::temporary().unwrap();
    let event = event("T", &["a"]);
    let commit = |position| {
        append(event.clone())
            .unless(Filter::tag("a"), Position::START)
            .tracking("other", at(position))
    };
    store.commit(commit(7)).unwrap();
    for position in [7, 9, 9, 3] {
        assert!(store.commit(commit(position)).unwrap().already_recorded, "{position}");
    }
    assert_eq!((store.tracked("other").unwrap(), store.head()), (at(9), at(1)));
}

/// Its filter accepts none of its events, so nothing is found by which it could be recognised.
#[test]
fn a_commit_whose_conditions_are_about_other_events_is_not_recognised() {
    let store = Store::temporary().unwrap();
    let event = event("T", &["a"]);
    let commit = || append(event.clone()).unless(Filter::tag("b"), Position::START);
    store.commit(commit()).unwrap();
    assert!(!store.commit(commit()).unwrap().already_recorded);
    assert_eq!(store.head(), at(2));
}

/// Runs `commit(thread, round)` on eight threads at once, one hundred rounds, beside one that appends all the time, so
/// that the eight wait for it and are written together. Returns how many of the eight succeeded in each round, and how
/// many events the other one has appended.
fn race(store: &Store, commit: impl Fn(u64, u64) -> Commit + Sync) -> (Vec<u64>, u64) {
    let barrier = Barrier::new(8);
    let won: Vec<AtomicU64> = (0..100).map(|_| AtomicU64::new(0)).collect();
    let (racing, mut others) = (AtomicU64::new(8), 0);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (barrier, won, racing, commit) = (&barrier, &won, &racing, &commit);
            scope.spawn(move || {
                for (round, won) in (0..).zip(won) {
                    let commit = commit(thread, round);
                    barrier.wait();
                    match store.commit(commit) {
                        Ok(done) => {
                            assert!(!done.already_recorded);
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(AppendError::Matched(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                racing.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while racing.load(Ordering::Relaxed) > 0 {
            let event = NewEvent::bytes("Other", vec![1; 8_000]);
            store.append("Other-1", ANY, [event]).unwrap();
            others += 1;
        }
    });
    (won.into_iter().map(AtomicU64::into_inner).collect(), others)
}

#[test]
fn of_eight_that_want_the_same_one_gets_it_each_time() {
    let store = Store::temporary().unwrap();
    let (won, others) = race(&store, |thread, round| {
        let tag = format!("seat:{round}");
        Commit::new()
            .append(format!("Guest-{thread}"), ANY, [event("Seated", &[&tag])])
            .unless(Filter::tag(tag), Position::START)
    });
    assert_eq!(won, [1; 100]);
    assert_eq!(store.head(), at(100 + others));
    assert_eq!(store.stats().unwrap().commits.conflicts, 700);
}

/// What a thread appends in a round, and what it excludes.
type Way = dyn Fn(u64, u64) -> (NewEvent, Filter) + Sync;

/// The conditions of a round exclude each other, but by other names: each of them by what the others append.
#[test]
fn conditions_that_overlap_in_any_way_have_one_winner() {
    let by_type = |thread: u64, round: u64| {
        let event_type = format!("Taken{round}");
        (event(&event_type, &[&format!("own:{thread}:{round}")]), Filter::event_type(event_type))
    };
    let by_tag = |thread: u64, round: u64| {
        let tag = format!("t:{round}");
        (event(&format!("Type{thread}"), &[&tag]), Filter::tag(tag))
    };
    let by_two_tags_and_one = |thread: u64, round: u64| {
        let (one, two) = (format!("a:{round}"), format!("b:{round}"));
        let filter = match thread % 2 {
            0 => Filter::tag(&one).tagged(&two),
            _ => Filter::tag(&two),
        };
        (event("T", &[&one, &two]), filter)
    };
    let by_stream_and_tag = |thread: u64, round: u64| {
        let (stream, tag) = (format!("Own-{round}"), format!("t:{round}"));
        let filter = match thread % 2 {
            0 => Filter::stream(StreamId::new(stream).unwrap()),
            _ => Filter::tag("none").or(Filter::tag(&tag).and_event_type("T")),
        };
        (event("T", &[&tag]), filter)
    };
    let ways: [(&str, &Way); 4] = [
        ("type", &by_type),
        ("tag", &by_tag),
        ("two tags and one", &by_two_tags_and_one),
        ("stream and alternatives", &by_stream_and_tag),
    ];
    for (name, way) in ways {
        let store = Store::temporary().unwrap();
        let (won, _) = race(&store, |thread, round| {
            let (event, filter) = way(thread, round);
            let stream = format!("Own-{round}");
            Commit::new().append(stream, ANY, [event]).unless(filter, Position::START)
        });
        assert_eq!(won, [1; 100], "{name}");
    }
}

#[test]
fn conditions_that_have_nothing_in_common_never_conflict() {
    let store = Store::temporary().unwrap();
    let (won, others) = race(&store, |thread, round| {
        let tag = format!("own:{thread}:{round}");
        Commit::new()
            .append(format!("Guest-{thread}"), ANY, [event("Seated", &[&tag, "all"])])
            .unless(Filter::tag(tag).tagged("all"), Position::START)
    });
    assert_eq!(won, [8; 100]);
    assert_eq!((store.head(), store.stats().unwrap().commits.conflicts), (at(800 + others), 0));
}

#[test]
fn what_a_condition_cannot_be_is_refused_with_what_to_do_instead() {
    let store = store_with([event("T", &["a"])]);
    let unless = |filter: Filter, after: u64| store.commit(Commit::new().unless(filter, at(after)));
    let whole = || Filter::category("S");
    for filter in [whole(), Filter::tag("b").or(whole())] {
        let says = [r#"the categories ["S"]"#, "give it the position up to which you have read"];
        let error = refused(unless(filter.clone(), 0), &says);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        unless(filter, 1).unwrap();
    }
    // With something else to go by, it is a condition like any other.
    let narrowed = [whole().and_event_type("U"), whole().tagged("b")];
    narrowed.into_iter().for_each(|filter| drop(unless(filter, 0).unwrap()));
    let narrowed = whole().and_event_type("T").tagged("a");
    assert_eq!(matched(unless(narrowed, 0)).position, at(1));

    let long = Filter::tag("x".repeat(TAG_BYTES_MAX + 1));
    assert_eq!(refused(unless(long, 0), &["257 bytes; at most 256"]).kind(), ErrorKind::TooLarge);
    let empty = refused(unless(Filter::tag(""), 0), &["a tag is empty"]);
    assert_eq!(empty.kind(), ErrorKind::InvalidInput);
    let late = Filter::tag("a").or(Filter::tag("b")).and_event_type("T");
    refused(unless(late, 0), &["narrowed after they were joined"]);

    let many = |count: usize| {
        (0..count).fold(append(event("T", &[])), |commit, n| {
            commit.unless(Filter::tag(format!("t{n}")), Position::START)
        })
    };
    store.commit(many(COMMIT_CONDITIONS_MAX)).unwrap();
    let error = refused(store.commit(many(COMMIT_CONDITIONS_MAX + 1)), &["257", "at most 256"]);
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(store.head(), at(2));
}

#[test]
fn a_match_is_told_in_a_sentence_to_act_on() {
    let store = store_with([event("Opened", &["course:c1"]), event("Closed", &["course:c1"])]);
    let filter = Filter::tag("course:c1").and_event_type("Opened").and_event_type("Closed");
    let said = |after| {
        let error = store.commit(Commit::new().unless(filter.clone(), at(after))).unwrap_err();
        let said = error.to_string();
        let error = Error::from(error);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Conflict, said.clone()));
        let source = std::error::Error::source(&error).expect("the match is its source");
        assert!(source.downcast_ref::<Matched>().is_some());
        said
    };
    let what = r#"an event of the type "Opened" or "Closed" with the tag "course:c1""#;
    assert_eq!(
        said(1),
        format!(
            "{what} was recorded at position 2, and the commit allows none after 1; read on from 1, and decide again"
        )
    );
    assert_eq!(
        said(0),
        format!(
            "{what} is recorded at position 1, and the commit allows none; read it, and decide again"
        )
    );
}

#[test]
fn the_filter_of_everything_excludes_whatever_came_since() {
    let store = Store::temporary().unwrap();
    let commit = |after| append(event("T", &[])).unless(Filter::all(), at(after));
    assert_eq!(store.commit(commit(0)).unwrap().position, at(1));
    assert_eq!(matched(store.commit(commit(0))).position, at(1));
    assert_eq!(store.commit(commit(1)).unwrap().position, at(2));
}

#[test]
fn a_tag_on_every_event_is_compared_only_after_the_position() {
    let store = Store::temporary().unwrap();
    for batch in 0..10 {
        let events = (0..500).map(|n| event("T", &["tenant:1", &format!("n:{}", batch * 500 + n)]));
        store.append("A-1", ANY, events).unwrap();
    }
    let unless = |filter: Filter, after: u64| store.commit(Commit::new().unless(filter, at(after)));
    let tenant = || Filter::tag("tenant:1");
    for after in [0, 1, 499, 500, 2_345, 4_999] {
        assert_eq!(matched(unless(tenant(), after)).position, at(after + 1));
    }
    unless(tenant(), 5_000).unwrap();
    assert_eq!(matched(unless(tenant().tagged("n:4998"), 3)).position, at(4_999));
    unless(tenant().tagged("n:4998"), 4_999).unwrap();
}

/// Texts of many scripts, each `TAG_BYTES_MAX` bytes long.
fn longest_tags() -> Vec<String> {
    const SCRIPTS: [&str; 16] = [
        "abc",
        "éßø",
        "Ωψλ",
        "жщю",
        "אבג",
        "شمس",
        "नमः",
        "ไทย",
        "中文字",
        "かなカ",
        "한국어",
        "ქარ",
        "հայ",
        "አማር",
        "😀🦀🎞",
        "𝔘𝔫𝔦",
    ];
    let tags = (0..EVENT_TAGS_MAX).map(|n| {
        let mut tag = format!("{n}:");
        for letter in SCRIPTS[n % SCRIPTS.len()].chars().cycle() {
            if tag.len() + letter.len_utf8() > TAG_BYTES_MAX {
                break;
            }
            tag.push(letter);
        }
        tag + &"-".repeat(TAG_BYTES_MAX)
    });
    tags.map(|tag| tag[..TAG_BYTES_MAX].to_owned()).collect()
}

#[test]
fn as_many_tags_as_an_event_may_have_each_as_long_as_it_may_be_are_compared_in_every_script() {
    let store = store_with([event("T", &["a"])]);
    let tags = longest_tags();
    let full = tags.iter().fold(NewEvent::bytes("T", "x"), |event, tag| event.tag(tag));
    let all = || tags.iter().fold(Filter::all(), |filter, tag| filter.tagged(tag));
    let commit = || append(full.clone()).unless(all(), Position::START);
    assert_eq!(store.commit(commit()).unwrap().position, at(2));
    assert!(store.commit(commit()).unwrap().already_recorded);
    for tag in &tags {
        let check = Commit::new().unless(Filter::tag(tag), at(1));
        assert_eq!(matched(store.commit(check)).position, at(2), "{tag}");
        store.commit(Commit::new().unless(Filter::tag(tag), at(2))).unwrap();
    }
    let other = tags.iter().skip(1).fold(Filter::tag("a"), |filter, tag| filter.tagged(tag));
    store.commit(Commit::new().unless(other, Position::START)).unwrap();
}

#[test]
fn a_filter_of_a_hundred_items_is_judged_by_each_of_them() {
    let items = |count: u64| {
        let item = |n: u64| Filter::tag(format!("t:{n}")).and_event_type(format!("T{n}"));
        (2..=count).fold(item(1), |filter, n| filter.or(item(n)))
    };
    let store = store_with([event("T1", &["t:2"]), event("T99", &["t:99", "t:100"])]);
    let check = |count| store.commit(Commit::new().unless(items(count), Position::START));
    check(98).unwrap();
    let matched = matched(check(100));
    assert_eq!(matched.position, at(2));
    let said = matched.to_string();
    assert!(said.contains("one that one of 97 further alternatives accepts"), "{said}");
    assert!(said.len() < 400, "{said}");
}
