//! Rows of a view by pages, from either end, and one after the other: which they are, and what reading them costs.

use crate::common::domain::counted;
use crate::common::{Random, seed};
use filmstrip::projection::{ProjectionHandle, Rows};
use filmstrip::{
    ExpectedVersion, Filter, HandlerError, NewEvent, Position, Projection, RecordedEvent, Store,
    ViewWriter,
};
use serde::de::{Deserialize, Deserializer};
use serde::{Deserialize as Decode, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

// ---- a map in memory says the same ---------------------------------------------------------------

type Model = BTreeMap<String, u64>;

/// A row; some are too long for one piece.
#[derive(Debug, PartialEq, Serialize, Decode)]
struct Row {
    number: u64,
    padding: String,
}

impl Row {
    fn new(number: u64) -> Row {
        let length = if number.is_multiple_of(50) { 9_000 } else { number % 7 };
        Row { number, padding: "x".repeat(length as usize) }
    }
}

/// Keys that begin with each other, in letters of every length, so that ends of prefixes differ from one to the next.
fn key(random: &mut Random) -> String {
    let letters = ['a', 'b', '/', '\u{7F}', 'é', '\u{D7FF}', '\u{E000}', '\u{10FFFF}'];
    (0..random.below(5)).map(|_| letters[random.below(8) as usize]).collect()
}

/// What is read: the same of a view, and of the map.
struct Query {
    prefix: Option<String>,
    range: Option<(Bound<String>, Bound<String>)>,
    after: Option<String>,
    before: Option<String>,
    backwards: bool,
    limit: Option<u64>,
}

impl Query {
    fn random(random: &mut Random) -> Query {
        let some_key = |random: &mut Random| random.one_in(3).then(|| key(random));
        let bound = |random: &mut Random| match random.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(key(random)),
            _ => Bound::Excluded(key(random)),
        };
        Query {
            prefix: some_key(random),
            range: random.one_in(2).then(|| (bound(random), bound(random))),
            after: some_key(random),
            before: some_key(random),
            backwards: random.one_in(2),
            limit: random.one_in(2).then(|| random.below(40)),
        }
    }

    fn of<'a>(&self, mut rows: Rows<'a>) -> Rows<'a> {
        if let Some(prefix) = &self.prefix {
            rows = rows.prefix(prefix);
        }
        if let Some((from, to)) = &self.range {
            rows = rows.range((from.as_ref().map(|key| &**key), to.as_ref().map(|key| &**key)));
        }
        if let Some(after) = &self.after {
            rows = rows.after(after);
        }
        if let Some(before) = &self.before {
            rows = rows.before(before);
        }
        if self.backwards {
            rows = rows.backwards();
        }
        if let Some(limit) = self.limit {
            rows = rows.limit(limit);
        }
        rows
    }

    fn of_model(&self, model: &Model) -> Vec<(String, u64)> {
        let wants = |key: &str| {
            let is_in = |(from, to): &(Bound<String>, Bound<String>)| {
                let is_after = match from {
                    Bound::Included(from) => key >= from.as_str(),
                    Bound::Excluded(from) => key > from.as_str(),
                    Bound::Unbounded => true,
                };
                let is_before = match to {
                    Bound::Included(to) => key <= to.as_str(),
                    Bound::Excluded(to) => key < to.as_str(),
                    Bound::Unbounded => true,
                };
                is_after && is_before
            };
            self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix))
                && self.range.as_ref().is_none_or(is_in)
                && self.after.as_ref().is_none_or(|after| key > after.as_str())
                && self.before.as_ref().is_none_or(|before| key < before.as_str())
        };
        let mut rows: Vec<_> =
            model.iter().filter(|(key, _)| wants(key)).map(|(k, n)| (k.clone(), *n)).collect();
        if self.backwards {
            rows.reverse();
        }
        rows.truncate(self.limit.map_or(usize::MAX, |limit| limit as usize));
        rows
    }

    /// Reads in one of the ways that there are, and compares.
    fn check(&self, rows: Rows<'_>, model: &Model, random: &mut Random) {
        let rows = self.of(rows);
        let mut expected = self.of_model(model);
        let found: Vec<(String, Row)> = match random.below(3) {
            0 => rows.collect().unwrap(),
            1 => rows.iter::<Row>().collect::<Result<_, _>>().unwrap(),
            _ => {
                expected.truncate(1);
                rows.first().unwrap().into_iter().collect()
            }
        };
        let numbers: Vec<_> = found.iter().map(|(key, row)| (key.clone(), row.number)).collect();
        assert_eq!(numbers, expected);
        assert!(found.iter().all(|(_, row)| *row == Row::new(row.number)), "a row is not whole");
    }
}

/// Puts and deletes rows, in the view and in a map, and asks the view that it writes to what it holds.
struct Changes(Arc<parking_lot::Mutex<(Model, Random)>>);

impl Projection for Changes {
    const NAME: &'static str = "changes";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let (model, random) = &mut *self.0.lock();
        for change in 0..1 + random.below(3) {
            let (key, number) = (key(random), event.position.get() * 3 + change);
            if random.one_in(3) {
                view.delete(&key);
                model.remove(&key);
            } else {
                view.put(&key, &Row::new(number))?;
                model.insert(key, number);
            }
        }
        Query::random(random).check(view.rows(), model, random);
        Ok(())
    }
}

#[test]
fn rows_are_read_in_order_from_either_end_by_whoever_reads_them() {
    let mut random = Random(seed());
    let store = Store::temporary().unwrap();
    let shared = Arc::new(parking_lot::Mutex::new((Model::new(), Random(random.next()))));
    let changes = store.project(Changes(Arc::clone(&shared))).start().unwrap();
    let view = changes.view();
    // Several in one commit: each sees the changes of those before it, which are not in the view yet.
    for events in [1, 300, 20, 600, 3] {
        changes.wait_for(append(&store, events), LONG).unwrap();
        let model = shared.lock().0.clone();
        for _ in 0..200 {
            Query::random(&mut random).check(view.rows(), &model, &mut random);
            let query = Query::random(&mut random);
            view.read(|view| query.check(view.rows(), &model, &mut random));
        }
        let all: Vec<(String, Row)> = view.prefix("").unwrap();
        assert_eq!(all.len(), model.len());
        let some: Vec<(String, Row)> = view.range("a", "b").unwrap();
        assert_eq!(some.len(), model.range("a".to_owned().."b".to_owned()).count());
    }
}

fn append(store: &Store, events: u64) -> Position {
    let events = (0..events).map(counted);
    store.append("Counted-1", ExpectedVersion::Any, events).unwrap().position
}

// ---- what reading costs --------------------------------------------------------------------------

/// A row for each event.
struct Numbers;

impl Projection for Numbers {
    const NAME: &'static str = "numbers";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let position = event.position.get();
        Ok(view.put(&format!("n/{position:06}"), &position)?)
    }
}

fn numbers(events: u64) -> (Store, ProjectionHandle) {
    let store = Store::temporary().unwrap();
    let numbers = store.project(Numbers).start().unwrap();
    numbers.wait_for(append(&store, events), LONG).unwrap();
    (store, numbers)
}

thread_local! {
    static DECODED: Cell<usize> = const { Cell::new(0) };
    /// What is done where a row is decoded.
    static WITHIN: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A row that notices that it is decoded.
struct Noticed(u64);

impl<'de> Deserialize<'de> for Noticed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Noticed, D::Error> {
        DECODED.set(DECODED.get() + 1);
        if let Some(within) = WITHIN.take() {
            within();
        }
        u64::deserialize(deserializer).map(Noticed)
    }
}

/// The story: a page was cut from a list of all rows, each of them decoded: 156 ms for 20 of 100,000.
#[test]
fn a_page_decodes_the_rows_that_it_returns_and_no_others() {
    let (_store, numbers) = numbers(2_000);
    let view = numbers.view();
    let decoded = |what: &str, most: usize, read: &mut dyn FnMut()| {
        DECODED.set(0);
        read();
        assert!(DECODED.get() <= most, "{what}: {} decoded, at most {most}", DECODED.get());
    };
    decoded("a page", 20, &mut || {
        let page: Vec<(String, Noticed)> =
            view.rows().prefix("n/").after("n/001000").limit(20).collect().unwrap();
        assert_eq!((page.len(), page[0].1.0), (20, 1_001));
    });
    decoded("a page backwards", 20, &mut || {
        let rows = view.rows().before("n/001000").backwards().limit(20);
        let page: Vec<(String, Noticed)> = rows.collect().unwrap();
        assert_eq!((page.len(), page[0].1.0), (20, 999));
    });
    decoded("the last row", 1, &mut || {
        let (_, last) = view.rows().backwards().first::<Noticed>().unwrap().unwrap();
        assert_eq!(last.0, 2_000);
    });
    decoded("a walk that ends", 30, &mut || {
        let mut rows = view.rows().iter::<Noticed>();
        let found = rows.try_for_each(|row| match row.unwrap() {
            (key, row) if row.0 == 30 => ControlFlow::Break(key),
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(found, ControlFlow::Break("n/000030".to_owned()));
    });
}

/// The story: all that was read was decoded under the lock that the projector waits for.
#[test]
fn while_rows_are_decoded_the_projection_goes_on() {
    let (store, numbers) = numbers(10);
    let view = numbers.view();
    let read: [&dyn Fn(); 4] = [
        &|| assert_eq!(view.get::<Noticed>("n/000001").unwrap().unwrap().0, 1),
        &|| drop(view.prefix::<Noticed>("n/").unwrap()),
        &|| drop(view.rows().backwards().limit(3).collect::<Noticed>().unwrap()),
        &|| assert!(view.rows().iter::<Noticed>().count() >= 10),
    ];
    for read in read {
        let (store, numbers) = (store.clone(), numbers.clone());
        WITHIN.set(Some(Box::new(move || numbers.wait_for(append(&store, 1), LONG).unwrap())));
        read();
        assert!(WITHIN.take().is_none(), "nothing was decoded");
    }
}

/// Puts the row that the event names, or deletes it.
struct Named;

impl Projection for Named {
    const NAME: &'static str = "named";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let keys: Vec<String> = event.json()?;
        for key in keys {
            match event.event_type.as_str() {
                "Put" => view.put(&key, &event.position.get())?,
                _ => view.delete(&key),
            }
        }
        Ok(())
    }
}

#[test]
fn a_walk_gives_each_row_that_stays_once_whatever_is_put_and_deleted_meanwhile() {
    const ROWS: usize = 3_000;
    let store = Store::temporary().unwrap();
    let named = store.project(Named).start().unwrap();
    let change = |event_type: &str, keys: Vec<String>| {
        let event = NewEvent::json(event_type, &keys).unwrap();
        let done = store.append("Named-1", ExpectedVersion::Any, [event]).unwrap();
        named.wait_for(done.position, LONG).unwrap();
    };
    let stays = |n: usize| format!("{n:05}");
    change("Put", (0..ROWS).map(stays).collect());
    for backwards in [false, true] {
        let view = named.view();
        let rows = if backwards { view.rows().backwards() } else { view.rows() };
        let mut seen = Vec::new();
        for (n, row) in rows.iter::<u64>().enumerate() {
            let (key, _) = row.unwrap();
            if n % 100 == 0 {
                // Around the end of what was read, before it, and far behind it.
                let goes = (0..ROWS).step_by(7).map(|n| format!("{n:05}-{backwards}"));
                change(if n % 200 == 0 { "Put" } else { "Deleted" }, goes.collect());
            }
            seen.push(key);
        }
        assert!(seen.is_sorted_by(|a, b| if backwards { a > b } else { a < b }), "out of order");
        seen.retain(|key| !key.contains('-'));
        seen.sort();
        assert_eq!(seen, (0..ROWS).map(stays).collect::<Vec<_>>());
        let moment = view.read(|view| {
            let mut rows = view.rows().iter::<u64>();
            rows.try_fold(0, |count, row| row.map(|_| count + 1)).unwrap()
        });
        assert_eq!(moment, view.prefix::<u64>("").unwrap().len());
    }
}
