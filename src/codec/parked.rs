//! A parked event, as bincode.

use serde::{Deserialize, Serialize};

/// A parked event's record. Its position is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ParkedRecord {
    pub(crate) stream: String,
    pub(crate) event_type: String,
    /// Its last error; empty if no reason was given.
    pub(crate) error: String,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// UTC microseconds.
    pub(crate) parked_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bin;

    #[test]
    fn a_parked_event_has_its_golden_bytes() {
        let parked = ParkedRecord {
            stream: "A-1".into(),
            event_type: "B".into(),
            error: "no".into(),
            attempts: 4,
            parked_at: 5,
        };
        let golden = [3, b'A', b'-', b'1', 1, b'B', 2, b'n', b'o', 4, 10];
        bin::check(&parked, &golden);
    }
}
