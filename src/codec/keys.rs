//! The keys of sled's trees in the index. Their byte order is the order in which they are read.
//!
//! ```text
//! events-<table>      stream name, NUL, version as 20 decimal digits, of the first key run of an index block
//! snapshots           stream name, NUL, version as 20 decimal digits
//! global              position as 20 decimal digits
//! records             the record's key
//! pieces              's' or 'r', the whole value's key, NUL, [epoch, 20 digits,] number, 8 digits
//! ```
//!
//! Events and stream states are not in sled but in sorted tables. The names of streams have no control characters,
//! so NUL ends a name, and the keys of a stream are neighbours.

use crate::value::limits::STREAM_NAME_BYTES_MAX;
use crate::value::stream::StreamId;

const DIGITS: usize = 20;
/// The length of the longest key of a table's tree and of `snapshots`.
pub(crate) const EVENT_KEY_BYTES_MAX: usize = STREAM_NAME_BYTES_MAX + 1 + DIGITS;

/// The key of the index block whose first key run begins with `version` of `stream`.
pub(crate) fn event_key(stream: &StreamId, version: u64) -> Vec<u8> {
    versioned(stream.as_str(), version)
}

/// The key of the snapshot at `version`.
pub(crate) fn snapshot_key(stream: &StreamId, version: u64) -> Vec<u8> {
    versioned(stream.as_str(), version)
}

/// The prefix of all keys of `stream` in a table's tree or in `snapshots`.
pub(crate) fn stream_prefix(stream: &StreamId) -> Vec<u8> {
    let mut key = stream.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

/// The stream's name and the version in a key of a table's tree or of `snapshots`.
pub(crate) fn begin_of(key: &[u8]) -> Option<(&[u8], u64)> {
    let (name, version) = key.split_last_chunk::<DIGITS>()?;
    Some((name.strip_suffix(&[0])?, digits(version)?))
}

/// The version in a key of a table's tree or of `snapshots`.
pub(crate) fn version_of(key: &[u8]) -> Option<u64> {
    digits(key.last_chunk::<DIGITS>()?)
}

/// The key of the sparse index entry at `position`.
pub(crate) fn global_key(position: u64) -> Vec<u8> {
    format!("{position:020}").into_bytes()
}

/// The position in a key of `global`.
pub(crate) fn position_of(key: &[u8]) -> Option<u64> {
    (key.len() == DIGITS).then(|| digits(key)).flatten()
}

/// The prefix of the keys of all pieces of a snapshot.
pub(crate) fn snapshot_pieces(snapshot_key: &[u8]) -> Vec<u8> {
    let mut prefix = vec![b's'];
    prefix.extend_from_slice(snapshot_key);
    prefix.push(0);
    prefix
}

/// The prefix of the keys of all pieces of a record's value that was written in `epoch`.
pub(crate) fn record_pieces(record_key: &[u8], epoch: u64) -> Vec<u8> {
    let mut prefix = vec![b'r'];
    prefix.extend_from_slice(record_key);
    prefix.push(0);
    prefix.extend_from_slice(format!("{epoch:020}").as_bytes());
    prefix
}

/// The record's key and the epoch, from the key of one of the record's pieces.
pub(crate) fn record_of_piece(key: &[u8]) -> Option<(&[u8], u64)> {
    let record = key.strip_prefix(b"r")?;
    let (record, _number) = record.split_last_chunk::<8>()?;
    let (name, epoch) = record.split_last_chunk::<DIGITS>()?;
    Some((name.strip_suffix(&[0])?, digits(epoch)?))
}

/// The key of piece `number`, where `prefix` is that of the value's pieces.
pub(crate) fn piece_key(prefix: &[u8], number: u32) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend_from_slice(format!("{number:08}").as_bytes());
    key
}

fn versioned(name: &str, version: u64) -> Vec<u8> {
    format!("{name}\0{version:020}").into_bytes()
}

fn digits(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_golden_bytes() {
        let stream = StreamId::new("A-1").unwrap();
        assert_eq!(event_key(&stream, 42), b"A-1\x0000000000000000000042");
        assert_eq!(snapshot_key(&stream, 7), b"A-1\x0000000000000000000007");
        assert_eq!(stream_prefix(&stream), b"A-1\0");
        assert_eq!(global_key(u64::MAX), b"18446744073709551615");
        let pieces = snapshot_pieces(&snapshot_key(&stream, 7));
        assert_eq!(piece_key(&pieces, 3), b"sA-1\x0000000000000000000007\x0000000003");
        let pieces = record_pieces(b"group/a", 9);
        assert_eq!(piece_key(&pieces, 0), b"rgroup/a\x000000000000000000000900000000");
    }

    #[test]
    fn keys_give_back_what_they_were_made_of() {
        let stream = StreamId::new("A-1").unwrap();
        assert_eq!(version_of(&event_key(&stream, u64::MAX)), Some(u64::MAX));
        assert_eq!(begin_of(&event_key(&stream, 5)), Some((b"A-1".as_slice(), 5)));
        assert_eq!(begin_of(b"A-100000000000000000005"), None, "no NUL");
        assert_eq!(position_of(&global_key(12)), Some(12));
        let piece = piece_key(&record_pieces(b"a/b", 5), 77);
        assert_eq!(record_of_piece(&piece), Some((b"a/b".as_slice(), 5)));
        for key in [b"".as_slice(), b"12", b"A-1\0+0000000000000000042", b"99999999999999999999"] {
            assert_eq!((version_of(key), position_of(key)), (None, None), "{key:?}");
        }
    }

    #[test]
    fn the_keys_of_one_stream_stand_together_in_version_order() {
        let name = |name| StreamId::new(name).unwrap();
        let mut keys = vec![event_key(&name("A"), 9), event_key(&name("A"), 10)];
        keys.push(event_key(&name("A "), 1));
        keys.push(event_key(&name("A-"), 1));
        keys.push(event_key(&name("A-1"), 1));
        assert!(keys.is_sorted(), "{keys:?}");
    }
}
