//! fjall, with the obvious two keyspaces.

use crate::engine::{CACHE_BYTES, Engine, Item, Opened, stream_name};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

pub struct Fjall;

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn package(&self) -> Option<&'static str> {
        Some("fjall")
    }

    fn durability(&self) -> &'static str {
        "a batch over two keyspaces, with `PersistMode::SyncData` (an `fdatasync`) at each commit"
    }

    fn cache(&self) -> &'static str {
        "64 MiB (`cache_size`) for its blocks, plus its write buffers"
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        let db = Database::builder(directory).cache_size(CACHE_BYTES).open().expect("a database");
        let keyspace =
            |name| db.keyspace(name, KeyspaceCreateOptions::default).expect("a keyspace");
        let (streams, all) = (keyspace("streams"), keyspace("all"));
        let head = match all.last_key_value() {
            Some(last) => {
                u64::from_be_bytes(last.key().expect("read")[..].try_into().expect("eight bytes"))
            }
            None => 0,
        };
        Box::new(Open { db, streams, all, heads: Mutex::new((head, HashMap::new())) })
    }
}

struct Open {
    db: Database,
    streams: Keyspace,
    all: Keyspace,
    /// The last position, and the version of each stream of this run.
    heads: Mutex<(u64, HashMap<u64, u64>)>,
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let (position, versions) = &mut *self.heads.lock().expect("nobody panicked");
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for item in items {
            let version = versions.entry(item.stream).or_default();
            *version += 1;
            *position += 1;
            let key = format!("{}\0{version:020}", stream_name(item.stream));
            batch.insert(&self.streams, key.as_bytes(), item.payload);
            batch.insert(&self.all, position.to_be_bytes(), key.as_bytes());
        }
        batch.commit().expect("committed");
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        for entry in self.all.iter() {
            let key = entry.value().expect("read");
            take(&self.streams.get(key).expect("read").expect("an event"));
        }
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        for entry in self.streams.prefix(format!("{}\0", stream_name(stream))) {
            take(&entry.value().expect("read"));
        }
    }

    fn close(self: Box<Self>) {
        self.db.persist(PersistMode::SyncAll).expect("synced");
    }
}
