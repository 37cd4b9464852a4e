//! System records: state that cannot be recomputed from events. The journal holds them without a position.
//!
//! A variant's place in the enum is its number on disk, so new variants go to the end.

use crate::codec::bin;
use crate::value::corruption::Corruption;
use crate::value::failpoint::failpoint;
use serde::{Deserialize, Serialize};

/// One system record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// `consumer` has ingested another log up to `position`.
    Tracked { consumer: String, position: u64 },
    /// The engine's own state under `key` (`group/mailer`, …) is now `value`. An empty value
    /// removes it.
    State { key: String, value: Vec<u8> },
}

impl Record {
    const VARIANTS: u8 = 2;

    pub(crate) fn encode(&self) -> Vec<u8> {
        bin::encode(self)
    }

    /// The length of its encoding in bytes, or a few more.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Record::Tracked { consumer, .. } => consumer.len() + 32,
            Record::State { key, value } => key.len() + value.len() + 32,
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Record, Corruption> {
        bin::decode(bytes)
    }

    /// The key and the value that this record sets, until the next record with this key. An empty
    /// value means none.
    pub(crate) fn into_kept(self) -> (String, Vec<u8>) {
        match self {
            Record::Tracked { consumer, position } => {
                (tracked_key(&consumer), position.to_le_bytes().to_vec())
            }
            Record::State { key, value } => (key, value),
        }
    }
}

/// Describes the kind of an encoded record, if this version does not know it. bincode writes a variant's number
/// first.
pub(crate) fn newer_form(encoded: &[u8]) -> Option<String> {
    let number = *encoded.first()?;
    let last = Record::VARIANTS - 1;
    (number > last && !failpoint!("codec::ignore_newer_record"))
        .then(|| format!("a record of kind {number}; 0 to {last} are known"))
}

/// The key of the position that `consumer` has tracked.
pub(crate) fn tracked_key(consumer: &str) -> String {
    format!("tracked/{consumer}")
}

/// The keys that say that somebody was forgotten begin with this, and end with the id of a key of data subjects.
#[cfg(feature = "erasure")]
pub(crate) const FORGOTTEN: &str = "forgotten/";

/// The key under which it is said that the data subject of the key with this id was forgotten.
#[cfg(feature = "erasure")]
pub(crate) fn forgotten_key(key_id: impl std::fmt::Display) -> String {
    format!("{FORGOTTEN}{key_id}")
}

/// The id of the key in a `forgotten_key`.
#[cfg(feature = "erasure")]
pub(crate) fn forgotten_key_id(key: &str) -> Option<[u8; 16]> {
    let id = uuid::Uuid::try_parse(key.strip_prefix(FORGOTTEN)?).ok()?;
    Some(id.into_bytes())
}

/// The key under which it is said that somebody is being forgotten: what is derived may still hold something of it.
#[cfg(feature = "erasure")]
pub(crate) const FORGETTING: &str = "forgetting";

/// The position in the value of a `tracked_key`.
pub(crate) fn tracked_position(kept: &[u8]) -> Option<u64> {
    kept.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_their_golden_bytes() {
        let tracked = Record::Tracked { consumer: "ab".into(), position: 300 };
        assert_eq!(tracked.encode(), [0, 2, b'a', b'b', 251, 44, 1]);
        let state = Record::State { key: "k".into(), value: vec![1, 2] };
        assert_eq!(state.encode(), [1, 1, b'k', 2, 1, 2]);
        for record in [tracked, state] {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn a_record_is_kept_under_its_key() {
        let (key, kept) = Record::Tracked { consumer: "ab".into(), position: 300 }.into_kept();
        assert_eq!((key.as_str(), kept.as_slice()), ("tracked/ab", &[44, 1, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(tracked_position(&kept), Some(300));
        assert_eq!(tracked_position(&kept[1..]), None);
        let state = Record::State { key: "k".into(), value: vec![1, 2] };
        assert_eq!(state.into_kept(), ("k".into(), vec![1, 2]));
    }
}
