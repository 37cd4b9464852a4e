//! What a private event has in its sealed payload: the payload itself, and the metadata that may be about a person.
//!
//! ```text
//! offset  bytes  field
//!      0      1  form: 0
//!      1      4  length of the metadata, 0 if there is none
//!      5         metadata, bincode: the user, the entries; payload, the rest
//! ```
//!
//! The form leaves room for others, such as a compressed one. It is sealed with the rest, so it can be read only with
//! the key.

use crate::codec::bin;
use crate::codec::cursor::Cursor;
use crate::codec::length::in_four_bytes;
use crate::value::event::Metadata;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The bytes before the private part that sealing fills.
pub(crate) const ROOM_BYTES: usize = 24;
/// The bytes after it that sealing fills.
pub(crate) const ROOM_AFTER_BYTES: usize = 16;

const FORM: u8 = 0;
/// Bytes before the metadata.
#[allow(dead_code, reason = "for the tests and the fuzzer")]
pub(crate) const FIXED_BYTES: usize = 5;

/// The metadata that is sealed with the payload: everything but the ids of other events and commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrivateMetadata {
    pub(crate) user: Option<String>,
    pub(crate) entries: BTreeMap<String, String>,
}

impl PrivateMetadata {
    fn is_empty(&self) -> bool {
        self.user.is_none() && self.entries.is_empty()
    }
}

/// Appends the private part of an event to `out`.
pub(crate) fn encode(metadata: &PrivateMetadata, payload: &[u8], out: &mut Vec<u8>) {
    let metadata = if metadata.is_empty() { Vec::new() } else { bin::encode(metadata) };
    out.push(FORM);
    out.extend_from_slice(&in_four_bytes(metadata.len()).to_le_bytes());
    out.extend_from_slice(&metadata);
    out.extend_from_slice(payload);
}

/// Appends the private part of an event with this metadata, and around it the room that sealing fills.
pub(crate) fn encode_with_room(metadata: &Metadata, payload: &[u8], out: &mut Vec<u8>) {
    let Metadata { user, entries, .. } = metadata;
    let private = PrivateMetadata { user: user.clone(), entries: entries.clone() };
    out.extend_from_slice(&[0; ROOM_BYTES]);
    encode(&private, payload, out);
    out.extend_from_slice(&[0; ROOM_AFTER_BYTES]);
}

/// The metadata and the payload in `plaintext`, whose buffer the payload shares. `None` if it is not what [`encode`]
/// writes.
pub(crate) fn decode(plaintext: &Bytes) -> Option<(PrivateMetadata, Bytes)> {
    let mut cursor = Cursor::new(plaintext);
    if cursor.u8()? != FORM {
        return None;
    }
    let metadata = match cursor.u32()? {
        0 => PrivateMetadata::default(),
        length => bin::decode(cursor.pass(length as usize)?).ok()?,
    };
    Some((metadata, cursor.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> PrivateMetadata {
        let entries = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        PrivateMetadata { user: Some("al".to_owned()), entries }
    }

    #[test]
    fn a_private_part_has_its_golden_bytes() {
        let mut bytes = Vec::new();
        encode(&PrivateMetadata::default(), b"abc", &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 0, b'a', b'b', b'c']);
        assert_eq!(
            decode(&bytes.into()),
            Some((PrivateMetadata::default(), Bytes::from_static(b"abc")))
        );
        let mut bytes = Vec::new();
        encode(&sample(), b"abc", &mut bytes);
        let metadata = [1, 2, b'a', b'l', 1, 1, b'k', 1, b'v'];
        assert_eq!(bytes, [&[0, 9, 0, 0, 0][..], &metadata, b"abc"].concat());
        assert_eq!(decode(&bytes.into()), Some((sample(), Bytes::from_static(b"abc"))));
    }

    #[test]
    fn whatever_is_not_a_private_part_is_refused_before_anything_is_allocated_for_it() {
        let mut whole = Vec::new();
        encode(&sample(), b"", &mut whole);
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end].to_vec().into()), None, "cut at {end}");
        }
        let another_form = [&[1][..], &whole[1..]].concat();
        assert_eq!(decode(&another_form.into()), None);
        let too_long = [0, 0xff, 0xff, 0xff, 0xff, 1, 2];
        assert_eq!(decode(&too_long.to_vec().into()), None);
        let with_more = [&[0, 10, 0, 0, 0][..], &whole[FIXED_BYTES..], &[7]].concat();
        assert_eq!(decode(&with_more.into()), None, "a byte after the metadata");
    }
}
