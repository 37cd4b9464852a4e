//! How a view stores its indexes: an entry for each secondary key of a row, and, beside the row, a list of its entries.
//!
//! ```text
//! key                                                  value
//! 3  index, NUL, secondary key, NUL, 1, row key        nothing
//! 4  row key                                           the row's entries, in order: for each, a length (2) and the
//!                                                      bytes of its key from the index up to and including the 1
//! ```
//!
//! * A NUL in the secondary key is written as NUL, 255. So the keys of an index have the order of the secondary keys,
//!   and of the rows' keys where those are equal.
//! * The list says which entries a row has, whatever the program that wrote them computed. So they are removed exactly.

use crate::codec::cursor::Cursor;
use bytes::Bytes;
use std::collections::BTreeSet;

const SPACE_ENTRY: u8 = 3;
const SPACE_ENTRIES: u8 = 4;
const NUL: u8 = 0;
/// After a NUL: it was one of the secondary key.
const ESCAPED: u8 = 255;
/// After a NUL: the secondary key has ended.
const END: u8 = 1;

/// The entries of a row, without its key, in order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entries(Box<[u8]>);

impl Entries {
    /// The entries with these names of indexes and secondary keys.
    pub(crate) fn new(keys: &[(&str, &[u8])]) -> Entries {
        let sorted: BTreeSet<_> = keys.iter().map(|(index, by)| beginning(index, by)).collect();
        let mut bytes = Vec::new();
        for entry in sorted {
            // The caller bounds what all of them take; a longer one would not decode.
            let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&entry);
        }
        Entries(bytes.into())
    }

    /// `None` if these are not the bytes of entries.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Entries> {
        let (mut cursor, mut last) = (Cursor::new(bytes), &[][..]);
        let mut read = 0;
        while read < bytes.len() {
            let length = usize::from(cursor.u16()?);
            let entry = cursor.pass(length)?;
            if entry <= last || !entry.ends_with(&[NUL, END]) {
                return None;
            }
            (last, read) = (entry, read + 2 + length);
        }
        Some(Entries(bytes.as_ref().into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys of the entries from the index up to the row's key, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk()?;
            let (entry, after) =
                after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = after;
            Some(entry)
        })
    }

    /// The keys in the tree of these entries of the row `key`.
    pub(crate) fn keys(&self, key: &str) -> impl Iterator<Item = Vec<u8>> {
        self.iter().map(move |entry| [&[SPACE_ENTRY], entry, key.as_bytes()].concat())
    }
}

/// The key in the tree of the list of the entries of the row `key`.
pub(crate) fn entries_key(key: &str) -> Vec<u8> {
    [&[SPACE_ENTRIES], key.as_bytes()].concat()
}

/// The prefixes of the keys of all entries, and of all lists of them.
pub(crate) fn spaces() -> [Vec<u8>; 2] {
    [vec![SPACE_ENTRY], vec![SPACE_ENTRIES]]
}

/// The prefix of the keys of the entries of `index` whose secondary keys begin with `by`.
pub(crate) fn prefix(index: &str, by: &[u8]) -> Vec<u8> {
    let mut prefix = vec![SPACE_ENTRY];
    push_prefix(&mut prefix, index, by);
    prefix
}

/// The prefix of the keys of the entries of `index` with the secondary key `by`.
pub(crate) fn prefix_of_equal(index: &str, by: &[u8]) -> Vec<u8> {
    let mut prefix = prefix(index, by);
    prefix.extend_from_slice(&[NUL, END]);
    prefix
}

/// The key in the tree of the entry of the row `key`.
pub(crate) fn entry_key(index: &str, by: &[u8], key: &str) -> Vec<u8> {
    let mut entry = prefix_of_equal(index, by);
    entry.extend_from_slice(key.as_bytes());
    entry
}

/// The secondary key, and the row's key, in the key of an entry.
pub(crate) fn entry_of(key: &[u8]) -> Option<(Vec<u8>, String)> {
    let (_, named) = key.split_first().filter(|(space, _)| **space == SPACE_ENTRY)?;
    let index_bytes = named.iter().position(|byte| *byte == NUL)?;
    let mut rest = named.get(index_bytes + 1..)?;
    let mut by = Vec::with_capacity(rest.len());
    loop {
        match rest {
            [NUL, END, row @ ..] => return Some((by, std::str::from_utf8(row).ok()?.to_owned())),
            [NUL, ESCAPED, after @ ..] => (rest, _) = (after, by.push(NUL)),
            [NUL, ..] | [] => return None,
            [byte, after @ ..] => (rest, _) = (after, by.push(*byte)),
        }
    }
}

fn beginning(index: &str, by: &[u8]) -> Vec<u8> {
    let mut beginning = Vec::new();
    push_prefix(&mut beginning, index, by);
    beginning.extend_from_slice(&[NUL, END]);
    beginning
}

fn push_prefix(out: &mut Vec<u8>, index: &str, by: &[u8]) {
    out.extend_from_slice(index.as_bytes());
    out.push(NUL);
    for byte in by {
        match *byte {
            NUL => out.extend_from_slice(&[NUL, ESCAPED]),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_their_golden_bytes() {
        let key = entry_key("by", &[7, 0, 255], "k");
        assert_eq!(key, [3, b'b', b'y', 0, 7, 0, 255, 255, 0, 1, b'k']);
        assert_eq!(entry_of(&key), Some((vec![7, 0, 255], "k".to_owned())));
        assert_eq!(entry_of(&entry_key("by", b"", "")), Some((Vec::new(), String::new())));
        assert_eq!(entries_key("k"), [4, b'k']);
        let entries = Entries::new(&[("by", b"b"), ("a", b""), ("by", b"b")]);
        assert_eq!(entries.as_bytes(), [4, 0, b'a', 0, 0, 1, 6, 0, b'b', b'y', 0, b'b', 0, 1]);
        let keys: Vec<_> = entries.keys("k").collect();
        assert_eq!(keys, [entry_key("a", b"", "k"), entry_key("by", b"b", "k")]);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for key in [&b"\x03by\0b\0"[..], b"\x03by\0b\0\x02k", b"\x03by", b"\x01by\0b\0\x01k", b""] {
            assert_eq!(entry_of(key), None, "{key:?}");
        }
        let bytes = Bytes::copy_from_slice(Entries::new(&[("a", b"x"), ("b", b"y")]).as_bytes());
        let there = Entries::decode(&bytes).unwrap();
        assert_eq!(there.iter().count(), 2);
        for end in [1, 3, bytes.len() - 1] {
            assert_eq!(Entries::decode(&bytes.slice(..end)), None, "{end} bytes");
        }
        let twice = Bytes::from([&bytes[..], &bytes[..]].concat());
        assert_eq!(Entries::decode(&twice), None, "out of order");
        assert_eq!(Entries::decode(&Bytes::new()), Some(Entries::default()));
    }

    /// A secondary key that ends where another goes on, or that has NULs, must not change the order.
    #[test]
    fn the_order_is_that_of_the_secondary_key_and_then_of_the_rows_key() {
        let bytes = [0, 1, 2, 254, 255];
        let mut keys = vec![Vec::new()];
        for length in 0..3 {
            let longer = keys.iter().filter(|key: &&Vec<u8>| key.len() == length);
            let longer = longer.flat_map(|key| bytes.map(|byte| [&key[..], &[byte]].concat()));
            let longer: Vec<_> = longer.collect();
            keys.extend(longer);
        }
        let rows = ["", "\0", "\u{1}", "a", "\u{10FFFF}"];
        let mut all: Vec<_> = keys.iter().flat_map(|by| rows.map(|row| (by, row))).collect();
        all.sort();
        let encoded: Vec<_> = all.iter().map(|(by, row)| entry_key("i", by, row)).collect();
        assert!(encoded.is_sorted());
        for ((by, row), key) in all.iter().zip(&encoded) {
            assert_eq!(entry_of(key), Some(((*by).clone(), (*row).to_owned())));
            assert!(
                key.starts_with(&prefix_of_equal("i", by)) && key.starts_with(&prefix("i", by))
            );
        }
    }
}
