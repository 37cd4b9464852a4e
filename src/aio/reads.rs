//! Reads as streams.

use crate::aio::paged::Paged;
use crate::store::{ReadStream, StreamInfo, Streams};
use crate::value::event::RecordedEvent;

/// Bytes that an event takes besides its payload, about.
const EVENT_BYTES: usize = 256;

pub(super) fn bytes_of(event: &RecordedEvent) -> usize {
    EVENT_BYTES + event.payload.len()
}

impl ReadStream {
    /// Begins to read, page by page, on the pool of the store: for tasks, in place of [`iter`](ReadStream::iter). Its
    /// errors come with the first item. It sees the stream as it is when it is first polled.
    pub fn stream(self) -> Paged<RecordedEvent> {
        Paged::new(self.log().clone(), bytes_of, move || self.iter())
    }
}

impl Streams {
    /// Begins to list, page by page, on the pool of the store: for tasks, in place of [`iter`](Streams::iter). Its
    /// errors come with the first item.
    pub fn stream(self) -> Paged<StreamInfo> {
        Paged::new(self.log().clone(), |_| EVENT_BYTES, move || self.iter())
    }
}
