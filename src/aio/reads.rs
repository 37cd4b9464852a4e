//! Reads as streams.

use crate::aio::paged::Paged;
use crate::log::read::stream_info::StreamInfo;
use crate::store::{ReadStream, Streams};
use crate::value::event::RecordedEvent;

/// Approximate bytes of an event besides its payload.
const EVENT_BYTES: usize = 256;
/// Bytes of memory that an entry of the metadata takes besides its key and its value, about.
const ENTRY_BYTES: usize = 64;
/// The same of a tag.
const TAG_BYTES: usize = 32;

pub(super) fn bytes_of(event: &RecordedEvent) -> usize {
    let entries = event.metadata.entries.iter();
    let entries = entries.map(|(key, value)| ENTRY_BYTES + key.len() + value.len());
    let user = event.metadata.user.as_ref().map_or(0, String::len);
    let tags = event.tags().map(|tag| TAG_BYTES + tag.len());
    EVENT_BYTES + event.payload.len() + user + entries.sum::<usize>() + tags.sum::<usize>()
}

impl ReadStream {
    /// Returns the events as a stream that reads page by page on the pool of the store, for tasks, instead of
    /// [`iter`](ReadStream::iter). An error of starting the read is the first item. It sees the event stream as of the
    /// first poll.
    pub fn stream(self) -> Paged<RecordedEvent> {
        Paged::new(self.log().clone(), bytes_of, move || self.iter())
    }
}

impl Streams {
    /// Returns the list as a stream that reads page by page on the pool of the store, for tasks, instead of
    /// [`iter`](Streams::iter). An error of starting the read is the first item.
    pub fn stream(self) -> Paged<StreamInfo> {
        Paged::new(self.log().clone(), |_| EVENT_BYTES, move || self.iter())
    }
}
