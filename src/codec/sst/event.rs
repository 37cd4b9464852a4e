//! An event of a known stream, with its body or where that is.

use crate::codec::frame::EntryLocation;
use crate::value::clock::Micros;
use crate::value::limits::TABLE_INLINE_BYTES_MAX;
use bytes::Bytes;

/// An event of a known stream, not decoded yet. `B` says where its body is: here as the envelope (`Bytes`), or
/// here or in the journal, as the index ([`Body`]) or the tail knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocatedEvent<B = Body> {
    pub(crate) version: u64,
    pub(crate) position: u64,
    pub(crate) recorded_at: Micros,
    pub(crate) body: B,
}

impl<B> LocatedEvent<B> {
    /// The same event with another body.
    pub(crate) fn with_body<C>(self, body: C) -> LocatedEvent<C> {
        let LocatedEvent { version, position, recorded_at, body: _ } = self;
        LocatedEvent { version, position, recorded_at, body }
    }
}

/// An event's envelope, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Inline(Bytes),
    /// Too large to be held twice: the entry in the journal.
    At(EntryLocation),
}

/// The body to keep for an event with this envelope, whose entry is at `location`.
pub(crate) fn body_of(envelope: &Bytes, location: EntryLocation) -> Body {
    match envelope.len() <= TABLE_INLINE_BYTES_MAX {
        true => Body::Inline(envelope.clone()),
        false => Body::At(location),
    }
}
