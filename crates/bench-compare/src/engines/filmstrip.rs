//! filmstrip as its users have it.

use crate::engine::{CACHE_BYTES, Condition, Engine, Item, Opened, stream_name};
use filmstrip::{AppendError, Commit, ExpectedVersion, Filter, NewEvent, Position, Store};
use std::path::Path;

pub struct Filmstrip;

impl Engine for Filmstrip {
    fn name(&self) -> &'static str {
        "filmstrip"
    }

    fn package(&self) -> Option<&'static str> {
        Some("filmstrip")
    }

    fn durability(&self) -> &'static str {
        "one `fdatasync` of the journal for each group of commits, before any of them returns"
    }

    fn cache(&self) -> &'static str {
        "64 MiB for its index (`cache_bytes`); the journal is left to the page cache"
    }

    fn following(&self) -> Option<&'static str> {
        Some("`Store::subscribe`: the events of the log in order, each once it is durable")
    }

    fn conditions(&self) -> Option<&'static str> {
        Some(
            "`Commit::unless`, beside a stream for each event; a check alone is a commit without events",
        )
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        let store = Store::builder().cache_bytes(CACHE_BYTES).open(directory);
        Box::new(Open(store.expect("a store")))
    }
}

struct Open(Store);

fn commit(items: &[Item<'_>]) -> Commit {
    // A commit names each stream once, with its events in their order.
    let mut items: Vec<_> = items.iter().collect();
    items.sort_by_key(|item| item.stream);
    let streams = items.chunk_by(|a, b| a.stream == b.stream);
    streams.fold(Commit::new(), |commit, items| {
        let event = |item: &&Item<'_>| {
            let event = NewEvent::bytes("Measured", item.payload.to_vec());
            item.tags.iter().fold(event, |event, tag| event.tag(tag.as_str()))
        };
        let events = items.iter().map(event);
        commit.append(stream_name(items[0].stream), ExpectedVersion::Any, events)
    })
}

impl Open {
    /// The position after the commit; nothing if a condition does not hold.
    fn judged(&self, commit: Commit) -> Option<Position> {
        match self.0.commit(commit) {
            Ok(committed) => Some(committed.position),
            Err(AppendError::Matched(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        self.0.commit(commit(items)).expect("committed");
    }

    fn append_unless(&self, items: &[Item<'_>], unless: Option<Condition<'_>>) -> Option<u64> {
        let commit = commit(items);
        let commit = match unless {
            Some(Condition { tag, after }) => commit.unless(Filter::tag(tag), Position::new(after)),
            None => commit,
        };
        self.judged(commit).map(Position::get)
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.judged(Commit::new().unless(Filter::tag(tag), Position::START)).is_none()
    }

    fn read_tag(&self, tag: &str, take: &mut dyn FnMut(&[u8])) {
        let read = self.0.read_all().filter(Filter::tag(tag));
        for event in read.iter().expect("open") {
            take(&event.expect("whole").payload);
        }
    }

    fn read_all(&self, take: &mut dyn FnMut(&[u8])) {
        for event in self.0.read_all().iter().expect("open") {
            take(&event.expect("whole").payload);
        }
    }

    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8])) {
        for event in self.0.read_stream(stream_name(stream)).iter().expect("open") {
            take(&event.expect("whole").payload);
        }
    }

    fn follow(&self, take: &mut dyn FnMut(&[u8]) -> bool) {
        for event in self.0.subscribe().start().expect("begun") {
            if !take(&event.expect("whole").payload) {
                return;
            }
        }
    }

    fn close(self: Box<Self>) {
        self.0.close().expect("closed");
    }
}
