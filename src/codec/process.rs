//! The durable state of a process besides its own events, as bincode, and its keys.
//!
//! | key | value |
//! | --- | --- |
//! | `process/cursor/<name>` | the position up to which the process has ingested the log |
//! | `process/deadline/<name>-<id>` | an instance's deadline |
//! | `process/effects/<name>-<id>` | an instance's own events whose effects are pending: their versions, or if there are many, 0 and ranges of versions |
//! | `process/waits/<name>-<id>` | the first position whose event waits for the instance; the cursor is past it |
//! | `process/done/<name>` | the position up to which everything is done, including effects, as of a commit that left effects pending |
//! | `process/given-up/<name>-<position>` | an event that no instance gets, although events of some instance wait from before it |
//! | `process/parked/<name>-<id>` | the step at which a parked instance stopped |
//! | `process/aside/<name>-<step>-<id>` | a step that is parked alone, while its instance continues |
//!
//! `<name>-<id>` is the instance's stream. A name holds no `-`, so no process sees another's keys. `<step>` is a letter
//! and a number of 20 digits, and `<position>` has 20 digits.

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

/// The cursor of a process that has waiting events or parked steps. A version of filmstrip that does not know of these
/// would lose them, so it must not be able to read this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct CursorPastSome {
    /// 0, where [`ProcessCursor`] has the position. A `ProcessCursor` with a position of 0 is one byte, so this tells
    /// the two forms apart.
    no_position: u64,
    form: u64,
    position: u64,
}

/// The newest form of a cursor that this version reads.
const CURSOR_FORM: u64 = 1;

/// A cursor as it was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    At(u64),
    /// A form that only a newer version reads.
    Newer(u64),
}

/// Encodes a cursor at `position`. `past_some` tells whether there are waiting events or parked steps.
pub(crate) fn encode_cursor(position: u64, past_some: bool) -> Vec<u8> {
    match past_some && !failpoint!("codec::hide_waiting_instances") {
        true => encode(&CursorPastSome { no_position: 0, form: CURSOR_FORM, position }),
        false => encode(&ProcessCursor { position }),
    }
}

pub(crate) fn decode_cursor(bytes: &[u8]) -> Result<Cursor, Corruption> {
    match bytes {
        [0, form, ..] if u64::from(*form) > CURSOR_FORM => Ok(Cursor::Newer((*form).into())),
        [0, _, ..] => decode::<CursorPastSome>(bytes).map(|cursor| Cursor::At(cursor.position)),
        _ => decode::<ProcessCursor>(bytes).map(|cursor| Cursor::At(cursor.position)),
    }
}

/// The bytes of a cursor with another position, and in the same form.
pub(crate) fn move_cursor(bytes: &[u8], position: u64) -> Vec<u8> {
    encode_cursor(position, matches!(bytes, [0, _, ..]))
}

/// A position by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPosition {
    pub(crate) position: u64,
}

/// The position from which an instance's events wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitsFrom {
    /// The first position whose event, if it is the instance's, is not ingested.
    pub(crate) position: u64,
}

/// A step of a process. The order of the variants gives their numbers on disk, so new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum StoredStep {
    /// The reaction to the event at this position.
    Event(u64),
    /// The effect of the own event of this version.
    Effect(u64),
    /// The reaction to the deadline at this time, in UTC microseconds.
    Deadline(i64),
    /// Finding the instance that the event at this position concerns.
    Route(u64),
}

/// A step that has failed too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ParkedStep {
    pub(crate) step: StoredStep,
    /// The step in words (`codec::step_words`), for an operator.
    pub(crate) what: String,
    /// The message of its last failure; may be empty.
    pub(crate) error: String,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// UTC microseconds.
    pub(crate) parked_at: i64,
}

/// The deadline of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    /// UTC microseconds.
    pub(crate) due: i64,
    /// Whether the instance was woken for this deadline. It is not woken again.
    pub(crate) fired: bool,
}

/// An instance's own events whose effects are pending.
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

/// Encodes the pending effects of the events in `ranges` of versions, which must be in order.
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

/// Decodes pending effects into ranges of versions.
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

/// The prefix of the keys of all pending effects of the process `name`; an instance's id follows.
pub(crate) fn effects_prefix(name: &str) -> String {
    format!("process/effects/{name}-")
}

/// The prefix of the keys of all [`WaitsFrom`] of the process `name`; an instance's id follows.
pub(crate) fn waits_prefix(name: &str) -> String {
    format!("process/waits/{name}-")
}

/// The key of the position up to which the process `name` has done everything.
pub(crate) fn done_key(name: &str) -> String {
    format!("process/done/{name}")
}

/// The prefix of the keys of all events that no instance of the process `name` gets.
pub(crate) fn given_up_prefix(name: &str) -> String {
    format!("process/given-up/{name}-")
}

/// The key of the event at `position` that no instance of the process `name` gets.
pub(crate) fn given_up_key(name: &str, position: u64) -> String {
    format!("{}{position:020}", given_up_prefix(name))
}

/// The prefix of the keys of all parked instances of the process `name`; an instance's id follows.
pub(crate) fn parked_prefix(name: &str) -> String {
    format!("process/parked/{name}-")
}

/// The prefix of the keys of all steps of the process `name` that are parked alone; [`aside_suffix`] follows.
pub(crate) fn aside_prefix(name: &str) -> String {
    format!("process/aside/{name}-")
}

/// The rest of the key of a step that is parked alone, after [`aside_prefix`].
pub(crate) fn aside_suffix(step: StoredStep, id: &str) -> String {
    let (letter, number) = match step {
        StoredStep::Event(position) => ('e', position),
        StoredStep::Effect(version) => ('f', version),
        // Keeps the order of deadlines before 1970, too.
        StoredStep::Deadline(due) => ('d', due.cast_unsigned() ^ (1 << 63)),
        StoredStep::Route(position) => ('r', position),
    };
    format!("{letter}{number:020}-{id}")
}

/// The instance's id in an [`aside_suffix`].
pub(crate) fn aside_id(suffix: &str) -> Result<&str, Corruption> {
    suffix.get(22..).ok_or_else(|| Corruption::Form("a key is too short".into()))
}

/// What is kept under a key of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessKey<'a> {
    Cursor,
    Deadline,
    /// Of the instance that has this stream.
    Effects(&'a str),
    Waits,
    Done,
    /// Of the event at `position`, which no instance of the process `name` gets.
    GivenUp {
        name: &'a str,
        position: u64,
    },
    /// The same as of effects.
    Parked(&'a str),
    /// Of the instance `id` of the process `name`.
    Aside {
        name: &'a str,
        id: &'a str,
    },
}

/// What is kept under `key`; `None` if it is no key of a process.
pub(crate) fn process_key_of(key: &str) -> Option<ProcessKey<'_>> {
    let (room, rest) = key.strip_prefix("process/")?.split_once('/')?;
    match room {
        "cursor" => Some(ProcessKey::Cursor),
        "deadline" => Some(ProcessKey::Deadline),
        "effects" => Some(ProcessKey::Effects(rest)),
        "waits" => Some(ProcessKey::Waits),
        "done" => Some(ProcessKey::Done),
        "given-up" => {
            let (name, position) = rest.split_once('-')?;
            Some(ProcessKey::GivenUp { name, position: position.parse().ok()? })
        }
        "parked" => Some(ProcessKey::Parked(rest)),
        "aside" => {
            let (name, suffix) = rest.split_once('-')?;
            Some(ProcessKey::Aside { name, id: aside_id(suffix).ok()? })
        }
        _ => None,
    }
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

    /// A version that does not know of waiting events would lose them, so it must treat such a cursor as damaged.
    #[test]
    fn a_cursor_past_events_that_wait_is_not_read_by_who_does_not_know_of_them() {
        assert_eq!(encode_cursor(300, false), [251, 44, 1]);
        assert_eq!(encode_cursor(0, false), [0]);
        for (position, golden) in [(0, &[0, 1, 0][..]), (7, &[0, 1, 7]), (300, &[0, 1, 251, 44, 1])]
        {
            let bytes = encode_cursor(position, true);
            assert_eq!(bytes, golden);
            assert!(decode::<ProcessCursor>(&bytes).is_err(), "an older version reads it");
            assert_eq!(decode_cursor(&bytes), Ok(Cursor::At(position)));
            assert_eq!(decode_cursor(&encode_cursor(position, false)), Ok(Cursor::At(position)));
        }
        assert_eq!(decode_cursor(&[0, 2, 7, 7]), Ok(Cursor::Newer(2)));
        for wrong in [&[][..], &[0, 1], &[0, 0], &[7, 7]] {
            assert!(decode_cursor(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_says_what_is_kept_under_it() {
        let aside = |id| format!("{}{}", aside_prefix("P"), aside_suffix(StoredStep::Event(7), id));
        for (key, expected) in [
            (cursor_key("P"), Some(ProcessKey::Cursor)),
            (format!("{}a-1/2", deadline_prefix("P")), Some(ProcessKey::Deadline)),
            (format!("{}a-1/2", effects_prefix("P")), Some(ProcessKey::Effects("P-a-1/2"))),
            (format!("{}a", waits_prefix("P")), Some(ProcessKey::Waits)),
            (done_key("P"), Some(ProcessKey::Done)),
            (given_up_key("P", 7), Some(ProcessKey::GivenUp { name: "P", position: 7 })),
            (format!("{}a-1/2", parked_prefix("P")), Some(ProcessKey::Parked("P-a-1/2"))),
            (aside("a-1/2"), Some(ProcessKey::Aside { name: "P", id: "a-1/2" })),
            ("process/other/P".to_owned(), None),
            ("group/process/cursor/P".to_owned(), None),
        ] {
            assert_eq!(process_key_of(&key), expected, "{key:?}");
        }
        for past_some in [false, true] {
            let moved = move_cursor(&encode_cursor(300, past_some), 7);
            assert_eq!(moved, encode_cursor(7, past_some));
        }
    }

    #[test]
    fn what_waits_and_what_is_parked_has_its_golden_bytes() {
        check(&WaitsFrom { position: 300 }, &[251, 44, 1]);
        check(&StoredPosition { position: 300 }, &[251, 44, 1]);
        assert_eq!(given_up_key("P", 7), "process/given-up/P-00000000000000000007");
        let parked = |step| ParkedStep {
            step,
            what: "w".into(),
            error: "no".into(),
            attempts: 4,
            parked_at: 5,
        };
        let rest = [1, b'w', 2, b'n', b'o', 4, 10];
        let steps = [
            (StoredStep::Event(7), "e00000000000000000007-a-1", [0, 7]),
            (StoredStep::Effect(2), "f00000000000000000002-a-1", [1, 2]),
            (StoredStep::Deadline(-1), "d09223372036854775807-a-1", [2, 1]),
            (StoredStep::Route(9), "r00000000000000000009-a-1", [3, 9]),
        ];
        for (step, suffix, golden) in steps {
            check(&parked(step), &[&golden[..], &rest].concat());
            assert_eq!(aside_suffix(step, "a-1"), suffix);
            assert_eq!(aside_id(suffix), Ok("a-1"));
        }
        assert!(aside_id("e0-a").is_err());
    }

    #[test]
    fn a_value_that_is_kept_is_never_empty_for_that_would_remove_it() {
        assert!(!encode(&ProcessCursor { position: 0 }).is_empty());
        assert!(!encode(&EffectsToCome::default()).is_empty());
    }
}
