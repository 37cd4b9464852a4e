//! System records: what events cannot recompute, kept in the journal without a position.
//!
//! A variant's place in the enum is its number on disk: new ones go to the end.

use crate::codec::bin;
use serde::{Deserialize, Serialize};

/// One system record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// `consumer` has taken in another log up to `position`.
    Tracked { consumer: String, position: u64 },
    /// The state of `key` in the keyed state of the engine's own features (`group/mailer`, …) is
    /// now `value`; an empty value removes it.
    State { key: String, value: Vec<u8> },
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        bin::encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Record, String> {
        bin::decode(bytes)
    }

    /// The key under which the newest record of its kind is kept.
    pub(crate) fn key(&self) -> String {
        match self {
            Record::Tracked { consumer, .. } => tracked_key(consumer),
            Record::State { key, .. } => key.clone(),
        }
    }
}

/// The key of what `consumer` has tracked.
pub(crate) fn tracked_key(consumer: &str) -> String {
    format!("tracked/{consumer}")
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
}
