//! redb, with the obvious two tables.

use crate::engine::{CACHE_BYTES, Engine, Item, Opened, stream_name};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

const STREAMS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("streams");
const ALL: TableDefinition<'_, u64, (&str, u64)> = TableDefinition::new("all");

pub struct Redb;

impl Engine for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn package(&self) -> Option<&'static str> {
        Some("redb")
    }

    fn durability(&self) -> &'static str {
        "a write transaction with its default durability: one `fdatasync` before `commit` returns"
    }

    fn cache(&self) -> &'static str {
        "64 MiB (`set_cache_size`) for reading and writing together"
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        std::fs::create_dir_all(directory).expect("a directory");
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES as usize);
        let db = builder.create(directory.join("events.redb")).expect("a database");
        let transaction = db.begin_write().expect("begun");
        transaction.open_table(STREAMS).expect("a table");
        let head = {
            let all = transaction.open_table(ALL).expect("a table");
            all.last().expect("read").map_or(0, |(position, _)| position.value())
        };
        transaction.commit().expect("committed");
        Box::new(Open { db, heads: Mutex::new((head, HashMap::new())) })
    }
}

struct Open {
    db: Database,
    /// The last position, and the version of each stream of this run.
    heads: Mutex<(u64, HashMap<u64, u64>)>,
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let (position, versions) = &mut *self.heads.lock().expect("nobody panicked");
        let transaction = self.db.begin_write().expect("begun");
        {
            let mut streams = transaction.open_table(STREAMS).expect("a table");
            let mut all = transaction.open_table(ALL).expect("a table");
            for item in items {
                let version = versions.entry(item.stream).or_default();
                *version += 1;
                *position += 1;
                let key = (&*stream_name(item.stream), *version);
                streams.insert(key, item.payload).expect("inserted");
                all.insert(*position, key).expect("inserted");
            }
        }
        transaction.commit().expect("committed");
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        let transaction = self.db.begin_read().expect("begun");
        let streams = transaction.open_table(STREAMS).expect("a table");
        let all = transaction.open_table(ALL).expect("a table");
        for entry in all.iter().expect("read") {
            let (_, key) = entry.expect("read");
            take(streams.get(key.value()).expect("read").expect("an event").value());
        }
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        let transaction = self.db.begin_read().expect("begun");
        let streams = transaction.open_table(STREAMS).expect("a table");
        let name = stream_name(stream);
        for entry in streams.range((&*name, 0)..=(&*name, u64::MAX)).expect("read") {
            take(entry.expect("read").1.value());
        }
    }

    fn close(self: Box<Self>) {}
}
