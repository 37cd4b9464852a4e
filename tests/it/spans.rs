//! The spans of the engine: their names and fields, as the book lists them, and what a listener may not do to it.

use crate::common::{in_its_own_process, wait_until};
use crate::health::{Counts, Waits, event};
use filmstrip::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tracing::field::{Field, Visit};

const WAIT: Duration = Duration::from_secs(60);
const CHAPTER: &str = include_str!("../../docs/book/operating.md");
const SECRET: &str = "do-not-tell";

#[derive(Clone, Serialize, Deserialize)]
enum Told {
    Told(String),
}

impl Event for Told {}

#[derive(Default, Clone)]
struct Diary(u32);

impl Aggregate for Diary {
    const CATEGORY: &'static str = "Diary";
    type Command = String;
    type Event = Told;
    type Error = filmstrip::Error;
    fn decide(&self, what: &String) -> std::result::Result<Vec<Told>, filmstrip::Error> {
        match what.as_str() {
            "" => Err(Store::open("").expect_err("an empty path")),
            what => Ok(vec![Told::Told(what.to_owned())]),
        }
    }
    fn evolve(&mut self, _: &Told) {
        self.0 += 1;
    }
}

/// Notes something in the diary, without reading it.
struct Note(&'static str);

impl DecisionModel for Diary {
    type Event = Told;
    fn filter(&self) -> Filter {
        Filter::category("Diary")
    }
    fn evolve(&mut self, _: &Told) {
        self.0 += 1;
    }
}

impl Decision for Note {
    type Model = Diary;
    type Event = Told;
    type Error = filmstrip::Error;
    fn model(&self) -> Diary {
        Diary::default()
    }
    fn decide(&self, diary: &Diary) -> std::result::Result<Vec<Told>, filmstrip::Error> {
        Aggregate::decide(diary, &self.0.to_owned())
    }
    fn stream(&self, _: &Told) -> String {
        "Diary-c".to_owned()
    }
}

/// A span that has begun.
#[derive(Debug, Clone, Default)]
struct Seen {
    name: &'static str,
    declared: BTreeSet<String>,
    values: BTreeMap<String, String>,
    parent: Option<u64>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.values.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

thread_local! {
    static ENTERED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Notes all spans of the engine, and misbehaves if it is told to.
#[derive(Clone, Default)]
struct Notes {
    spans: Arc<Mutex<BTreeMap<u64, Seen>>>,
    next: Arc<AtomicU64>,
    panics: Arc<AtomicBool>,
    appends_to: Arc<OnceLock<WeakStore>>,
    refused: Arc<Mutex<Vec<ErrorKind>>>,
}

impl Notes {
    fn misbehave(&self) {
        if let Some(store) = self.appends_to.get().and_then(|store| store.upgrade().ok()) {
            let appended = store.append("Log-1", ExpectedVersion::Any, [event("Logged")]);
            if let Err(error) = appended {
                self.refused.lock().expect("a list").push(Error::from(error).kind());
            }
        }
        assert!(!self.panics.load(Ordering::Acquire), "the listener panics");
    }

    fn of(&self, name: &str) -> Vec<Seen> {
        let spans = self.spans.lock().expect("a map");
        spans.values().filter(|span| span.name == name).cloned().collect()
    }
}

impl tracing::Subscriber for Notes {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "filmstrip"
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.misbehave();
        let id = self.next.fetch_add(1, Ordering::AcqRel) + 1;
        let metadata = span.metadata();
        let declared = metadata.fields().iter().map(|field| field.name().to_owned()).collect();
        let parent = ENTERED.with_borrow(|entered| entered.last().copied());
        let mut seen = Seen { name: metadata.name(), declared, parent, ..Seen::default() };
        span.record(&mut seen);
        self.spans.lock().expect("a map").insert(id, seen);
        tracing::span::Id::from_u64(id)
    }
    fn record(&self, id: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        self.misbehave();
        let mut spans = self.spans.lock().expect("a map");
        values.record(spans.get_mut(&id.into_u64()).expect("it has begun"));
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, id: &tracing::span::Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
        self.misbehave();
    }
    fn exit(&self, _: &tracing::span::Id) {
        ENTERED.with_borrow_mut(Vec::pop);
        self.misbehave();
    }
}

/// The spans and their fields, as the chapter lists them.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let rows = CHAPTER.lines().filter(|line| line.starts_with("| span `"));
    let ticked = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let documented = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (ticked(cells[1]).remove(0), ticked(cells[4]).into_iter().collect())
    });
    documented.collect()
}

#[test]
fn the_chapter_and_a_store_that_does_everything_agree() {
    let name = "the_chapter_and_a_store_that_does_everything_agree";
    in_its_own_process(module_path!(), name, || {
        let notes = Notes::default();
        tracing::subscriber::set_global_default(notes.clone()).expect("the only one");
        do_everything(&notes).expect("all of it works");
        let mut met: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for span in notes.spans.lock().expect("a map").values() {
            met.entry(span.name.to_owned()).or_default().extend(span.declared.clone());
            let told = span.values.values().any(|value| value.contains(SECRET));
            assert!(!told, "a payload is told: {span:?}");
            assert!(span.values.keys().all(|field| span.declared.contains(field)));
        }
        // There is too little to compact.
        let mut documented = documented();
        assert!(documented.remove("compact").is_some());
        met.remove("compact");
        assert_eq!(met, documented);
    });
}

fn do_everything(notes: &Notes) -> Result<()> {
    let (store, directory) = (Store::temporary()?, tempfile::tempdir().expect("a directory"));
    let diaries = store.repository::<Diary>();
    diaries.execute("a", &SECRET.to_owned())?;
    assert!(diaries.execute("a", &String::new()).is_err());
    let executed = notes.of("execute");
    let field = |seen: &Seen, name: &str| seen.values.get(name).cloned().unwrap_or_default();
    let outcomes = executed.iter().map(|seen| field(seen, "filmstrip.outcome"));
    assert_eq!(outcomes.collect::<Vec<_>>(), ["\"done\"", "\"rejected\""]);
    assert_eq!(field(&executed[0], "filmstrip.stream"), "\"Diary-a\"");
    assert_eq!(field(&executed[0], "filmstrip.version"), "1");
    assert_eq!(field(&executed[0], "filmstrip.retries"), "0");
    let commit = notes.of("commit").remove(0);
    let parent = notes.spans.lock().expect("a map")[&commit.parent.expect("a parent")].name;
    assert_eq!(parent, "execute");
    let conflict = store.append("Diary-a", ExpectedVersion::NoStream, [event("Opened")]);
    assert!(conflict.is_err());
    let commits = notes.of("commit");
    assert_eq!(field(&commits[commits.len() - 1], "filmstrip.outcome"), "\"conflict\"");

    let transacted = store
        .transact(Metadata::default(), |tx| tx.execute::<Diary>("b", &SECRET.to_owned()).map(drop));
    transacted.expect("it is recorded");
    assert!(store.decide(&Note(SECRET)).is_ok() && store.decide(&Note("")).is_err());
    let decided = notes.of("decide");
    let outcomes = decided.iter().map(|seen| field(seen, "filmstrip.outcome"));
    assert_eq!(outcomes.collect::<Vec<_>>(), ["\"done\"", "\"rejected\""]);
    assert_eq!(field(&decided[0], "filmstrip.retries"), "0");
    let (counts, waits) = (store.project(Counts).start()?, store.process::<Waits>().start()?);
    store.append("Door-1", ExpectedVersion::Any, [event("Opened")])?;
    counts.wait_for(store.head(), WAIT)?;
    waits.wait_for(store.head(), WAIT)?;
    store.append("Door-1", ExpectedVersion::Any, [NewEvent::bytes("Opened", vec![0; 2 << 20])])?;
    wait_until(WAIT, "a flush", || store.stats().is_ok_and(|stats| stats.index.flushes > 0));
    store.backup(directory.path().join("backups"))?;
    store.verify()?;
    drop((counts, waits));
    store.close()
}

#[test]
fn a_listener_that_panics_or_commits_harms_no_commit() {
    let name = "a_listener_that_panics_or_commits_harms_no_commit";
    in_its_own_process(module_path!(), name, || {
        std::panic::set_hook(Box::new(|_| {}));
        let notes = Notes::default();
        tracing::subscriber::set_global_default(notes.clone()).expect("the only one");
        let store = Store::temporary().expect("a store");
        let diaries = store.repository::<Diary>();
        diaries.execute("a", &"one".to_owned()).expect("it is recorded");
        assert!(notes.appends_to.set(store.downgrade()).is_ok());
        diaries.execute("a", &"two".to_owned()).expect("it is recorded");
        let refused = notes.refused.lock().expect("a list").clone();
        assert!(refused.len() > 4, "{refused:?}");
        assert!(refused.iter().all(|kind| *kind == ErrorKind::WouldDeadlock), "{refused:?}");
        notes.panics.store(true, Ordering::Release);
        diaries.execute("a", &"three".to_owned()).expect("it is recorded");
        let loaded = store.repository::<Diary>().load("a").expect("it is there");
        assert_eq!(loaded.state.0, 3);
        assert!(store.health().expect("it can be asked").is_healthy());
    });
}
