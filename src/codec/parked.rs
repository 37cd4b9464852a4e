//! Parked events, as bincode: one alone, or a run of several.
//!
//! ```text
//! one    its record; the key has its position
//! run    255, the form (1), and then bincode: the texts of all its events, each once; for each event its distance
//!        from the one before, which texts are its stream, type and error, its attempts, and when it was parked
//!        after the one before. The key has a position that is not before its last event, nor past the next entry's
//!        first.
//! ```
//!
//! No record begins with 255, which is no length of a text: a version that knows no runs takes one for damaged.

use crate::codec::bin;
use crate::value::corruption::Corruption;
use crate::value::failpoint::failpoint;
use crate::value::limits::{PARKED_RUN_EVENTS_MAX, VALUE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

const RUN: u8 = 255;
const RUN_FORM: u8 = 1;
/// The most bytes of an event in a run besides its texts: three numbers of a text, two of 64 bits, and one of 32.
const RUN_EVENT_BYTES_MAX: usize = 3 * 3 + 2 * 9 + 5;

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

/// Parked events with their positions, in order.
pub(crate) type ParkedEvents = Vec<(u64, ParkedRecord)>;

/// Why an entry with parked events cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A newer version wrote it, in this form.
    Form(u8),
    Damaged(Corruption),
}

#[derive(Serialize, Deserialize)]
struct Run {
    texts: Vec<String>,
    events: Vec<RunEvent>,
}

#[derive(Serialize, Deserialize)]
struct RunEvent {
    /// Since the one before; the first one's is its position.
    distance: u64,
    stream: u16,
    event_type: u16,
    error: u16,
    attempts: u32,
    /// Since the one before; the first one's is its time.
    parked_after: i64,
}

/// Puts `events` into as few entries as they fit in: for each, the position for its key, and its value.
pub(crate) fn encode_entries(events: &[(u64, ParkedRecord)]) -> Vec<(u64, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let (run, after) = rest.split_at(fitting(rest));
        rest = after;
        match run {
            [(position, record)] => entries.push((*position, bin::encode(record))),
            [.., (last, _)] => entries.push((*last, encode_run(run))),
            [] => {}
        }
    }
    entries
}

/// How many of the first `events` fit into one entry; at least one.
fn fitting(events: &[(u64, ParkedRecord)]) -> usize {
    let most = if failpoint!("codec::park_each_alone") { 1 } else { PARKED_RUN_EVENTS_MAX };
    let (mut texts, mut bytes) = (HashSet::new(), 16);
    for (fitting, (_, record)) in events.iter().take(most).enumerate() {
        bytes += RUN_EVENT_BYTES_MAX;
        for text in [&record.stream, &record.event_type, &record.error] {
            if texts.insert(text.as_str()) {
                bytes += text.len() + 5;
            }
        }
        if bytes > VALUE_BYTES_MAX {
            return fitting.max(1);
        }
    }
    events.len().min(most)
}

fn encode_run(events: &[(u64, ParkedRecord)]) -> Vec<u8> {
    let (mut texts, mut numbers) = (Vec::new(), HashMap::new());
    let mut number = |text: &str| {
        *numbers.entry(text.to_owned()).or_insert_with(|| {
            texts.push(text.to_owned());
            u16::try_from(texts.len() - 1).expect("a run has three texts for each of a few events")
        })
    };
    let (mut position, mut time) = (0, 0);
    let events = events.iter().map(|(at, record)| RunEvent {
        distance: at - std::mem::replace(&mut position, *at),
        stream: number(&record.stream),
        event_type: number(&record.event_type),
        error: number(&record.error),
        attempts: record.attempts,
        parked_after: record.parked_at.wrapping_sub(std::mem::replace(&mut time, record.parked_at)),
    });
    let events = events.collect();
    let mut bytes = vec![RUN, RUN_FORM];
    bytes.extend(bin::encode(&Run { texts, events }));
    bytes
}

/// The parked events of the entry with the `key` position.
pub(crate) fn decode_entry(key: u64, bytes: &[u8]) -> Result<ParkedEvents, Unreadable> {
    match bytes {
        [RUN, RUN_FORM, run @ ..] => decode_run(key, run).map_err(Unreadable::Damaged),
        [RUN, form, ..] => Err(Unreadable::Form(*form)),
        one => bin::decode(one).map(|record| vec![(key, record)]).map_err(Unreadable::Damaged),
    }
}

fn decode_run(key: u64, bytes: &[u8]) -> Result<ParkedEvents, Corruption> {
    let malformed = || Corruption::Form("a run of parked events does not fit together".into());
    let Run { texts, events } = bin::decode(bytes)?;
    let text = |number: u16| texts.get(usize::from(number)).cloned().ok_or_else(malformed);
    let (mut position, mut time) = (0u64, 0i64);
    let events = events.into_iter().map(|event| {
        let next = position.checked_add(event.distance).filter(|next| *next > position);
        position = next.filter(|next| *next <= key).ok_or_else(malformed)?;
        time = time.wrapping_add(event.parked_after);
        let record = ParkedRecord {
            stream: text(event.stream)?,
            event_type: text(event.event_type)?,
            error: text(event.error)?,
            attempts: event.attempts,
            parked_at: time,
        };
        Ok((position, record))
    });
    events.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::random::{Random, first_seed, rounds};

    fn parked(stream: &str, error: &str, parked_at: i64) -> ParkedRecord {
        let (stream, error) = (stream.to_owned(), error.to_owned());
        ParkedRecord { stream, event_type: "B".into(), error, attempts: 4, parked_at }
    }

    #[test]
    fn a_run_of_parked_events_has_its_golden_bytes_and_no_older_version_reads_it() {
        let events = [(7, parked("A-1", "no", 5)), (9, parked("A-2", "", 4))];
        let entries = encode_entries(&events);
        let golden = [
            &[255, 1, 5, 3][..],
            b"A-1\x01B\x02no\x03A-2\x00",
            &[2, 7, 0, 1, 2, 4, 10, 2, 3, 1, 4, 4, 1],
        ];
        assert_eq!(entries, [(9, golden.concat())]);
        assert_eq!(decode_entry(9, &entries[0].1), Ok(events.to_vec()));
        assert!(decode_entry(8, &entries[0].1).is_err(), "an event past its key");
        assert!(bin::decode::<ParkedRecord>(&entries[0].1).is_err());
        assert_eq!(decode_entry(9, &[255, 2, 0]), Err(Unreadable::Form(2)));
        let one = &events[..1];
        assert_eq!(encode_entries(one), [(7, bin::encode(&one[0].1))], "one alone is as before");
    }

    #[test]
    fn entries_hold_what_was_put_into_them_and_none_is_in_pieces() {
        for seed in first_seed()..first_seed() + rounds(300) {
            let random = &mut Random::new(seed);
            let (events, longest) = (1 + random.below(900), 1 + random.below(3_000) as usize);
            let (mut position, mut time) = (random.below(1 << 40), i64::MIN);
            let mut event = || {
                position += 1 + random.below(2) * random.below(1 << 30);
                time = time.wrapping_add(random.below(u64::MAX) as i64);
                let stream = format!("A-{}", random.below(40));
                let error = "e".repeat(random.below(3) as usize * longest / 2);
                (position, parked(&stream, &error, time))
            };
            let events: Vec<_> = (0..events).map(|_| event()).collect();
            let entries = encode_entries(&events);
            let mut read = Vec::new();
            for (key, value) in &entries {
                assert!(value.len() <= VALUE_BYTES_MAX, "seed {seed}: {} bytes", value.len());
                let held = decode_entry(*key, value).unwrap();
                assert!(held.len() <= PARKED_RUN_EVENTS_MAX, "seed {seed}: {} events", held.len());
                assert_eq!(held.last().unwrap().0, *key, "seed {seed}");
                read.extend(held);
            }
            assert_eq!(read, events, "seed {seed}");
            if longest < 10 {
                assert!(entries.len() <= events.len() / 100 + 1, "seed {seed}: {}", entries.len());
            }
        }
    }

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
