//! The tags in an event's extras: found without decoding the rest, and written where there is nothing else.
//!
//! The extras are bincode in its standard configuration: an option is one byte, 0 or 1, and its value; a length is a
//! `varint` of bincode's, which is one byte below 251, and otherwise 251, 252 or 253 and two, four or eight bytes,
//! little-endian. The tags come last but for the key id, so extras without both end in two zero bytes; a tag holds
//! none.

use crate::codec::length::in_two_bytes;
use std::str;

/// Of extras without an id, a user and entries: what comes before the tags.
const NOTHING_BEFORE: [u8; 5] = [0; 5];

/// Appends the extras of an event that has these tags and no metadata.
pub(crate) fn put_extras_of_tags(tags: &[String], out: &mut Vec<u8>) {
    out.extend_from_slice(&NOTHING_BEFORE);
    put_length(tags.len(), out);
    for tag in tags {
        put_length(tag.len(), out);
        out.extend_from_slice(tag.as_bytes());
    }
    // No key id.
    out.push(0);
}

/// Some tags, sorted and each once. Taken from the bytes one by one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tags<'a> {
    /// The tags, each after its length.
    bytes: &'a [u8],
}

impl<'a> Tags<'a> {
    /// The tags in `extras`. What cannot be read has none; reading the event itself says what is wrong with it.
    pub(crate) fn of_extras(extras: &'a [u8]) -> Tags<'a> {
        if extras.is_empty() || extras.ends_with(&[0, 0]) && !may_end_with_key_id(extras) {
            return Tags::default();
        }
        Tags { bytes: tags_in(extras).unwrap_or_default() }
    }

    /// The tags in `extras`, if these hold nothing else; `None` if they may. Most extras hold tags only.
    pub(crate) fn alone_in(extras: &'a [u8]) -> Option<Tags<'a>> {
        let left = &mut extras.strip_prefix(&NOTHING_BEFORE)?;
        let count = take_length(left)?;
        let bytes = *left;
        for _tag in 0..count {
            str::from_utf8(take_text(left)?).ok()?;
        }
        // No key id follows.
        (*left == [0]).then(|| Tags { bytes: bytes.get(..bytes.len() - 1).unwrap_or_default() })
    }
}

impl PartialEq for Tags<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.bytes.is_empty() {
            return None;
        }
        let tag = take_text(&mut self.bytes).and_then(|tag| str::from_utf8(tag).ok());
        if tag.is_none() {
            self.bytes = &[];
        }
        tag
    }
}

/// Whether the last bytes of `extras` may be a key id, which may be any bytes. Only private events have one.
fn may_end_with_key_id(extras: &[u8]) -> bool {
    const KEY_ID_BYTES: usize = 16;
    let before = || extras.len().checked_sub(KEY_ID_BYTES + 1).and_then(|at| extras.get(at));
    cfg!(feature = "erasure") && before() == Some(&1)
}

/// The bytes of the tags in `extras`, each after its length.
fn tags_in(mut extras: &[u8]) -> Option<&[u8]> {
    let left = &mut extras;
    for _id in 0..3 {
        if take_is_some(left)? {
            *left = left.get(16..)?;
        }
    }
    if take_is_some(left)? {
        take_text(left)?;
    }
    for _entry in 0..take_length(left)? {
        take_text(left)?;
        take_text(left)?;
    }
    let count = take_length(left)?;
    let tags = *left;
    for _tag in 0..count {
        take_text(left)?;
    }
    tags.get(..tags.len() - left.len())
}

fn take_is_some(left: &mut &[u8]) -> Option<bool> {
    let (&first, rest) = left.split_first()?;
    *left = rest;
    match first {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn take_text<'a>(left: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_length(left)?).ok()?;
    let (text, rest) = left.split_at_checked(length)?;
    *left = rest;
    Some(text)
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(short) if short < 251 => out.push(short),
        _ => {
            // A tag has at most `TAG_BYTES_MAX` bytes, and an event `EVENT_TAGS_MAX` tags.
            out.push(251);
            out.extend_from_slice(&in_two_bytes(length).to_le_bytes());
        }
    }
}

fn take_length(left: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = left.split_first()?;
    let bytes = match first {
        251 => 2,
        252 => 4,
        253 => 8,
        254.. => return None,
        short => {
            *left = rest;
            return Some(short.into());
        }
    };
    let (number, rest) = rest.split_at_checked(bytes)?;
    *left = rest;
    let mut whole = [0; 8];
    whole.get_mut(..bytes)?.copy_from_slice(number);
    Some(u64::from_le_bytes(whole))
}
