//! A run: consecutive events of one stream, packed into one value of the index. Immutable.
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the key (stream and first version) and of all that follows
//!      4      8  version of the first event, as in the key
//!     12      8  position of the first event
//!     20      2  events; bit 15: the content is compressed
//!     22         the content; if it is compressed, its length (4) and an LZ4 block that holds it
//! ```
//!
//! The content:
//!
//! ```text
//! for each event:
//!      4  position, less that of the first event
//!      8  time, UTC microseconds
//!      4  bytes of its body; bit 31: the body is a reference
//! then the bodies, one after another: an envelope as it stands in the journal, or for a
//! reference the place of the event's entry there: segment (8), offset in the segment (4), length (4)
//! ```
//!
//! Events of a stream are alike, so the content is compressed wherever that makes it shorter: it is
//! what sled writes again and again, and what a reader waits for.
//! Decoding slices the one buffer that the run was read into, or decompressed into.

use crate::clock::Micros;
use crate::codec::cursor::{Cursor, array_at};
use crate::codec::frame::EntryLocation;
use crate::limits::{RUN_BYTES_MAX, RUN_CONTENT_BYTES_MAX};
use bytes::Bytes;
use lz4_flex::block::get_maximum_output_size;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into};

const FIXED_BYTES: usize = 22;
const HEAD_BYTES: usize = 16;
const REFERENCE_BYTES: usize = 16;
const REFERENCE_BIT: u32 = 1 << 31;
const COMPRESSED_BIT: u16 = 1 << 15;
/// What the length of a compressed content takes.
const LENGTH_BYTES: usize = 4;
/// Content that is not worth a try to compress it.
const COMPRESSED_BYTES_MIN: usize = 128;
/// What a run is expected to come to that is as compressible as the one before it: with luck less than
/// is allowed, so that few are made in vain.
const EXPECTED_BYTES: usize = RUN_BYTES_MAX / 8 * 7;
/// Events that fit into one run, however small their bodies are.
pub(crate) const RUN_EVENTS_MAX: u64 = (RUN_CONTENT_BYTES_MAX / HEAD_BYTES) as u64;

const _: () = assert!(RUN_EVENTS_MAX < COMPRESSED_BIT as u64);
const _: () = assert!(FIXED_BYTES + HEAD_BYTES + REFERENCE_BYTES <= RUN_BYTES_MAX);
const _: () = assert!(RUN_BYTES_MAX <= RUN_CONTENT_BYTES_MAX);

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

/// Packs events of one stream into runs, and keeps its buffers from one stream to the next.
#[derive(Default)]
pub(crate) struct Packer {
    /// The events that will make up the next runs, which are consecutive.
    heads: Vec<Head>,
    bodies: Vec<u8>,
    first_version: u64,
    table: CompressTable,
    content: Vec<u8>,
    compressed: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Head {
    position: u64,
    recorded_at: Micros,
    /// Of the body, with the bit that tells a reference.
    length: u32,
}

impl Head {
    fn body_bytes(self) -> usize {
        (self.length & !REFERENCE_BIT) as usize
    }
}

impl Packer {
    /// Takes `event` in, if it is the next one and there is room for its content.
    pub(crate) fn push(&mut self, event: &IndexedEvent) -> bool {
        let length = match &event.body {
            Body::Inline(envelope) => envelope.len() as u32,
            Body::At(_) => REFERENCE_BYTES as u32 | REFERENCE_BIT,
        };
        let (position, recorded_at) = (event.position, event.recorded_at);
        let head = Head { position, recorded_at, length };
        if let Some(first) = self.heads.first() {
            let content = self.heads.len() * HEAD_BYTES + self.bodies.len();
            let distance = position.checked_sub(first.position);
            if event.version != self.first_version + self.heads.len() as u64
                || distance.is_none_or(|distance| u32::try_from(distance).is_err())
                || content + HEAD_BYTES + head.body_bytes() > RUN_CONTENT_BYTES_MAX
            {
                return false;
            }
        } else {
            self.first_version = event.version;
        }
        self.heads.push(head);
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

    /// Makes runs of what was taken in since the last call, and has `put` keep each under its key.
    /// `key` tells the key of the run that begins with a version.
    pub(crate) fn finish<E>(
        &mut self,
        key: impl Fn(u64) -> Vec<u8>,
        mut put: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let heads = std::mem::take(&mut self.heads);
        let bodies = std::mem::take(&mut self.bodies);
        let (mut heads_left, mut bodies_left) = (heads.as_slice(), bodies.as_slice());
        let mut version = self.first_version;
        let mut content_max = RUN_CONTENT_BYTES_MAX;
        while !heads_left.is_empty() {
            let (events, bytes) = take(heads_left, content_max);
            let key = key(version);
            let run = self.encode(&key, version, &heads_left[..events], &bodies_left[..bytes]);
            // The next part is as long as this one's ratio lets expect.
            content_max = self.content.len() * EXPECTED_BYTES / run.len();
            if run.len() > RUN_BYTES_MAX {
                assert!(events > 1, "`body_of` refers to what does not fit into a run alone");
                continue;
            }
            put(key, run)?;
            heads_left = &heads_left[events..];
            bodies_left = &bodies_left[bytes..];
            version += events as u64;
        }
        (self.heads, self.bodies) = (heads, bodies);
        self.heads.clear();
        self.bodies.clear();
        Ok(())
    }

    fn encode(&mut self, key: &[u8], version: u64, heads: &[Head], bodies: &[u8]) -> Vec<u8> {
        let first_position = heads[0].position;
        self.content.clear();
        for head in heads {
            let distance = (head.position - first_position) as u32;
            self.content.extend_from_slice(&distance.to_le_bytes());
            self.content.extend_from_slice(&head.recorded_at.0.to_le_bytes());
            self.content.extend_from_slice(&head.length.to_le_bytes());
        }
        self.content.extend_from_slice(bodies);
        let compressed = self.compress();
        let bit = if compressed.is_some() { COMPRESSED_BIT } else { 0 };
        let mut run = Vec::with_capacity(FIXED_BYTES + compressed.unwrap_or(self.content.len()));
        run.extend_from_slice(&[0; 4]);
        run.extend_from_slice(&version.to_le_bytes());
        run.extend_from_slice(&first_position.to_le_bytes());
        run.extend_from_slice(&(heads.len() as u16 | bit).to_le_bytes());
        match compressed {
            None => run.extend_from_slice(&self.content),
            Some(length) => run.extend_from_slice(&self.compressed[..length]),
        }
        let crc = checksum(key, &run).to_le_bytes();
        run[..4].copy_from_slice(&crc);
        run
    }

    /// Compresses the content, behind its length. Returns how long that is, if it is shorter.
    fn compress(&mut self) -> Option<usize> {
        if self.content.len() < COMPRESSED_BYTES_MIN {
            return None;
        }
        self.compressed.resize(LENGTH_BYTES + get_maximum_output_size(self.content.len()), 0);
        let (length, block) = self.compressed.split_at_mut(LENGTH_BYTES);
        length.copy_from_slice(&(self.content.len() as u32).to_le_bytes());
        let compressed = compress_into_with_table(&self.content, block, &mut self.table).ok()?;
        let compressed = LENGTH_BYTES + compressed;
        (compressed < self.content.len()).then_some(compressed)
    }
}

/// How many of the events make up at most `content_max` bytes, one at least, and how many bytes their
/// bodies have.
fn take(heads: &[Head], content_max: usize) -> (usize, usize) {
    let (mut events, mut bodies) = (0, 0);
    for head in heads {
        let content = (events + 1) * HEAD_BYTES + bodies + head.body_bytes();
        if events > 0 && content > content_max {
            break;
        }
        events += 1;
        bodies += head.body_bytes();
    }
    (events, bodies)
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
    let events = u16::from_le_bytes(array_at(run, 20));
    let content = match events & COMPRESSED_BIT {
        0 => run.slice(FIXED_BYTES..),
        _ => decompress(&run[FIXED_BYTES..])?,
    };
    let events = usize::from(events & !COMPRESSED_BIT);
    let mut at = events * HEAD_BYTES;
    let heads = content.get(..at)?.chunks_exact(HEAD_BYTES);
    let mut parsed = Vec::with_capacity(events);
    for (version, head) in (first_version..).zip(heads) {
        let distance = u32::from_le_bytes(array_at(head, 0));
        let length = u32::from_le_bytes(array_at(head, 12));
        let end = at.checked_add((length & !REFERENCE_BIT) as usize)?;
        if end > content.len() {
            return None;
        }
        let body = content.slice(at..end);
        at = end;
        parsed.push(IndexedEvent {
            version,
            position: first_position.checked_add(distance.into())?,
            recorded_at: Micros(i64::from_le_bytes(array_at(head, 4))),
            body: if length & REFERENCE_BIT == 0 { Body::Inline(body) } else { reference(&body)? },
        });
    }
    (at == content.len() && events > 0).then_some(parsed)
}

fn decompress(content: &[u8]) -> Option<Bytes> {
    let (length, block) = content.split_at_checked(LENGTH_BYTES)?;
    let length = u32::from_le_bytes(array_at(length, 0)) as usize;
    if length > RUN_CONTENT_BYTES_MAX {
        return None;
    }
    let mut content = vec![0; length];
    let held = decompress_into(block, &mut content).ok()?;
    (held == length).then(|| content.into())
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
    use crate::proof::random::{Random, first_seed, rounds};

    fn key(version: u64) -> Vec<u8> {
        format!("A-1\0{version:020}").into_bytes()
    }

    fn event(version: u64, body: Body) -> IndexedEvent {
        IndexedEvent { version, position: 10 * version, recorded_at: Micros(-1), body }
    }

    fn inline(bytes: usize) -> Body {
        Body::Inline(vec![7; bytes].into())
    }

    /// The runs of `events`, each with its first version.
    fn pack(events: &[IndexedEvent]) -> Vec<(u64, Vec<u8>)> {
        let mut packer = Packer::default();
        let mut runs = Vec::new();
        let mut finish = |packer: &mut Packer| {
            let put = |key: Vec<u8>, run| {
                let version = String::from_utf8_lossy(&key[4..]).parse().unwrap();
                runs.push((version, run));
                Ok::<(), ()>(())
            };
            packer.finish(key, put).unwrap();
        };
        for event in events {
            if !packer.push(event) {
                finish(&mut packer);
                assert!(packer.push(event));
            }
        }
        finish(&mut packer);
        runs
    }

    fn unpack(runs: &[(u64, Vec<u8>)]) -> Vec<IndexedEvent> {
        let decode = |(version, run): &(u64, Vec<u8>)| {
            decode(&key(*version), *version, &Bytes::copy_from_slice(run)).unwrap()
        };
        runs.iter().flat_map(decode).collect()
    }

    fn sample() -> Vec<IndexedEvent> {
        let location = EntryLocation { segment: 3, offset: 4, length: 500 };
        vec![event(5, inline(2)), event(6, Body::At(location)), event(7, inline(0))]
    }

    #[test]
    fn a_run_has_its_golden_bytes() {
        let [(5, run)] = &pack(&sample())[..] else { panic!("not one run") };
        let mut golden = vec![212, 100, 114, 50]; // CRC
        golden.extend([5, 0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
        for (distance, length, bit) in [(0, 2, 0), (10, 16, 0x80), (20, 0, 0)] {
            golden.extend([distance, 0, 0, 0]);
            golden.extend([255; 8]);
            golden.extend([length, 0, 0, bit]);
        }
        golden.extend([7, 7]);
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 244, 1, 0, 0]);
        assert_eq!(*run, golden);
    }

    /// What compresses a run may do so better one day, so the bytes are only read.
    #[test]
    fn a_compressed_run_is_read_from_its_golden_bytes() {
        let events = vec![event(5, inline(200))];
        let mut golden = vec![0; 4];
        golden.extend([5, 0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 1, 0x80]);
        golden.extend([216, 0, 0, 0]); // bytes of the content
        // 17 literals: the event's head, and the first byte of its body.
        golden.extend([0xff, 2, 0, 0, 0, 0]);
        golden.extend([255; 8]);
        golden.extend([200, 0, 0, 0, 7]);
        // 194 bytes as one byte before; 15 + 175 + 4 of them. The last 5 are literals again.
        golden.extend([1, 0, 175, 0x50, 7, 7, 7, 7, 7]);
        let crc = checksum(&key(5), &golden).to_le_bytes();
        golden[..4].copy_from_slice(&crc);
        assert_eq!(unpack(&[(5, golden)]), events);
        let [(5, written)] = &pack(&events)[..] else { panic!("not one run") };
        assert!(written.len() < 80 && written[21] == 0x80, "{written:?}");
    }

    #[test]
    fn a_run_gives_back_its_events_and_no_flipped_bit_goes_unnoticed() {
        let alike: Vec<_> = (5..25).map(|version| event(version, inline(300))).collect();
        for events in [sample(), alike] {
            let [(5, run)] = &pack(&events)[..] else { panic!("not one run") };
            let decode = |key: &[u8], version, run: &[u8]| {
                decode(key, version, &Bytes::copy_from_slice(run))
            };
            assert_eq!(decode(&key(5), 5, run), Ok(events));
            assert!(decode(b"B-1\x0000000000000000000005", 5, run).is_err(), "another stream");
            assert!(decode(&key(5), 6, run).is_err(), "another version");
            for length in 0..run.len() {
                assert!(decode(&key(5), 5, &run[..length]).is_err(), "cut to {length}");
            }
            for bit in 0..run.len() * 8 {
                let mut flipped = run.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&key(5), 5, &flipped).is_err(), "bit {bit} went unnoticed");
            }
        }
    }

    #[test]
    fn what_claims_to_be_compressed_and_is_not_is_an_error() {
        let sealed = |content: &[u8]| {
            let mut run = vec![0; 4];
            run.extend([5, 0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 1, 0x80]);
            run.extend_from_slice(content);
            let crc = checksum(&key(5), &run).to_le_bytes();
            run[..4].copy_from_slice(&crc);
            decode(&key(5), 5, &run.into())
        };
        assert!(sealed(&[]).is_err(), "no length");
        assert!(sealed(&[216, 0, 0, 0]).is_err(), "no block");
        assert!(sealed(&[255, 255, 255, 255, 0x50, 7, 7, 7, 7, 7]).is_err(), "4 GiB");
        assert!(sealed(&[9, 0, 0, 0, 0x50, 7, 7, 7, 7, 7]).is_err(), "less than it says");
        assert!(sealed(&[1, 0, 0, 0, 0x50, 7, 7, 7, 7, 7]).is_err(), "more than it says");
        assert!(sealed(&[9, 0, 0, 0, 0x15, 7, 99, 0, 0]).is_err(), "from before the beginning");
    }

    #[test]
    fn a_run_takes_what_fits_and_never_more() {
        let largest = RUN_BYTES_MAX - FIXED_BYTES - HEAD_BYTES;
        let location = EntryLocation { segment: 1, offset: 2, length: 3 };
        assert_eq!(body_of(vec![7; largest].into(), location), inline(largest));
        assert_eq!(body_of(vec![7; largest + 1].into(), location), Body::At(location));
        let taken = |events: &[IndexedEvent]| {
            let mut packer = Packer::default();
            events.iter().take_while(|event| packer.push(event)).count()
        };
        assert_eq!(taken(&[event(1, inline(0)), event(3, inline(0))]), 1, "a gap");
        let far = IndexedEvent { position: 10 + (1 << 32), ..event(2, inline(0)) };
        assert_eq!(taken(&[event(1, inline(0)), far]), 1, "too far behind the first");
        let full = vec![RUN_CONTENT_BYTES_MAX / 16; 16];
        let events = |bytes: &[usize]| -> Vec<_> {
            let events = (1..).zip(bytes);
            events.map(|(version, bytes)| event(version, inline(bytes - HEAD_BYTES))).collect()
        };
        assert_eq!(taken(&events(&full)), 16);
        assert_eq!(
            taken(&events(&[&full[..15], &[full[15] + 1]].concat())),
            15,
            "one byte too many"
        );
        assert_eq!(taken(&events(&[HEAD_BYTES; 2_000])) as u64, RUN_EVENTS_MAX);
    }

    #[test]
    fn whatever_is_packed_fits_and_comes_back() {
        for seed in first_seed()..first_seed() + rounds(200) {
            let random = &mut Random::new(seed);
            let values = [256, 4, 1][random.below(3) as usize];
            let mut events = Vec::new();
            for version in 1..=1 + random.below(150) {
                let most = if random.below(20) == 0 { 4_058 } else { 600 };
                let bytes = random.below(most);
                let body: Vec<u8> = (0..bytes).map(|_| random.below(values) as u8).collect();
                events.push(event(version, Body::Inline(body.into())));
            }
            let runs = pack(&events);
            assert_eq!(unpack(&runs), events);
            assert!(runs.iter().all(|(_, run)| run.len() <= RUN_BYTES_MAX));
            // Of two neighbours, at least one is as full as the bounds let it be, within reason.
            let runs_for = |bytes: usize, max: usize| 2 * bytes / max;
            let content = events.iter().map(|e| HEAD_BYTES + bytes_of(e)).sum();
            let bytes = runs.iter().map(|(_, run)| run.len()).sum();
            let expected =
                2 + runs_for(bytes, RUN_BYTES_MAX) + runs_for(content, RUN_CONTENT_BYTES_MAX);
            assert!(runs.len() <= expected, "{} runs of {bytes} bytes", runs.len());
        }
    }

    fn bytes_of(event: &IndexedEvent) -> usize {
        match &event.body {
            Body::Inline(bytes) => bytes.len(),
            Body::At(_) => REFERENCE_BYTES,
        }
    }
}
