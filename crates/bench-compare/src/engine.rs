//! What every engine is asked to do, in its own terms.

use std::path::Path;

/// What each engine may keep in memory of what it read, where it can be told: filmstrip's default.
pub const CACHE_BYTES: u64 = 64 << 20;

/// An event to append: the number of its stream, and its payload.
pub struct Item<'a> {
    pub stream: u64,
    pub payload: &'a [u8],
    /// For an engine that judges conditions; none for the others.
    pub tags: &'a [String],
}

/// That no event with this tag is after a position; 0 is before the first.
#[derive(Clone, Copy)]
pub struct Condition<'a> {
    pub tag: &'a str,
    pub after: u64,
}

/// A kind of engine.
pub trait Engine {
    fn name(&self) -> &'static str;
    /// Its package, whose version the report names.
    fn package(&self) -> Option<&'static str>;
    /// What is on disk when an append returns, in a sentence.
    fn durability(&self) -> &'static str;
    /// What it keeps in memory of what it read, in a sentence.
    fn cache(&self) -> &'static str;
    /// How a waiting subscriber hears of new events, in a sentence; nothing if it cannot.
    fn following(&self) -> Option<&'static str> {
        None
    }
    /// How it judges a condition, and what a check alone is, in a sentence; nothing if it has no conditions.
    fn conditions(&self) -> Option<&'static str> {
        None
    }
    /// Whether it reads what it wrote. The raw file is there for its writing alone.
    fn reads(&self) -> bool {
        true
    }
    /// Opens what is in `directory`, or makes it.
    fn open(&self, directory: &Path) -> Box<dyn Opened>;
}

/// An engine that is open. Threads share it.
///
/// After it was opened again, only streams that are new may be appended to: the engines that know no
/// versions have them counted here, in memory.
pub trait Opened: Sync {
    /// Makes these events durable as one commit.
    fn append(&self, items: &[Item<'_>]);
    /// Gives every payload in the order of the log.
    fn read_all(&self, take: &mut dyn FnMut(&[u8]));
    /// Gives every payload of a stream, in order.
    fn read_stream(&self, stream: u64, take: &mut dyn FnMut(&[u8]));
    /// Gives every payload in the order of the log, and waits for more, until `take` wants no more.
    fn follow(&self, _: &mut dyn FnMut(&[u8]) -> bool) {
        unreachable!("asked only of an engine that says how it follows");
    }
    /// Makes these events durable as one commit, with their tags and no others, and says the position of the last; but
    /// nothing if the condition does not hold. An engine that has streams puts them there, too.
    fn append_unless(&self, _: &[Item<'_>], _: Option<Condition<'_>>) -> Option<u64> {
        unreachable!("asked only of an engine that judges conditions");
    }
    /// Whether an event has this tag, in the way that costs the engine least: nothing is written.
    fn has_tag(&self, _: &str) -> bool {
        unreachable!("asked only of an engine that judges conditions");
    }
    /// Gives every payload of the events with a tag, in order.
    fn read_tag(&self, _: &str, _: &mut dyn FnMut(&[u8])) {
        unreachable!("asked only of an engine that judges conditions");
    }
    /// Ends everything that is still to be done, and closes.
    fn close(self: Box<Self>);
}

/// The name of a stream, where an engine has names.
pub fn stream_name(stream: u64) -> String {
    format!("Stream-{stream}")
}
