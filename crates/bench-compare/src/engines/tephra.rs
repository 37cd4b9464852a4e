//! tephra, an event store with dynamic consistency boundaries: a stream is a tag.

use crate::engine::{Condition, Engine, Item, Opened, stream_name};
use std::path::Path;
use tephra::{
    AppendCondition, AppendError, Event, EventType, Position, Query, QueryItem, SegmentConfig,
    SegmentSet, Tag, Tags, WriteCoordinator, WriteHandle, WriterConfig,
};

const SEGMENT_BYTES: usize = 256 << 20;

pub struct Tephra;

impl Engine for Tephra {
    fn name(&self) -> &'static str {
        "tephra"
    }

    fn package(&self) -> Option<&'static str> {
        Some("tephra")
    }

    fn durability(&self) -> &'static str {
        "one `fdatasync` of the log for each batch of its writer thread, before `append` returns; \
         without a condition but in the tables of conditions"
    }

    fn cache(&self) -> &'static str {
        "no setting: the indexes of all its segments are in memory, and the log is left to the page cache"
    }

    fn following(&self) -> Option<&'static str> {
        Some(
            "its own subscription: it waits for the durable position, then reads past the last one",
        )
    }

    fn conditions(&self) -> Option<&'static str> {
        Some(
            "`fail_if_events_match` with `after`, by its writer thread; a check alone is a read of one event by the \
             caller, because an append without events is refused",
        )
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        std::fs::create_dir_all(directory).expect("a directory");
        let set = SegmentSet::open(directory, SegmentConfig::new(SEGMENT_BYTES)).expect("a log");
        let started = WriteCoordinator::start(set, WriterConfig::default());
        let (coordinator, handle) = started.expect("a writer");
        Box::new(Open { coordinator, handle })
    }
}

struct Open {
    coordinator: WriteCoordinator,
    handle: WriteHandle,
}

fn tags(names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Tags {
    Tags::new(names.into_iter().map(|name| Tag::new(name).expect("a tag"))).expect("tags")
}

/// The events with this tag.
fn tagged(tag: &str) -> Query {
    Query::item(QueryItem::with_tags(tags([tag])))
}

impl Open {
    fn read(&self, query: &Query, take: &mut dyn FnMut(&[u8])) {
        let mut events = self.handle.read(query, Position::ZERO, None);
        while let Some(event) = events.next() {
            take(event.expect("whole").event.data());
        }
    }
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let measured = EventType::new("Measured").expect("a type");
        let events = items
            .iter()
            .map(|item| (tags([stream_name(item.stream)]), item.payload))
            .map(|(tags, payload)| Event::new(&measured, &tags, payload).expect("an event"));
        self.handle.append(events.collect(), None).expect("appended");
    }

    fn append_unless(&self, items: &[Item<'_>], unless: Option<Condition<'_>>) -> Option<u64> {
        let measured = EventType::new("Measured").expect("a type");
        let events = items
            .iter()
            .map(|item| (tags(item.tags.iter().map(String::as_str)), item.payload))
            .map(|(tags, payload)| Event::new(&measured, &tags, payload).expect("an event"));
        let condition = unless.map(|Condition { tag, after }| {
            AppendCondition::new(tagged(tag)).after(Position::new(after))
        });
        match self.handle.append(events.collect(), condition) {
            Ok(range) => Some(range.last.get()),
            Err(AppendError::Conflict { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn has_tag(&self, tag: &str) -> bool {
        let mut events = self.handle.read(&tagged(tag), Position::ZERO, Some(1));
        events.next().map(|event| event.expect("whole").position).is_some()
    }

    fn read_tag(&self, tag: &str, take: &mut dyn FnMut(&[u8])) {
        self.read(&tagged(tag), take);
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        self.read(&Query::all(), take);
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        self.read(&tagged(&stream_name(stream)), take);
    }

    fn follow(&self, take: &mut dyn FnMut(&[u8]) -> bool) {
        let mut subscription = self.handle.subscribe(Query::all(), Position::ZERO);
        while let Some(batch) = subscription.next_batch() {
            for (_, event) in batch.expect("whole") {
                if !take(event.data()) {
                    return;
                }
            }
        }
    }

    fn close(self: Box<Self>) {
        drop(self.handle);
        drop(self.coordinator.shutdown());
    }
}
