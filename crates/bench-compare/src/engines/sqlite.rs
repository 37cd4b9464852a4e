//! SQLite: one table, and the two indexes that every event store has.

use crate::engine::{CACHE_BYTES, Engine, Item, Opened, stream_name};
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::Mutex;

pub struct Sqlite;

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn package(&self) -> Option<&'static str> {
        Some("libsqlite3-sys")
    }

    fn durability(&self) -> &'static str {
        "WAL with `synchronous=FULL`: an `fsync` of the log at each commit; one connection, protected by a \
         lock"
    }

    fn cache(&self) -> &'static str {
        "64 MiB (`PRAGMA cache_size`)"
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        std::fs::create_dir_all(directory).expect("a directory");
        let connection = Connection::open(directory.join("events.db")).expect("a database");
        let setup = "
            PRAGMA journal_mode=WAL;
            PRAGMA synchronous=FULL;
            CREATE TABLE IF NOT EXISTS events (
                position INTEGER PRIMARY KEY,
                stream TEXT NOT NULL,
                version INTEGER NOT NULL,
                type TEXT NOT NULL,
                payload BLOB NOT NULL
            );
            CREATE UNIQUE INDEX IF NOT EXISTS by_stream ON events (stream, version);";
        connection.execute_batch(setup).expect("set up");
        // Below zero the number is KiB, not pages.
        let cache = -(CACHE_BYTES as i64 >> 10);
        connection.pragma_update(None, "cache_size", cache).expect("a cache");
        Box::new(Open(Mutex::new(connection)))
    }
}

struct Open(Mutex<Connection>);

const APPEND: &str = "
    INSERT INTO events (stream, version, type, payload)
    VALUES (?1, 1 + (SELECT COALESCE(MAX(version), 0) FROM events WHERE stream = ?1), ?2, ?3)";

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let mut connection = self.0.lock().expect("nobody panicked");
        let transaction = connection.transaction().expect("begun");
        {
            let mut append = transaction.prepare_cached(APPEND).expect("prepared");
            for item in items {
                let row = params![stream_name(item.stream), "Measured", item.payload];
                append.execute(row).expect("inserted");
            }
        }
        transaction.commit().expect("committed");
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        let connection = self.0.lock().expect("nobody panicked");
        let query = "SELECT payload FROM events ORDER BY position";
        let mut query = connection.prepare_cached(query).expect("prepared");
        let mut rows = query.query([]).expect("read");
        while let Some(row) = rows.next().expect("read") {
            take(row.get_ref(0).expect("a payload").as_blob().expect("bytes"));
        }
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        let connection = self.0.lock().expect("nobody panicked");
        let query = "SELECT payload FROM events WHERE stream = ?1 ORDER BY version";
        let mut query = connection.prepare_cached(query).expect("prepared");
        let mut rows = query.query([stream_name(stream)]).expect("read");
        while let Some(row) = rows.next().expect("read") {
            take(row.get_ref(0).expect("a payload").as_blob().expect("bytes"));
        }
    }

    fn close(self: Box<Self>) {}
}
