//! What a process keeps in the journal besides its own events: under which keys, and as bincode.
//!
//! | key | value |
//! | --- | --- |
//! | `process/cursor/<name>` | how far it has taken in the log |
//! | `process/deadline/<name>-<id>` | when an instance is to be woken |
//! | `process/effects/<name>-<id>` | an instance's own events whose effects are still to come |
//!
//! `<name>-<id>` is the instance's stream. A name holds no `-`, so no process sees another's keys.

use crate::codec::bin;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How far a process has taken in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessCursor {
    /// What was recorded up to here is taken in, or not wanted.
    pub(crate) position: u64,
}

/// When an instance is to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    /// UTC microseconds.
    pub(crate) due: i64,
    /// It was woken at this time, and is not again.
    pub(crate) fired: bool,
}

/// An instance's own events whose effects are still to come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct EffectsToCome {
    /// Their versions, in order.
    pub(crate) versions: Vec<u64>,
}

/// The bytes of one of these.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    bin::encode(value)
}

/// One of these from its bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    bin::decode(bytes)
}

/// Where the cursor of the process `name` is kept.
pub(crate) fn cursor_key(name: &str) -> String {
    format!("process/cursor/{name}")
}

/// What the keys of all deadlines of the process `name` begin with; an instance's id follows.
pub(crate) fn deadline_prefix(name: &str) -> String {
    format!("process/deadline/{name}-")
}

/// What the keys of all effects to come of the process `name` begin with; an instance's id follows.
pub(crate) fn effects_prefix(name: &str) -> String {
    format!("process/effects/{name}-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, golden: &[u8]) {
        assert_eq!(encode(value), golden);
        assert_eq!(decode::<T>(golden).as_ref(), Ok(value));
    }

    #[test]
    fn what_a_process_keeps_has_its_golden_bytes() {
        check(&ProcessCursor { position: 7 }, &[7]);
        check(&ProcessCursor { position: 300 }, &[251, 44, 1]);
        check(&Alarm { due: 5, fired: false }, &[10, 0]);
        check(&Alarm { due: -1, fired: true }, &[1, 1]);
        check(&EffectsToCome { versions: vec![2, 300] }, &[2, 2, 251, 44, 1]);
    }

    #[test]
    fn a_value_that_is_kept_is_never_empty_for_that_would_remove_it() {
        assert!(!encode(&ProcessCursor { position: 0 }).is_empty());
        assert!(!encode(&EffectsToCome::default()).is_empty());
    }
}
