//! A run: consecutive events of one stream, packed into one value of the index. Immutable.
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the key (stream and first version) and of all that follows
//!      4      8  version of the first event, as in the key
//!     12      8  position of the first event
//!     20      2  events
//!     22         for each event:
//!            4     position, less that of the first event
//!            8     time, UTC microseconds
//!            4     bytes of its body; bit 31: the body is a reference
//!                then the bodies, one after another: an envelope as it stands in the journal, or
//!                for a reference the place of the event's entry there:
//!                segment (8), offset in the segment (4), length (4)
//! ```
//!
//! Decoding slices the one buffer that the run was read into.

use crate::clock::Micros;
use crate::codec::cursor::{Cursor, array_at};
use crate::codec::frame::EntryLocation;
use crate::limits::RUN_BYTES_MAX;
use bytes::Bytes;

const FIXED_BYTES: usize = 22;
const HEAD_BYTES: usize = 16;
const REFERENCE_BYTES: usize = 16;
const REFERENCE_BIT: u32 = 1 << 31;
/// Events that fit into one run, however small their bodies are.
pub(crate) const RUN_EVENTS_MAX: u64 = ((RUN_BYTES_MAX - FIXED_BYTES) / HEAD_BYTES) as u64;

const _: () = assert!(RUN_EVENTS_MAX <= u16::MAX as u64);
const _: () = assert!(FIXED_BYTES + HEAD_BYTES + REFERENCE_BYTES <= RUN_BYTES_MAX);

/// An event as the index holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedEvent {
    pub(crate) version: u64,
    pub(crate) position: u64,
    pub(crate) recorded_at: Micros,
    pub(crate) body: Body,
}

/// An event's envelope, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Inline(Bytes),
    /// Too large for a run: the entry in the journal.
    At(EntryLocation),
}

/// The body to keep for an event with this envelope, whose entry lies at `location`.
pub(crate) fn body_of(envelope: Bytes, location: EntryLocation) -> Body {
    match FIXED_BYTES + HEAD_BYTES + envelope.len() <= RUN_BYTES_MAX {
        true => Body::Inline(envelope),
        false => Body::At(location),
    }
}

/// Packs consecutive events into a run as long as they fit.
pub(crate) struct Builder {
    first_version: u64,
    first_position: u64,
    heads: Vec<u8>,
    bodies: Vec<u8>,
}

impl Builder {
    /// A run that begins with `event`, which always fits.
    pub(crate) fn begin(event: &IndexedEvent) -> Builder {
        let mut run = Builder {
            first_version: event.version,
            first_position: event.position,
            heads: Vec::new(),
            bodies: Vec::new(),
        };
        let took = run.push(event);
        assert!(took, "`body_of` refers to what does not fit into a run of its own");
        run
    }

    /// Takes `event` in, if it is the next one and fits.
    pub(crate) fn push(&mut self, event: &IndexedEvent) -> bool {
        if event.version != self.first_version + self.events() {
            return false;
        }
        let distance = event.position.checked_sub(self.first_position);
        let Some(distance) = distance.and_then(|distance| u32::try_from(distance).ok()) else {
            return false;
        };
        let (length, bit) = match &event.body {
            Body::Inline(envelope) => (envelope.len(), 0),
            Body::At(_) => (REFERENCE_BYTES, REFERENCE_BIT),
        };
        if FIXED_BYTES + self.heads.len() + HEAD_BYTES + self.bodies.len() + length > RUN_BYTES_MAX
        {
            return false;
        }
        self.heads.extend_from_slice(&distance.to_le_bytes());
        self.heads.extend_from_slice(&event.recorded_at.0.to_le_bytes());
        self.heads.extend_from_slice(&(length as u32 | bit).to_le_bytes());
        match &event.body {
            Body::Inline(envelope) => self.bodies.extend_from_slice(envelope),
            Body::At(location) => {
                self.bodies.extend_from_slice(&location.segment.to_le_bytes());
                self.bodies.extend_from_slice(&location.offset.to_le_bytes());
                self.bodies.extend_from_slice(&location.length.to_le_bytes());
            }
        }
        true
    }

    /// The version of the run's first event, which its key must hold.
    pub(crate) fn first_version(&self) -> u64 {
        self.first_version
    }

    /// The run's value, to be kept under `key`.
    pub(crate) fn finish(self, key: &[u8]) -> Vec<u8> {
        let mut run = Vec::with_capacity(FIXED_BYTES + self.heads.len() + self.bodies.len());
        run.extend_from_slice(&[0; 4]);
        run.extend_from_slice(&self.first_version.to_le_bytes());
        run.extend_from_slice(&self.first_position.to_le_bytes());
        run.extend_from_slice(&(self.events() as u16).to_le_bytes());
        run.extend_from_slice(&self.heads);
        run.extend_from_slice(&self.bodies);
        let crc = checksum(key, &run).to_le_bytes();
        run[..4].copy_from_slice(&crc);
        run
    }

    fn events(&self) -> u64 {
        (self.heads.len() / HEAD_BYTES) as u64
    }
}

/// The events of the run that was kept as `run` under `key`, whose version is `first_version`.
pub(crate) fn decode(
    key: &[u8],
    first_version: u64,
    run: &Bytes,
) -> Result<Vec<IndexedEvent>, String> {
    if run.len() < FIXED_BYTES {
        return Err(format!("a run is {} bytes; at least {FIXED_BYTES} are needed", run.len()));
    }
    if u32::from_le_bytes(array_at(run, 0)) != checksum(key, run) {
        return Err("a run's checksum does not match".to_owned());
    }
    if u64::from_le_bytes(array_at(run, 4)) != first_version {
        return Err("a run's first version is not that of its key".to_owned());
    }
    parse(run, first_version).ok_or_else(|| "a run is malformed".to_owned())
}

fn parse(run: &Bytes, first_version: u64) -> Option<Vec<IndexedEvent>> {
    let first_position = u64::from_le_bytes(array_at(run, 12));
    let events = usize::from(u16::from_le_bytes(array_at(run, 20)));
    let mut at = FIXED_BYTES + events * HEAD_BYTES;
    let heads = run.get(FIXED_BYTES..at)?.chunks_exact(HEAD_BYTES);
    let mut parsed = Vec::with_capacity(events);
    for (version, head) in (first_version..).zip(heads) {
        let distance = u32::from_le_bytes(array_at(head, 0));
        let length = u32::from_le_bytes(array_at(head, 12));
        let end = at.checked_add((length & !REFERENCE_BIT) as usize)?;
        if end > run.len() {
            return None;
        }
        let body = run.slice(at..end);
        at = end;
        parsed.push(IndexedEvent {
            version,
            position: first_position.checked_add(distance.into())?,
            recorded_at: Micros(i64::from_le_bytes(array_at(head, 4))),
            body: if length & REFERENCE_BIT == 0 { Body::Inline(body) } else { reference(&body)? },
        });
    }
    (at == run.len() && events > 0).then_some(parsed)
}

fn reference(body: &Bytes) -> Option<Body> {
    let mut cursor = Cursor::new(body);
    let location =
        EntryLocation { segment: cursor.u64()?, offset: cursor.u32()?, length: cursor.u32()? };
    cursor.is_at_end().then_some(Body::At(location))
}

fn checksum(key: &[u8], run: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), &run[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"A-1\x0000000000000000000005";

    fn event(version: u64, body: Body) -> IndexedEvent {
        IndexedEvent { version, position: 10 * version, recorded_at: Micros(-1), body }
    }

    fn inline(bytes: usize) -> Body {
        Body::Inline(vec![7; bytes].into())
    }

    fn sample() -> (Vec<IndexedEvent>, Vec<u8>) {
        let location = EntryLocation { segment: 3, offset: 4, length: 500 };
        let events = vec![event(5, inline(2)), event(6, Body::At(location)), event(7, inline(0))];
        let mut run = Builder::begin(&events[0]);
        assert!(run.push(&events[1]) && run.push(&events[2]));
        (events, run.finish(KEY))
    }

    #[test]
    fn a_run_has_its_golden_bytes() {
        let (_, run) = sample();
        let mut golden = vec![212, 100, 114, 50]; // CRC
        golden.extend([5, 0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
        for (distance, length, bit) in [(0, 2, 0), (10, 16, 0x80), (20, 0, 0)] {
            golden.extend([distance, 0, 0, 0]);
            golden.extend([255; 8]);
            golden.extend([length, 0, 0, bit]);
        }
        golden.extend([7, 7]);
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 244, 1, 0, 0]);
        assert_eq!(run, golden);
    }

    #[test]
    fn a_run_gives_back_its_events_and_no_flipped_bit_goes_unnoticed() {
        let (events, run) = sample();
        let decode = |key, version, run: &[u8]| decode(key, version, &Bytes::copy_from_slice(run));
        assert_eq!(decode(KEY, 5, &run), Ok(events));
        assert!(decode(b"B-1\x0000000000000000000005", 5, &run).is_err(), "another stream's key");
        assert!(decode(KEY, 6, &run).is_err(), "another version");
        for length in 0..run.len() {
            assert!(decode(KEY, 5, &run[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..run.len() * 8 {
            let mut flipped = run.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(KEY, 5, &flipped).is_err(), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn a_run_takes_what_fits_and_never_more() {
        let largest = RUN_BYTES_MAX - FIXED_BYTES - HEAD_BYTES;
        let location = EntryLocation { segment: 1, offset: 2, length: 3 };
        assert_eq!(body_of(vec![7; largest].into(), location), inline(largest));
        assert_eq!(body_of(vec![7; largest + 1].into(), location), Body::At(location));
        let run = Builder::begin(&event(1, inline(largest)));
        assert_eq!(run.finish(KEY).len(), RUN_BYTES_MAX);
        let mut run = Builder::begin(&event(1, inline(largest - HEAD_BYTES)));
        assert!(!run.push(&event(2, inline(1))), "one byte too many");
        assert!(run.push(&event(2, inline(0))));
        assert!(!run.push(&event(3, inline(0))), "a full run");
        let mut run = Builder::begin(&event(1, inline(0)));
        assert!(!run.push(&event(3, inline(0))), "a gap");
        let mut taken = 1;
        while run.push(&event(taken + 1, inline(0))) {
            taken += 1;
        }
        assert_eq!(taken, RUN_EVENTS_MAX);
    }
}
