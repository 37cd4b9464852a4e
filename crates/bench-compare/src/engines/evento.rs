//! evento with its fjall executor: an aggregate is a stream. It is made of async calls, each of which
//! hands its work to a thread of the runtime's.

use crate::engine::{CACHE_BYTES, Engine, Item, Opened, stream_name};
use evento::cursor::{Args, Value};
use evento::{Event, EventFilter, Executor, Fjall, TenantFilter};
use fjall::{Database, PersistMode};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use ulid::Ulid;

/// Of events that are read at a time.
const PAGE: u16 = 10_000;

pub struct Evento;

impl Engine for Evento {
    fn name(&self) -> &'static str {
        "evento"
    }

    fn package(&self) -> Option<&'static str> {
        Some("evento")
    }

    fn durability(&self) -> &'static str {
        "a batch over eleven keyspaces of fjall, then `PersistMode::SyncAll` (an `fsync`), which \
         concurrent writers may share; events can be read a moment before that. A commit's events are read \
         by version and id, not in the order given"
    }

    fn cache(&self) -> &'static str {
        "64 MiB (`cache_size`) for fjall's blocks, plus write buffers"
    }

    fn following(&self) -> Option<&'static str> {
        Some(
            "as its subscriptions do inside a process: it watches the writes, then reads past the last \
             cursor; nothing is handled or checkpointed",
        )
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        let runtime = Runtime::new().expect("a runtime");
        let db = Database::builder(directory).cache_size(CACHE_BYTES).open().expect("a database");
        let executor = Fjall::from_database(db).expect("an executor");
        let opened = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        let counted = Mutex::new((0, HashMap::new()));
        Box::new(Open { runtime, executor, opened_ms: opened.as_millis() as u64, counted })
    }
}

struct Open {
    runtime: Runtime,
    executor: Fjall,
    /// With the number of an event of this run, its id: ids in the order of the log.
    opened_ms: u64,
    /// How many events, and the version of each stream of this run.
    counted: Mutex<(u128, HashMap<u64, u16>)>,
}

impl Open {
    fn event(&self, item: &Item<'_>) -> Event {
        let (count, versions) = &mut *self.counted.lock().expect("nobody panicked");
        let version = versions.entry(item.stream).or_default();
        *version += 1;
        *count += 1;
        Event {
            id: Ulid::from_parts(self.opened_ms, *count),
            aggregate_id: stream_name(item.stream),
            aggregate_type: "Stream".to_owned(),
            version: *version,
            name: "Measured".to_owned(),
            data: item.payload.to_vec(),
            ..Event::default()
        }
    }

    /// Gives a page of payloads; the cursor after it, the one before if there is none, or nothing if `take` wants no
    /// more.
    fn page(
        &self,
        filter: Option<Arc<[EventFilter]>>,
        after: Option<Value>,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Option<(Option<Value>, bool)> {
        let args = Args::forward(PAGE, after.clone());
        let tenant = TenantFilter::Only(String::new());
        let read = self.executor.read(filter, None, tenant, args, None);
        let page = self.runtime.block_on(read).expect("read");
        for edge in &page.edges {
            if !take(&edge.node.data) {
                return None;
            }
        }
        Some((page.page_info.end_cursor.or(after), page.page_info.has_next_page))
    }

    fn pages(&self, filter: Option<Arc<[EventFilter]>>, take: &mut dyn FnMut(&[u8])) {
        let mut take_each = |payload: &[u8]| {
            take(payload);
            true
        };
        let mut cursor = None;
        while let Some((behind, true)) = self.page(filter.clone(), cursor, &mut take_each) {
            cursor = behind;
        }
    }
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let events = items.iter().map(|item| self.event(item)).collect();
        self.runtime.block_on(self.executor.write(events)).expect("written");
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        self.pages(None, take);
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        let filter = EventFilter {
            aggregate_type: "Stream".to_owned(),
            aggregate_id: Some(stream_name(stream)),
            name: None,
        };
        self.pages(Some(Arc::new([filter])), take);
    }

    fn follow(&self, take: &mut dyn FnMut(&[u8]) -> bool) {
        let mut writes = self.executor.write_watch().expect("a watch");
        let mut cursor = None;
        loop {
            // What is written from here on is told, should the page not hold it yet.
            writes.mark_unchanged();
            let Some((behind, more)) = self.page(None, cursor, take) else { return };
            cursor = behind;
            if !more {
                self.runtime.block_on(writes.changed()).expect("the executor is there");
            }
        }
    }

    fn close(self: Box<Self>) {
        self.executor.database().persist(PersistMode::SyncAll).expect("synced");
    }
}
