//! An event of a known stream, with its body or the body's place.

use crate::codec::frame::EntryLocation;
use crate::value::clock::Micros;
use crate::value::limits::TABLE_INLINE_BYTES_MAX;
use bytes::Bytes;

/// An event of a known stream that is not decoded yet. `B` is its body: the envelope (`Bytes`), or what the index
/// ([`Body`]) or the tail has instead, the envelope or its place in the journal.
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

/// An event's envelope, or its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Inline(Bytes),
    /// The envelope is too large to be stored twice. This is its entry in the journal.
    At(EntryLocation),
}

/// The body to store for an event with this envelope and with its entry at `location`.
pub(crate) fn body_of(envelope: &Bytes, location: EntryLocation) -> Body {
    match envelope.len() <= TABLE_INLINE_BYTES_MAX {
        true => Body::Inline(envelope.clone()),
        false => Body::At(location),
    }
}
