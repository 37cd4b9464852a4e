//! The durable state of a process besides its own events, as bincode, and its keys.
//!
//! | key | value |
//! | --- | --- |
//! | `process/cursor/<name>` | how far the process has ingested the log |
//! | `process/deadline/<name>-<id>` | when an instance wakes up |
//! | `process/effects/<name>-<id>` | an instance's own events with effects that have not run: their versions, or if there are many, 0 and ranges of versions |
//!
//! `<name>-<id>` is the instance's stream. Names have no `-`, so no process sees another's keys.

pub(crate) use crate::codec::bin::{decode, encode};
use crate::value::corruption::Corruption;
use crate::value::failpoint::failpoint;
use serde::{Deserialize, Serialize};

/// How far a process has ingested the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessCursor {
    /// Every event up to here is ingested, or not wanted by the process.
    pub(crate) position: u64,
}

/// When an instance wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    /// UTC microseconds.
    pub(crate) due: i64,
    /// The instance was woken for this time, and is not woken again.
    pub(crate) fired: bool,
}

/// An instance's own events with effects that have not run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct EffectsToCome {
    /// The events' versions, in order.
    pub(crate) versions: Vec<u64>,
}

/// The same events as ranges of versions, first and last. So a reaction with many events takes no more bytes than one
/// with a few.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct EffectsInRanges {
    /// 0, where [`EffectsToCome`] has the number of its versions. An empty list is never stored, so this tells the
    /// two forms apart.
    no_versions: u64,
    ranges: Vec<(u64, u64)>,
}

/// Up to this number, versions are listed one by one.
const VERSIONS_MAX: u64 = 4;

/// Encodes the effects to come of the events in `ranges` of versions, which are in order.
pub(crate) fn encode_effects(ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut versions = 0_u64;
    for (first, last) in ranges {
        versions = versions.saturating_add(last - first).saturating_add(1);
    }
    match versions <= VERSIONS_MAX || failpoint!("codec::list_each_effect") {
        true => {
            let versions = ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
            encode(&EffectsToCome { versions })
        }
        false => encode(&EffectsInRanges { no_versions: 0, ranges: ranges.to_vec() }),
    }
}

/// Decodes effects to come into ranges of versions.
pub(crate) fn decode_effects(bytes: &[u8]) -> Result<Vec<(u64, u64)>, Corruption> {
    let ranges: Vec<(u64, u64)> = match bytes {
        [0, _, ..] => decode::<EffectsInRanges>(bytes)?.ranges,
        _ => {
            let EffectsToCome { versions } = decode(bytes)?;
            versions.into_iter().map(|version| (version, version)).collect()
        }
    };
    let is_right = ranges.iter().all(|(first, last)| *first > 0 && first <= last);
    match is_right && ranges.is_sorted_by(|before, next| before.1 < next.0) {
        true => Ok(ranges),
        false => Err(Corruption::EffectOrder),
    }
}

/// The key of the cursor of the process `name`.
pub(crate) fn cursor_key(name: &str) -> String {
    format!("process/cursor/{name}")
}

/// The prefix of the keys of all deadlines of the process `name`; an instance's id follows.
pub(crate) fn deadline_prefix(name: &str) -> String {
    format!("process/deadline/{name}-")
}

/// The prefix of the keys of all effects to come of the process `name`; an instance's id follows.
pub(crate) fn effects_prefix(name: &str) -> String {
    format!("process/effects/{name}-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bin::check;

    #[test]
    fn what_a_process_keeps_has_its_golden_bytes() {
        check(&ProcessCursor { position: 7 }, &[7]);
        check(&ProcessCursor { position: 300 }, &[251, 44, 1]);
        check(&Alarm { due: 5, fired: false }, &[10, 0]);
        check(&Alarm { due: -1, fired: true }, &[1, 1]);
        check(&EffectsToCome { versions: vec![2, 300] }, &[2, 2, 251, 44, 1]);
        let check = |ranges: &[(u64, u64)], golden: &[u8]| {
            assert_eq!(encode_effects(ranges), golden);
            assert_eq!(decode_effects(golden).as_deref(), Ok(ranges));
        };
        check(&[(2, 2), (300, 300)], &[2, 2, 251, 44, 1]);
        check(&[(2, 300)], &[0, 1, 2, 251, 44, 1]);
        check(&[(2, 5), (7, 8)], &[0, 2, 2, 5, 7, 8]);
        // An earlier version listed every version.
        assert_eq!(decode_effects(&[5, 2, 3, 4, 5, 6]).map(|ranges| ranges.len()), Ok(5));
        for wrong in [&[0, 1, 3, 2][..], &[0, 1, 0, 2], &[0, 2, 1, 4, 4, 5], &[2, 3, 2], &[0, 1]] {
            assert!(decode_effects(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_value_that_is_kept_is_never_empty_for_that_would_remove_it() {
        assert!(!encode(&ProcessCursor { position: 0 }).is_empty());
        assert!(!encode(&EffectsToCome::default()).is_empty());
    }
}
