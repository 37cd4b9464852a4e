//! Checks what must be true after a crash, with the knowledge of an outside observer of the store.
//!
//! The payload of each event holds the number of its commit, the event's number in it, and the number of the commit's
//! events, so that a partial commit is noticed.

use crate::value::event::NewEvent;
use crate::value::random::Random;
use std::collections::BTreeMap;

const HEAD_BYTES: usize = 12;

/// An event as an observer got it: from an acknowledgement or a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) position: u64,
    pub(crate) stream: String,
    pub(crate) version: u64,
    /// The number of its commit, its own number in it, and the number of the commit's events.
    pub(crate) part: [u32; 3],
}

impl Known {
    /// The event with this payload. Returns an error if it is not exactly what was written.
    pub(crate) fn read(
        position: u64,
        stream: &str,
        version: u64,
        payload: &[u8],
    ) -> Result<Known, String> {
        let part = part_of(payload)
            .ok_or_else(|| format!("the event at {position} is not what was written"))?;
        Ok(Known { position, stream: stream.to_owned(), version, part })
    }
}

/// A commit of the workload: the payloads of its events, by stream.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) number: u32,
    pub(crate) appends: Vec<(String, Vec<Vec<u8>>)>,
}

impl Planned {
    /// Commit `number`: one to three streams, a few events each, now and then a large one.
    pub(crate) fn random(number: u32, random: &mut Random) -> Planned {
        let mut streams: Vec<u64> = (0..1 + random.below(3)).map(|_| random.below(6)).collect();
        streams.sort_unstable();
        streams.dedup();
        let counts: Vec<u32> = streams.iter().map(|_| 1 + random.below(3) as u32).collect();
        let of = counts.iter().sum();
        let mut part = 0;
        let mut payloads = |count: u32| {
            let next = |_| {
                let filler = match random.below(60) {
                    0 => 50_000 + random.below(100_000),
                    1..5 => 0,
                    _ => random.below(1_500),
                };
                part += 1;
                payload([number, part - 1, of], filler as usize)
            };
            (0..count).map(next).collect()
        };
        let appends = streams.iter().zip(&counts);
        let appends = appends.map(|(stream, count)| (format!("S-{stream}"), payloads(*count)));
        Planned { number, appends: appends.collect() }
    }

    /// Commit `number`, of one event with a payload of `bytes`.
    pub(crate) fn large(number: u32, bytes: usize) -> Planned {
        let payloads = vec![payload([number, 0, 1], bytes)];
        Planned { number, appends: vec![("Large-1".to_owned(), payloads)] }
    }

    pub(crate) fn events(payloads: &[Vec<u8>]) -> Vec<NewEvent> {
        payloads.iter().map(|payload| NewEvent::bytes("Written", payload.clone())).collect()
    }
}

/// The events known at one moment, which every later state must have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    known: BTreeMap<u64, Known>,
}

impl Oracle {
    /// Adds an event that an observer has learned of.
    pub(crate) fn learn(&mut self, event: &Known) -> Result<(), String> {
        match self.known.insert(event.position, event.clone()) {
            Some(before) if before != *event => {
                Err(format!("position {} was {before:?} and is {event:?}", event.position))
            }
            _ => Ok(()),
        }
    }

    /// Checks all `events` found after a crash, in their order.
    pub(crate) fn judge(&self, events: &[Known]) -> Result<(), String> {
        let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
        for (event, position) in events.iter().zip(1..) {
            if event.position != position {
                return Err(format!("position {position} is missing: {event:?}"));
            }
            let version = versions.entry(&event.stream).or_default();
            *version += 1;
            if event.version != *version {
                return Err(format!("version {version} is missing: {event:?}"));
            }
        }
        for (position, known) in &self.known {
            match events.get(*position as usize - 1) {
                Some(event) if event == known => {}
                Some(event) => return Err(format!("{known:?} was known; there is {event:?}")),
                None => return Err(format!("{known:?} was known and is gone")),
            }
        }
        judge_commits(events)
    }
}

/// Checks that each commit is complete and that its events are consecutive.
fn judge_commits(events: &[Known]) -> Result<(), String> {
    let mut rest = events;
    while let [first, ..] = rest {
        let [commit, _, of] = first.part;
        let (whole, behind) = rest
            .split_at_checked(of as usize)
            .ok_or_else(|| format!("commit {commit} of {of} events is there in part"))?;
        for (event, part) in whole.iter().zip(0..) {
            if event.part != [commit, part, of] {
                return Err(format!("commit {commit} is there in part: {event:?}"));
            }
        }
        rest = behind;
    }
    Ok(())
}

pub(crate) fn payload(part: [u32; 3], filler: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = part.iter().flat_map(|n| n.to_le_bytes()).collect();
    payload.resize(HEAD_BYTES + filler, part[0] as u8 | 1);
    payload
}

fn part_of(payload: &[u8]) -> Option<[u32; 3]> {
    let (head, filler) = payload.split_at_checked(HEAD_BYTES)?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    let part = [number(0), number(4), number(8)];
    (filler == vec![part[0] as u8 | 1; filler.len()]).then_some(part)
}
