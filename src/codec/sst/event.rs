//! An event as the index holds it.

use crate::codec::frame::EntryLocation;
use crate::value::clock::Micros;
use crate::value::limits::TABLE_INLINE_BYTES_MAX;
use bytes::Bytes;

/// An event as the index holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedEvent {
    pub(crate) version: u64,
    pub(crate) position: u64,
    pub(crate) recorded_at: Micros,
    pub(crate) body: Body,
}

/// An event's envelope, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Inline(Bytes),
    /// Too large to be held twice: the entry in the journal.
    At(EntryLocation),
}

/// The body to keep for an event with this envelope, whose entry lies at `location`.
pub(crate) fn body_of(envelope: &Bytes, location: EntryLocation) -> Body {
    match envelope.len() <= TABLE_INLINE_BYTES_MAX {
        true => Body::Inline(envelope.clone()),
        false => Body::At(location),
    }
}
