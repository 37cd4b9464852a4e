//! sled alone, made durable: two trees, one transaction, a flush, and an `fdatasync` of our own,
//! because sled's flush is none.

use crate::engine::{CACHE_BYTES, Engine, Item, Opened, stream_name};
use sled::Transactional;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

pub struct Sled;

impl Engine for Sled {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn package(&self) -> Option<&'static str> {
        Some("sled")
    }

    fn durability(&self) -> &'static str {
        "a transaction over two trees, `flush`, and an `fdatasync` of its file by us, for each commit"
    }

    fn cache(&self) -> &'static str {
        "64 MiB (`cache_capacity`), which it treats as advice"
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        let db = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .open()
            .expect("a database");
        let file = File::open(directory.join("db")).expect("its file");
        let (streams, all) = (db.open_tree("streams"), db.open_tree("all"));
        let (streams, all) = (streams.expect("a tree"), all.expect("a tree"));
        let head = match all.last().expect("read") {
            Some((key, _)) => u64::from_be_bytes(key[..].try_into().expect("eight bytes")),
            None => 0,
        };
        let heads = Mutex::new((head, HashMap::new()));
        Box::new(Open { db, streams, all, file, heads })
    }
}

struct Open {
    db: sled::Db,
    streams: sled::Tree,
    all: sled::Tree,
    file: File,
    /// The last position, and the version of each stream of this run.
    heads: Mutex<(u64, HashMap<u64, u64>)>,
}

fn key(stream: u64, version: u64) -> String {
    format!("{}\0{version:020}", stream_name(stream))
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let (position, versions) = &mut *self.heads.lock().expect("nobody panicked");
        let placed = items.iter().map(|item| {
            let version = versions.entry(item.stream).or_default();
            *version += 1;
            *position += 1;
            (key(item.stream, *version), *position, item.payload)
        });
        let placed: Vec<_> = placed.collect();
        let done = (&self.streams, &self.all).transaction(|(streams, all)| {
            for (key, position, payload) in &placed {
                streams.insert(key.as_bytes(), *payload)?;
                all.insert(&position.to_be_bytes(), key.as_bytes())?;
            }
            Ok::<(), sled::transaction::ConflictableTransactionError<()>>(())
        });
        done.expect("committed");
        self.db.flush().expect("flushed");
        self.file.sync_data().expect("a sync");
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        for entry in &self.all {
            let (_, key) = entry.expect("read");
            take(&self.streams.get(key).expect("read").expect("an event"));
        }
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        let prefix = format!("{}\0", stream_name(stream));
        for entry in self.streams.scan_prefix(prefix) {
            take(&entry.expect("read").1);
        }
    }

    fn close(self: Box<Self>) {
        self.db.flush().expect("flushed");
    }
}
