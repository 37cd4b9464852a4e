//! Indexes of a view: whatever is put, removed, rebuilt and restarted, they agree with its rows, and are read in order
//! from either end.

use crate::common::{Random, seed};
use filmstrip::projection::{IndexRows, IndexedRow, ProjectionHandle};
use filmstrip::{
    ErrorKind, ExpectedVersion, Filter, HandlerError, NewEvent, Projection, RecordedEvent, Store,
    View, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

// ---- a map in memory says the same ---------------------------------------------------------------

/// What an event does to the view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Change {
    Put { key: String, row: u64, keys: Vec<(usize, Vec<u8>)> },
    Plain { key: String, row: u64 },
    Delete(String),
    Clear { prefix: String },
}

pub(crate) const INDEXES: [&str; 3] = ["a", "aa", "b"];

/// A row, and its secondary keys in each index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) number: u64,
    keys: Vec<(usize, Vec<u8>)>,
}

pub(crate) type Model = BTreeMap<String, Row>;

/// Some rows are too long for one value of the database.
fn padded(number: u64) -> (u64, String) {
    (number, "x".repeat(if number.is_multiple_of(40) { 9_000 } else { 3 }))
}

impl Change {
    pub(crate) fn random(random: &mut Random) -> Change {
        let (key, row) = (key(random), random.below(1_000));
        match random.below(40) {
            0 => Change::Clear { prefix: key.chars().take(1).collect() },
            1..8 => Change::Delete(key),
            8..11 => Change::Plain { key, row },
            _ => {
                let keys = (0..random.below(4)).map(|_| (random.below(3) as usize, bytes(random)));
                Change::Put { key, row, keys: keys.collect() }
            }
        }
    }

    fn apply(&self, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        match self {
            Change::Put { key, row, keys } => {
                let keys: Vec<_> = keys.iter().map(|(n, by)| (INDEXES[*n], &by[..])).collect();
                view.put_indexed(key, &padded(*row), &keys)?;
            }
            Change::Plain { key, row } => view.put(key, &padded(*row))?,
            Change::Delete(key) => view.delete(key),
            Change::Clear { prefix } => {
                for (key, _) in view.prefix::<(u64, String)>(prefix)? {
                    view.delete(&key);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn apply_to(&self, model: &mut Model) {
        match self.clone() {
            Change::Put { key, row, keys } => drop(model.insert(key, Row { number: row, keys })),
            Change::Plain { key, row } => {
                drop(model.insert(key, Row { number: row, keys: Vec::new() }));
            }
            Change::Delete(key) => drop(model.remove(&key)),
            Change::Clear { prefix } => model.retain(|key, _| !key.starts_with(&prefix)),
        }
    }
}

/// Few keys that begin with each other, so that most are put several times.
pub(crate) fn key(random: &mut Random) -> String {
    let letters = ['a', 'b', '\0', '\u{10FFFF}'];
    (0..random.below(4)).map(|_| letters[random.below(4) as usize]).collect()
}

/// Secondary keys that begin with each other and hold the bytes that the form has a meaning for.
fn bytes(random: &mut Random) -> Vec<u8> {
    let some = [0, 1, 2, 254, 255, b'a'];
    (0..random.below(4)).map(|_| some[random.below(6) as usize]).collect()
}

pub(crate) struct Changes;

impl Projection for Changes {
    const NAME: &'static str = "changes";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &INDEXES;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        event.json::<Vec<Change>>()?.iter().try_for_each(|change| change.apply(view))
    }
}

pub(crate) type Listed = (Vec<u8>, String, u64);

pub(crate) fn listed_in(model: &Model, index: usize) -> Vec<Listed> {
    let of_row = |(key, row): (&String, &Row)| {
        let keys = row.keys.iter().filter(|(n, _)| *n == index).map(|(_, by)| by.clone());
        keys.map(|by| (by, key.clone(), row.number)).collect::<Vec<_>>()
    };
    let mut listed: Vec<_> = model.iter().flat_map(of_row).collect();
    listed.sort();
    listed.dedup();
    listed
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What is read: the same of a view, and of the map.
#[derive(Debug)]
struct Query {
    key: Option<Vec<u8>>,
    prefix: Option<Vec<u8>>,
    range: Option<Bounds>,
    after: Option<(Vec<u8>, String)>,
    before: Option<(Vec<u8>, String)>,
    backwards: bool,
    limit: Option<u64>,
}

impl Query {
    fn random(random: &mut Random) -> Query {
        let some = |random: &mut Random| random.one_in(4).then(|| bytes(random));
        let row = |random: &mut Random| random.one_in(4).then(|| (bytes(random), key(random)));
        let bound = |random: &mut Random| match random.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(bytes(random)),
            _ => Bound::Excluded(bytes(random)),
        };
        Query {
            key: some(random),
            prefix: some(random),
            range: random.one_in(3).then(|| (bound(random), bound(random))),
            after: row(random),
            before: row(random),
            backwards: random.one_in(2),
            limit: random.one_in(2).then(|| random.below(30)),
        }
    }

    fn of<'a>(&self, mut rows: IndexRows<'a>) -> IndexRows<'a> {
        if let Some(by) = &self.key {
            rows = rows.key(by);
        }
        if let Some(prefix) = &self.prefix {
            rows = rows.prefix(prefix);
        }
        if let Some((from, to)) = &self.range {
            rows = rows.range((from.as_ref().map(|by| &**by), to.as_ref().map(|by| &**by)));
        }
        if let Some((by, key)) = &self.after {
            rows = rows.after(by, key);
        }
        if let Some((by, key)) = &self.before {
            rows = rows.before(by, key);
        }
        if self.backwards {
            rows = rows.backwards();
        }
        if let Some(limit) = self.limit {
            rows = rows.limit(limit);
        }
        rows
    }

    fn of_model(&self, mut listed: Vec<Listed>) -> Vec<Listed> {
        use std::ops::RangeBounds;
        let place = |(by, key, _): &Listed| (by.clone(), key.clone());
        listed.retain(|listed| {
            self.key.as_ref().is_none_or(|by| listed.0 == *by)
                && self.prefix.as_ref().is_none_or(|prefix| listed.0.starts_with(prefix))
                && self.range.as_ref().is_none_or(|range| range.contains(&listed.0))
                && self.after.as_ref().is_none_or(|after| place(listed) > *after)
                && self.before.as_ref().is_none_or(|before| place(listed) < *before)
        });
        if self.backwards {
            listed.reverse();
        }
        listed.truncate(self.limit.map_or(usize::MAX, |limit| limit as usize));
        listed
    }

    fn check(&self, rows: IndexRows<'_>, listed: Vec<Listed>, random: &mut Random) {
        let (rows, mut expected) = (self.of(rows), self.of_model(listed));
        let found: Vec<IndexedRow<(u64, String)>> = match random.below(4) {
            0 => rows.collect().unwrap(),
            1 => rows.iter().collect::<Result<_, _>>().unwrap(),
            2 => {
                expected.truncate(1);
                rows.first().unwrap().into_iter().collect()
            }
            _ => {
                assert_eq!(rows.count().unwrap(), expected.len() as u64, "{self:?}");
                return;
            }
        };
        assert!(found.iter().all(|found| found.row == padded(found.row.0)), "a row is not whole");
        let found: Vec<_> = found.into_iter().map(|row| (row.by, row.key, row.row.0)).collect();
        assert_eq!(found, expected, "{self:?}");
    }
}

fn check(view: &View, model: &Model, random: &mut Random) {
    let rows: Vec<(String, (u64, String))> = view.prefix("").unwrap();
    let rows: Vec<_> = rows.into_iter().map(|(key, row)| (key, row.0)).collect();
    let expected: Vec<_> = model.iter().map(|(key, row)| (key.clone(), row.number)).collect();
    assert_eq!(rows, expected);
    for (n, index) in INDEXES.iter().enumerate() {
        let all = view.index(index).collect::<(u64, String)>().unwrap();
        let all: Vec<_> = all.into_iter().map(|row| (row.by, row.key, row.row.0)).collect();
        assert_eq!(all, listed_in(model, n), "index {index}");
        for _ in 0..40 {
            Query::random(random).check(view.index(index), listed_in(model, n), random);
            let query = Query::random(random);
            view.read(|view| query.check(view.index(index), listed_in(model, n), random));
        }
    }
    check_pages(view, &expected, random);
}

/// All pages of rows, from either end, are the rows.
fn check_pages(view: &View, rows: &[(String, u64)], random: &mut Random) {
    let (limit, prefix) = (1 + random.below(9), key(random));
    let wanted: Vec<_> = rows.iter().filter(|(key, _)| key.starts_with(&prefix)).cloned().collect();
    assert_eq!(view.count(&prefix).unwrap(), wanted.len() as u64);
    let (mut forwards, mut backwards) = (Vec::new(), Vec::new());
    loop {
        let last = forwards.last().map(|(key, _): &(String, u64)| key.as_str());
        let page: Vec<(String, (u64, String))> = view.page(&prefix, last, limit).unwrap();
        forwards.extend(page.iter().map(|(key, row)| (key.clone(), row.0)));
        if (page.len() as u64) < limit {
            break;
        }
    }
    loop {
        let first = backwards.first().map(|(key, _): &(String, u64)| key.as_str());
        let page: Vec<(String, (u64, String))> = view.page_before(&prefix, first, limit).unwrap();
        backwards.splice(0..0, page.iter().map(|(key, row)| (key.clone(), row.0)));
        if (page.len() as u64) < limit {
            break;
        }
    }
    assert_eq!(forwards, wanted);
    assert_eq!(backwards, wanted);
}

fn start(store: &Store) -> ProjectionHandle {
    let changes = store.project(Changes).start().unwrap();
    changes.wait_for(store.head(), LONG).unwrap();
    changes
}

#[test]
fn rows_and_indexes_agree_whatever_is_put_removed_rebuilt_and_restarted() {
    let mut random = Random(seed());
    let directory = tempfile::tempdir().unwrap();
    let (mut store, mut model) = (Store::open(directory.path()).unwrap(), Model::new());
    let mut changes = start(&store);
    for round in 0..30 {
        for _ in 0..1 + random.below(4) {
            // Several events in one commit: the later ones replace what is not written yet.
            let events: Vec<Vec<Change>> = (0..1 + random.below(30))
                .map(|_| (0..1 + random.below(3)).map(|_| Change::random(&mut random)).collect())
                .collect();
            events.iter().flatten().for_each(|change| change.apply_to(&mut model));
            let events = events.iter().map(|changes| NewEvent::json("Changed", changes).unwrap());
            store.append("Changed-1", ExpectedVersion::Any, events).unwrap();
        }
        match random.below(6) {
            0 => changes.rebuild().unwrap(),
            1 => {
                drop(changes);
                store.close().unwrap();
                store = Store::open(directory.path()).unwrap();
                changes = start(&store);
            }
            2 => {
                changes.stop().unwrap();
                changes = start(&store);
            }
            _ => {}
        }
        changes.wait_for(store.head(), LONG).unwrap();
        check(&changes.view(), &model, &mut random);
        if round % 10 == 9 {
            let findings = store.verify().unwrap().findings;
            assert!(findings.is_empty(), "{findings:#?}");
        }
    }
}

// ---- what is there already -----------------------------------------------------------------------

/// The same view without indexes, with one, and with one of another name.
struct Before;
struct After;
struct Renamed;

fn put(event: &RecordedEvent, view: &mut ViewWriter<'_>, index: &str) -> Result<(), HandlerError> {
    let by: u64 = event.json()?;
    Ok(view.put_indexed(event.stream.as_str(), &by, &[(index, &by.to_be_bytes())])?)
}

macro_rules! projection {
    ($name:ty, $indexes:expr, $apply:expr) => {
        impl Projection for $name {
            const NAME: &'static str = "grows";
            const VERSION: u32 = 1;
            const INDEXES: &'static [&'static str] = $indexes;

            fn filter(&self) -> Filter {
                Filter::all()
            }

            fn apply(
                &self,
                event: &RecordedEvent,
                view: &mut ViewWriter<'_>,
            ) -> Result<(), HandlerError> {
                $apply(event, view)
            }
        }
    };
}

projection!(Before, &[], |event: &RecordedEvent, view: &mut ViewWriter<'_>| {
    let by: u64 = event.json()?;
    Ok(view.put(event.stream.as_str(), &by)?)
});
projection!(After, &["by"], |event, view| put(event, view, "by"));
projection!(Renamed, &["other"], |event, view| put(event, view, "other"));

fn append(store: &Store, stream: &str, n: u64) {
    let event = NewEvent::json("Counted", &n).unwrap();
    store.append(stream, ExpectedVersion::Any, [event]).unwrap();
}

/// An index of a view that was stored without it lacked all rows that were there before.
#[test]
fn a_view_that_was_stored_with_other_indexes_is_rebuilt_and_refuses_to_be_read_by_them_until_then()
{
    let store = Store::temporary().unwrap();
    (0..5).for_each(|n| append(&store, &format!("Counted-{n}"), 10 - n));
    let before = store.project(Before).start().unwrap();
    before.wait_for(store.head(), LONG).unwrap();
    let view = before.view();
    let refused = view.index("by").collect::<u64>().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("no index \"by\"; it has none"), "{refused}");
    assert_eq!(view.index("by").count().unwrap_err().kind(), ErrorKind::InvalidInput);
    before.stop().unwrap();

    let after = store.project(After).start().unwrap();
    after.wait_for(store.head(), LONG).unwrap();
    let read = |index: &str| -> Vec<u64> {
        view.index(index).iter::<u64>().map(|row| row.unwrap().row).collect()
    };
    assert_eq!(read("by"), [6, 7, 8, 9, 10]);
    after.stop().unwrap();

    // A view that has them already is not built again.
    let again = store.project(After).start().unwrap();
    assert_eq!(read("by"), [6, 7, 8, 9, 10]);
    again.stop().unwrap();

    let renamed = store.project(Renamed).start().unwrap();
    renamed.wait_for(store.head(), LONG).unwrap();
    assert_eq!(read("other"), [6, 7, 8, 9, 10]);
    let refused = view.index("by").collect::<u64>().unwrap_err();
    assert!(refused.to_string().contains("it has other"), "{refused}");
}

#[test]
fn what_no_index_can_hold_is_refused_with_what_was_met_and_what_is_allowed() {
    struct Refused;
    projection!(Refused, &["by"], |_: &RecordedEvent, view: &mut ViewWriter<'_>| {
        let error = view.put_indexed("k", &1, &[("of", b"1")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("no index \"of\"; it has by"), "{error}");
        let error = view.put_indexed("k", &1, &[("by", &[0; 541])]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("1085 bytes; at most 1084"), "{error}");
        let tags: Vec<_> = (0..50u64).map(|n| [n.to_be_bytes(); 10].concat()).collect();
        let keys: Vec<_> = tags.iter().map(|tag| ("by", &tag[..])).collect();
        let error = view.put_indexed("k", &1, &keys).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("at most 4096"), "{error}");
        assert_eq!(view.get::<u64>("k")?, None, "a refused row was kept");
        // The longest that there may be.
        view.put_indexed(&"k".repeat(1_024), &1, &[("by", &[1; 58])])?;
        Ok(view.put_indexed("", &2, &[("by", &[0; 541])])?)
    });
    struct Twice;
    projection!(Twice, &["by", "by"], |_, _: &mut ViewWriter<'_>| Ok(()));
    struct TooMany;
    projection!(TooMany, &["x"; 17], |_, _: &mut ViewWriter<'_>| Ok(()));

    let store = Store::temporary().unwrap();
    append(&store, "Counted-1", 1);
    let refused = store.project(Refused).start().unwrap();
    refused.wait_for(store.head(), LONG).unwrap();
    let rows = refused.view().index("by").collect::<u64>().unwrap();
    assert_eq!(rows.iter().map(|row| row.row).collect::<Vec<_>>(), [2, 1]);
    refused.stop().unwrap();
    let error = store.project(Twice).start().err().unwrap();
    assert!(error.to_string().contains("\"by\" of an index: is there twice"), "{error}");
    let error = store.project(TooMany).start().err().unwrap();
    assert!(error.to_string().contains("17 names; at most 16"), "{error}");
}
