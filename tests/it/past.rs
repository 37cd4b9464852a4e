//! Views as they were, and how a row came about: folded again in memory, they are what the projection made of the same
//! events.

use crate::common::{Random, seed};
use crate::indexes::{Change, Changes, INDEXES, Listed, Model, key, listed_in};
use chrono::{DateTime, Utc};
use filmstrip::projection::{ErrorAction, ExplainStep, OnError, PastView};
use filmstrip::testing::ManualClock;
use filmstrip::{
    Clock, ErrorKind, ExpectedVersion, Filter, HandlerError, NewEvent, Position, Projection,
    RecordedEvent, Store, Version, ViewWriter,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);
/// The number of a row, without what makes some of them long.
type Padded = (u64, String);

fn changed(changes: &[Change]) -> NewEvent {
    NewEvent::json("Changed", &changes).unwrap()
}

/// What each event does, and what the view is after each.
struct History {
    store: Store,
    events: Vec<Vec<Change>>,
    models: Vec<Model>,
    /// For each event, its time.
    times: Vec<DateTime<Utc>>,
}

fn history(random: &mut Random, clears: bool) -> History {
    let clock = ManualClock::new("2025-03-03T09:00:00Z".parse().unwrap());
    let store = Store::builder().clock(clock.clone()).temporary().unwrap();
    let (mut events, mut models, mut model) = (Vec::new(), vec![Model::new()], Model::new());
    for _ in 0..40 {
        let commit: Vec<Vec<Change>> = (0..1 + random.below(5))
            .map(|_| {
                let changes = (0..1 + random.below(3)).map(|_| Change::random(random));
                changes.filter(|change| clears || !matches!(change, Change::Clear { .. })).collect()
            })
            .collect();
        for event in &commit {
            event.iter().for_each(|change| change.apply_to(&mut model));
            models.push(model.clone());
        }
        store.append("Changed-1", ExpectedVersion::Any, commit.iter().map(|c| changed(c))).unwrap();
        events.extend(commit);
        match random.below(4) {
            // Back: recorded times wait until it has caught up.
            0 => clock.set(clock.now() - Duration::from_secs(random.below(30))),
            _ => clock.advance(Duration::from_secs(random.below(20))),
        }
    }
    let recorded = store.read_all().collect().unwrap();
    let times = recorded.iter().map(|event| event.recorded_at).collect();
    History { store, events, models, times }
}

fn check(view: &PastView, model: &Model, case: &str) {
    let rows: Vec<(String, Padded)> = view.prefix("").unwrap();
    let rows: Vec<_> = rows.into_iter().map(|(key, row)| (key, row.0)).collect();
    let expected: Vec<_> = model.iter().map(|(key, row)| (key.clone(), row.number)).collect();
    assert_eq!(rows, expected, "{case}");
    for (n, index) in INDEXES.iter().enumerate() {
        let listed = view.index(index).collect::<Padded>().unwrap().into_iter();
        let listed: Vec<Listed> = listed.map(|row| (row.by, row.key, row.row.0)).collect();
        assert_eq!(listed, listed_in(model, n), "{case}, index {index}");
        let mut backwards: Vec<Listed> = (view.index(index).backwards().iter::<Padded>())
            .map(|row| row.map(|row| (row.by, row.key, row.row.0)).unwrap())
            .collect();
        backwards.reverse();
        assert_eq!(backwards, listed, "{case}, index {index} backwards");
    }
    for (key, row) in model {
        assert_eq!(view.get::<Padded>(key).unwrap().unwrap().0, row.number, "{case}, {key:?}");
    }
}

#[test]
fn a_view_as_of_a_moment_is_what_it_was_then() {
    let mut random = Random(seed());
    let History { store, models, times, .. } = history(&mut random, true);
    let head = store.head();
    // One that runs is not asked, and not disturbed.
    let running = store.project(Changes).start().unwrap();
    running.wait_for(head, LONG).unwrap();
    for _ in 0..30 {
        let at = random.below(head.get() + 1);
        let view = store.project(Changes).as_of_position(Position::new(at)).unwrap();
        assert_eq!((view.position().get(), view.skipped()), (at, 0));
        check(&view, &models[at as usize], &format!("position {at}"));
    }
    let beyond = store.project(Changes).as_of_position(Position::new(u64::MAX)).unwrap();
    check(&beyond, models.last().unwrap(), "after the end");
    let (first, last) = (times[0], *times.last().unwrap());
    for _ in 0..30 {
        let span = (last - first).num_seconds() as u64 + 20;
        let time = first - Duration::from_secs(10) + Duration::from_secs(random.below(span));
        let at = times.iter().take_while(|recorded| **recorded <= time).count();
        let view = store.project(Changes).as_of(time).unwrap();
        assert_eq!(view.position().get(), at as u64, "{time}");
        check(&view, &models[at], &format!("{time}"));
    }
    let rows: Vec<(String, Padded)> = running.view().prefix("").unwrap();
    assert_eq!(rows.len(), models.last().unwrap().len());
}

/// What each event has changed in the row of `key`, with the position of the event.
fn expected(history: &History, key: &str) -> Vec<(u64, Option<u64>, Option<u64>)> {
    let of = |model: &Model| model.get(key).map(|row| row.number);
    let mut changes = Vec::new();
    for (n, event) in history.events.iter().enumerate() {
        let (mut model, mut is_written) = (history.models[n].clone(), false);
        for change in event {
            is_written |= match change {
                Change::Put { key: of, .. } | Change::Plain { key: of, .. } => of == key,
                Change::Delete(of) => of == key,
                Change::Clear { prefix } => key.starts_with(prefix) && model.contains_key(key),
            };
            change.apply_to(&mut model);
        }
        let (before, after) = (of(&history.models[n]), of(&model));
        if is_written && (before.is_some() || after.is_some()) {
            changes.push((n as u64 + 1, before, after));
        }
    }
    changes
}

#[test]
fn a_row_is_explained_by_the_events_that_have_written_it() {
    let mut random = Random(seed());
    for clears in [true, false] {
        let history = history(&mut random, clears);
        for _ in 0..20 {
            let key = key(&mut random);
            let explained = history.store.project(Changes).explain(&key).unwrap();
            let changes = explained.map(|change| {
                let change = change.unwrap();
                let before = change.before_as::<Padded>().unwrap().map(|row| row.0);
                let after = change.after_as::<Padded>().unwrap().map(|row| row.0);
                (change.event.position.get(), before, after)
            });
            assert_eq!(changes.collect::<Vec<_>>(), expected(&history, &key), "{key:?}");
        }
    }
}

// ---- memory --------------------------------------------------------------------------------------

/// A row for each stream, which counts its events and reads no other row; with `true`, reads the row of all as well.
struct ByStream {
    sums: bool,
}

impl Projection for ByStream {
    const NAME: &'static str = "by-stream";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if self.sums && event.event_type == "Summed" {
            let sum: u64 = view.prefix::<u64>("Row-")?.into_iter().map(|(_, count)| count).sum();
            return Ok(view.put("sum", &sum)?);
        }
        Ok(view.put(event.stream.as_str(), &event.version.get())?)
    }
}

fn append(store: &Store, stream: &str, event_type: &str) {
    let event = NewEvent::json(event_type, &()).unwrap();
    store.append(stream, ExpectedVersion::Any, [event]).unwrap();
}

fn rows(streams: u64) -> Store {
    let store = Store::temporary().unwrap();
    for n in 0..streams * 2 {
        append(&store, &format!("Row-{}", n % streams), "Counted");
    }
    store
}

/// The bytes met and allowed, in an error's message.
fn numbers(message: &str) -> Vec<u64> {
    let words = message.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    words.map(|word| word.parse().unwrap()).collect()
}

#[test]
fn a_view_that_takes_more_memory_than_it_may_is_refused_with_both_numbers() {
    let store = rows(100);
    let project = || store.project(ByStream { sums: true });
    let fits = project().memory_bytes(30_000).as_of_position(store.head()).unwrap();
    assert_eq!(fits.rows().count().unwrap(), 100);
    let refused = project().memory_bytes(5_000).as_of_position(store.head()).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    let [position, met, allowed] = numbers(&refused.to_string())[..] else { panic!("{refused}") };
    assert!(met > allowed && allowed == 5_000 && position < 100, "{refused}");
    // As it was before that, it fits.
    let before = Position::new(position - 1);
    assert!(project().memory_bytes(5_000).as_of_position(before).is_ok());

    // A row is explained without the others, for as long as nothing reads them.
    let explain = |key: &str| project().memory_bytes(0).explain(key).unwrap();
    let changes: Vec<_> = explain("Row-7").map(|change| change.unwrap().event.version).collect();
    assert_eq!(changes, [Version::new(1), Version::new(2)]);
    append(&store, "Sum-1", "Summed");
    let mut explained = explain("Row-7");
    assert!(explained.by_ref().take(2).all(|change| change.is_ok()));
    let refused = explained.next().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge, "{refused}");
    assert!(explained.next().is_none(), "it goes on after an error");
    let sum: Vec<_> = project().explain("sum").unwrap().map(|change| change.unwrap()).collect();
    assert_eq!(sum.len(), 1);
    assert_eq!(sum[0].after_as::<u64>().unwrap(), Some(200));
    assert_eq!((&sum[0].before, sum[0].event.stream.as_str()), (&None, "Sum-1"));
}

// ---- progress, and leaving -----------------------------------------------------------------------

#[test]
fn an_explanation_returns_in_between_and_ends_when_it_is_dropped() {
    let store = rows(50);
    let mut explained = store.project(ByStream { sums: false }).explain("Row-49").unwrap();
    assert_eq!(explained.until(), store.head());
    let ExplainStep::ReadUpTo(position) = explained.step(30).unwrap() else { panic!("so soon") };
    assert_eq!((position, explained.position()), (Position::new(30), Position::new(30)));
    let ExplainStep::Changed(change) = explained.step(30).unwrap() else {
        panic!("it was passed over")
    };
    assert_eq!((change.event.position, change.before), (Position::new(50), None));
    // What comes later is not looked at.
    append(&store, "Row-49", "Counted");
    assert_eq!(
        explained.by_ref().map(|change| change.unwrap().event.version.get()).sum::<u64>(),
        2
    );
    assert!(matches!(explained.step(1).unwrap(), ExplainStep::Ended));
    let unfinished = store.project(ByStream { sums: false }).explain("Row-49").unwrap();
    drop(unfinished);
    // Another one holds the store open until it is closed, and says so then.
    let mut open = store.project(ByStream { sums: false }).explain("Row-0").unwrap();
    store.close().unwrap();
    let closed = open.find_map(Result::err).expect("it reads on in a closed store");
    assert_eq!(closed.kind(), ErrorKind::Closed, "{closed}");
}

// ---- events that cannot be applied ---------------------------------------------------------------

/// Fails for events of the type `Bad`, and counts how often it was asked.
#[derive(Default)]
struct Fails(std::sync::Arc<AtomicU64>);

impl Projection for Fails {
    const NAME: &'static str = "fails";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if event.event_type == "Bad" {
            self.0.fetch_add(1, Ordering::Relaxed);
            return Err("bad".into());
        }
        Ok(view.put(event.stream.as_str(), &event.version.get())?)
    }
}

#[test]
fn what_cannot_be_applied_is_left_out_or_ends_it_as_on_error_says() {
    let store = Store::temporary().unwrap();
    for (stream, event_type) in
        [("A-1", "Good"), ("A-1", "Bad"), ("B-1", "Good"), ("A-1", "Good"), ("B-1", "Good")]
    {
        append(&store, stream, event_type);
    }
    let once = OnError::default().retries(1).first_delay(Duration::from_millis(1));
    let read = |then: ErrorAction| {
        let asked = std::sync::Arc::default();
        let projection = Fails(std::sync::Arc::clone(&asked));
        let view = store.project(projection).on_error(once.then(then)).as_of_position(store.head());
        assert_eq!(asked.load(Ordering::Relaxed), 2, "{then:?}");
        view.map(|view| (view.get::<u64>("A-1").unwrap(), view.skipped()))
    };
    assert_eq!(read(ErrorAction::ParkEvent).unwrap(), (Some(3), 1));
    assert_eq!(read(ErrorAction::ParkStream).unwrap(), (Some(1), 2));
    let stopped = read(ErrorAction::Usual).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Faulted);
    assert!(stopped.to_string().contains("position 2, event Bad of A-1: bad"), "{stopped}");

    let explain = |then| {
        let builder = store.project(Fails::default()).on_error(once.then(then));
        let mut explained = builder.explain("A-1").unwrap();
        let changes: Vec<_> = explained.by_ref().collect();
        (
            changes.len(),
            changes.iter().filter(|change| change.is_err()).count(),
            explained.skipped(),
        )
    };
    assert_eq!(explain(ErrorAction::ParkEvent), (2, 0, 1));
    assert_eq!(explain(ErrorAction::ParkStream), (1, 0, 2));
    assert_eq!(explain(ErrorAction::Stop), (2, 1, 0));
}
