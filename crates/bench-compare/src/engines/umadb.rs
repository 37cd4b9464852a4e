//! umadb-core, an event store with dynamic consistency boundaries: a stream is a tag. Commits go
//! through its writer thread, which makes those that wait durable together.

use crate::engine::{CACHE_BYTES, Condition, Engine, Item, Opened, stream_name};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{
    DcbAppendCondition, DcbError, DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem, DcbResult,
};

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
        "pages, then a header, each with an `fdatasync`, for each batch of its writer thread, before the \
         reply; without a condition but in the tables of conditions"
    }

    fn cache(&self) -> &'static str {
        "64 MiB of pages (`page_cache_max_mb`); by default it has none"
    }

    fn following(&self) -> Option<&'static str> {
        Some("as its server does: it watches the head, then reads past the last position")
    }

    fn conditions(&self) -> Option<&'static str> {
        Some(
            "`fail_if_events_match` with `after`, by its writer thread; a check alone is a read of one event by the \
             caller, which is how it judges a condition itself",
        )
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        std::fs::create_dir_all(directory).expect("a directory");
        let cache = (CACHE_BYTES / 1_000_000) as usize;
        let options = StorageOptions::default().db_path(directory).page_cache_max_mb(cache);
        let mvcc = Arc::new(Mvcc::new(false, options).expect("a database"));
        let (requests, received) = mpsc::channel(QUEUE);
        let (tell_head, head) = watch::channel(None);
        let its_mvcc = Arc::clone(&mvcc);
        let writer = std::thread::spawn(move || {
            writer_thread_blocking(its_mvcc, received, tell_head, BATCH_EVENTS_MAX);
        });
        Box::new(Open { db: UmaDb::from_arc(mvcc), requests, writer, head })
    }
}

struct Open {
    db: UmaDb,
    requests: mpsc::Sender<WriterThreadRequest>,
    writer: JoinHandle<()>,
    head: watch::Receiver<Option<u64>>,
}

/// The events with this tag.
fn tagged(tag: &str) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([tag]))
}

fn event(item: &Item<'_>) -> DcbEvent {
    DcbEvent::new().event_type("Measured").data(item.payload)
}

impl Open {
    /// The position of the last event, or why there is none.
    fn request(
        &self,
        events: Vec<DcbEvent>,
        condition: Option<DcbAppendCondition>,
    ) -> DcbResult<u64> {
        let (response_tx, response) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events,
            condition,
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        assert!(self.requests.blocking_send(request).is_ok(), "the writer has ended");
        response.blocking_recv().expect("an answer")
    }

    /// Gives a page of payloads; the position after it, or nothing if `take` wants no more.
    fn page(&self, from: u64, take: &mut dyn FnMut(&[u8]) -> bool) -> Option<u64> {
        let mut next = from;
        for event in self.db.read(None, Some(from), false, Some(PAGE)).expect("read") {
            let event = event.expect("whole");
            next = event.position + 1;
            if !take(&event.event.data) {
                return None;
            }
        }
        Some(next)
    }
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let events = items.iter().map(|item| event(item).tags([stream_name(item.stream)]));
        self.request(events.collect(), None).expect("appended");
    }

    fn append_unless(&self, items: &[Item<'_>], unless: Option<Condition<'_>>) -> Option<u64> {
        let events = items.iter().map(|item| event(item).tags(item.tags.iter().cloned()));
        let condition = unless.map(|Condition { tag, after }| {
            // Nothing stands for the start of the log.
            DcbAppendCondition::new(tagged(tag)).after((after > 0).then_some(after))
        });
        match self.request(events.collect(), condition) {
            Ok(position) => Some(position),
            Err(DcbError::IntegrityError(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn has_tag(&self, tag: &str) -> bool {
        let events = self.db.read(Some(tagged(tag)), None, false, Some(1)).expect("read");
        events.map(|event| event.expect("whole").position).next().is_some()
    }

    fn read_tag(&self, tag: &str, take: &mut dyn FnMut(&[u8])) {
        for event in self.db.read(Some(tagged(tag)), None, false, None).expect("read") {
            take(&event.expect("whole").event.data);
        }
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        let mut take_each = |payload: &[u8]| {
            take(payload);
            true
        };
        let mut from = 1;
        while let Some(next) = self.page(from, &mut take_each) {
            if next == from {
                return;
            }
            from = next;
        }
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        self.read_tag(&stream_name(stream), take);
    }

    fn follow(&self, take: &mut dyn FnMut(&[u8]) -> bool) {
        let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut head = self.head.clone();
        let mut from = 1;
        loop {
            // What is told from here on is past what the page holds.
            head.mark_unchanged();
            let Some(next) = self.page(from, take) else { return };
            if next == from {
                runtime.block_on(head.changed()).expect("the writer is there");
            }
            from = next;
        }
    }

    fn close(self: Box<Self>) {
        assert!(self.requests.blocking_send(WriterThreadRequest::Shutdown).is_ok());
        self.writer.join().expect("the writer ended in order");
    }
}
