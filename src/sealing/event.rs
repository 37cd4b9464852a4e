//! Seals the payload of an event, bound to everything about the event that stays in clear.
//!
//! ```text
//! associated data = "filmstrip event 1" ‖ length of the stream's name, 2 bytes ‖ stream's name ‖ envelope up to the
//!                   payload
//! ```
//!
//! So what is sealed opens only with its own key, and only as the event that it was sealed as: in its stream, with its
//! id, type, schema version, time, tags and key id. The position and the version are not among it. They are given out
//! after sealing, and the journal's hash chain covers them.

use crate::codec::length::in_two_bytes;
use crate::sealing::cipher::{NONCE_BYTES, Refused, TAG_BYTES};
use crate::sealing::key::SubjectKey;
use crate::value::failpoint::failpoint;

/// The bytes before the plaintext that [`seal`] fills.
pub(crate) const ROOM_BYTES: usize = NONCE_BYTES;
/// The bytes after it that [`seal`] fills.
pub(crate) const ROOM_AFTER_BYTES: usize = TAG_BYTES;

/// Tells a sealed event from everything else that a key may ever seal.
const DOMAIN: &[u8] = b"filmstrip event 1";

/// Seals the event in `envelope`, in place. At `payload_at` are [`ROOM_BYTES`] of any content, after them what
/// `codec::private_part` wrote, and at the end [`ROOM_AFTER_BYTES`] of any content.
pub(crate) fn seal(key: &SubjectKey, stream: &str, envelope: &mut [u8], payload_at: usize) {
    let (clear, sealed) = envelope.split_at_mut(payload_at);
    key.cipher().seal(&associated(stream, clear), sealed);
}

/// The plaintext of the sealed event in `envelope`, whose payload begins at `payload_at`.
pub(crate) fn open(
    key: &SubjectKey,
    stream: &str,
    envelope: &[u8],
    payload_at: usize,
) -> Result<Vec<u8>, Refused> {
    let (clear, sealed) = envelope.split_at_checked(payload_at).ok_or(Refused)?;
    key.cipher().open(&associated(stream, clear), sealed)
}

fn associated(stream: &str, clear: &[u8]) -> Vec<u8> {
    let stream = match failpoint!("sealing::leave_stream_unauthenticated") {
        true => "",
        false => stream,
    };
    let mut associated = Vec::with_capacity(DOMAIN.len() + 2 + stream.len() + clear.len());
    associated.extend_from_slice(DOMAIN);
    // A length, so that no byte of a name can pass for one of the envelope.
    associated.extend_from_slice(&in_two_bytes(stream.len()).to_le_bytes());
    associated.extend_from_slice(stream.as_bytes());
    associated.extend_from_slice(clear);
    associated
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
