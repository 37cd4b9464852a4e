//! The envelope of a private event: where its parts are, and what takes the place of what is sealed.
//!
//! Its extras end with a key id, whose bytes are the last before the payload. Around the private part is room for what
//! sealing adds, so that an event is sealed in the buffer of its commit.

use crate::codec::envelope::{
    EXTRAS_LENGTH_OFFSET, FIXED_BYTES, FLAGS_OFFSET, TYPE_LENGTH_OFFSET, format_of, is_sealed,
};
use crate::codec::extras::KEY_ID_BYTES;
use crate::codec::private_part::{self, PrivateMetadata};
use crate::value::event::RecordedEvent;
use bytes::Bytes;

/// Where the payload of `envelope` begins.
pub(crate) fn payload_at(envelope: &[u8]) -> Option<usize> {
    let type_length = u16::from_le_bytes(*envelope.get(TYPE_LENGTH_OFFSET..)?.first_chunk()?);
    let extras_length = u32::from_le_bytes(*envelope.get(EXTRAS_LENGTH_OFFSET..)?.first_chunk()?);
    FIXED_BYTES.checked_add(type_length.into())?.checked_add(extras_length as usize)
}

/// The id of the key that has sealed the event in `envelope`; `None` if it is not private.
pub(crate) fn key_id(envelope: &[u8]) -> Option<[u8; KEY_ID_BYTES]> {
    let flags = u16::from_le_bytes(*envelope.get(FLAGS_OFFSET..)?.first_chunk()?);
    let clear = envelope.get(..payload_at(envelope)?).filter(|_| is_sealed(flags))?;
    clear.last_chunk().copied()
}

/// Sets the key id of a private event. `envelope` is what `encode` has made.
pub(crate) fn set_key_id(envelope: &mut [u8], id: [u8; KEY_ID_BYTES]) {
    let payload_at = payload_at(envelope).and_then(|at| envelope.get_mut(..at));
    let place = payload_at.and_then(|clear| clear.last_chunk_mut());
    *place.expect("the extras of a private event end with a key id") = id;
}

/// What was sealed of `event`, whose envelope has these first bytes and whose private part is `plaintext`, replaces
/// what is sealed. `None` if it is not a private part.
pub(crate) fn opened(
    event: RecordedEvent,
    envelope: &[u8],
    plaintext: &Bytes,
) -> Option<RecordedEvent> {
    let flags = u16::from_le_bytes(*envelope.get(FLAGS_OFFSET..)?.first_chunk()?);
    let (PrivateMetadata { user, entries }, payload) = private_part::decode(plaintext)?;
    let metadata = event.metadata.opened(user, entries);
    Some(RecordedEvent { metadata, payload, format: format_of(flags), ..event })
}
