//! umadb-core, an event store with dynamic consistency boundaries: a stream is a tag. Commits go
//! through its writer thread, which makes those that wait durable together.

use crate::engine::{CACHE_BYTES, Engine, Item, Opened, stream_name};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem};

/// Of the server that the engine is made for.
const QUEUE: usize = 10_000;
const BATCH_EVENTS_MAX: usize = 2_000;
/// It hands a read over as a whole: so many events at a time keep the memory bounded.
const PAGE: u32 = 10_000;

pub struct Umadb;

impl Engine for Umadb {
    fn name(&self) -> &'static str {
        "umadb-core"
    }

    fn package(&self) -> Option<&'static str> {
        Some("umadb-core")
    }

    fn durability(&self) -> &'static str {
        "pages, then a header, synced for each batch of its writer thread, before the answer; no \
         condition is judged"
    }

    fn cache(&self) -> &'static str {
        "64 MiB of pages (`page_cache_max_mb`); it has none unless told"
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        std::fs::create_dir_all(directory).expect("a directory");
        let cache = (CACHE_BYTES / 1_000_000) as usize;
        let options = StorageOptions::default().db_path(directory).page_cache_max_mb(cache);
        let mvcc = Arc::new(Mvcc::new(false, options).expect("a database"));
        let (requests, received) = mpsc::channel(QUEUE);
        let (head, _) = watch::channel(None);
        let its_mvcc = Arc::clone(&mvcc);
        let writer = std::thread::spawn(move || {
            writer_thread_blocking(its_mvcc, received, head, BATCH_EVENTS_MAX);
        });
        Box::new(Open { db: UmaDb::from_arc(mvcc), requests, writer })
    }
}

struct Open {
    db: UmaDb,
    requests: mpsc::Sender<WriterThreadRequest>,
    writer: JoinHandle<()>,
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let events = items.iter().map(|item| {
            DcbEvent::new()
                .event_type("Measured")
                .data(item.payload)
                .tags([stream_name(item.stream)])
        });
        let (response_tx, response) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events: events.collect(),
            condition: None,
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        assert!(self.requests.blocking_send(request).is_ok(), "the writer has ended");
        response.blocking_recv().expect("an answer").expect("appended");
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        let mut from = 1;
        loop {
            let page = self.db.read(None, Some(from), false, Some(PAGE)).expect("read");
            let before = from;
            for event in page {
                let event = event.expect("whole");
                take(&event.event.data);
                from = event.position + 1;
            }
            if from == before {
                return;
            }
        }
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        let query = DcbQuery::new().item(DcbQueryItem::new().tags([stream_name(stream)]));
        for event in self.db.read(Some(query), None, false, None).expect("read") {
            take(&event.expect("whole").event.data);
        }
    }

    fn close(self: Box<Self>) {
        assert!(self.requests.blocking_send(WriterThreadRequest::Shutdown).is_ok());
        self.writer.join().expect("the writer ended in order");
    }
}
