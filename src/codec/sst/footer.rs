//! The last block of a table: what the table holds as a whole, and a Bloom filter that excludes most streams
//! that it does not hold.
//!
//! ```text
//! offset  bytes  field
//!      0      8  events, without postings
//!      8      8  postings
//!     16      8  position of the first event
//!     24      8  position of the last event
//!     32      8  version that the first run begins with
//!     40     12  place of the list of index blocks: offset (8), length (4)
//!     52      2  bytes of the name of its stream
//!     54         that name
//!             2  bytes of the name of the last stream
//!                that name
//!                the types of the events, as `event_types` describes
//!                the bits of the filter
//! ```
//!
//! Each name sets `FILTER_PROBES` bits. Let a and b be the first two 64-bit numbers of the name's BLAKE3 hash, with b
//! made odd. For n from 0, the bits are (a + n × b modulo 2⁶⁴) modulo the number of bits.

use crate::codec::cursor::{Cursor, array_at};
use crate::codec::length::{in_memory, in_two_bytes};
use crate::codec::sst::event_types::{EventTypes, OfType};
use crate::codec::sst::{BlockPlace, TRAILER_BYTES};
use crate::value::stream::StreamId;
use bytes::Bytes;

/// Bits that a name sets. For ten bits a name, seven would be best. With six, one in a hundred look-ups is a false
/// positive too, and each look-up reads one bit less. The number is part of the format.
const FILTER_PROBES: u64 = 6;
/// Bits for each stream. With ten, one in a hundred look-ups is a false positive; a test checks this.
const FILTER_BITS_EACH: u64 = 10;

/// What a table holds as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Without postings.
    pub(crate) events: u64,
    pub(crate) postings: u64,
    /// The positions of the first and the last event.
    pub(crate) positions: (u64, u64),
    pub(crate) index_blocks: BlockPlace,
    pub(crate) first: (StreamId, u64),
    pub(crate) last: StreamId,
    pub(crate) types: EventTypes,
    pub(crate) filter: Filter,
}

impl Footer {
    /// The events of this type, if there may be any.
    pub(crate) fn of_type(&self, name: &str) -> Option<OfType> {
        let (first, last) = self.positions;
        self.types.of(name, OfType { events: self.events, first, last })
    }

    #[allow(clippy::indexing_slicing, reason = "`begin` is in `out`")]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        let (first, version) = &self.first;
        let (first_position, last_position) = self.positions;
        for number in [self.events, self.postings, first_position, last_position, *version] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.index_blocks.trailer());
        for name in [first, &self.last] {
            out.extend_from_slice(&in_two_bytes(name.as_str().len()).to_le_bytes());
            out.extend_from_slice(name.as_str().as_bytes());
        }
        self.types.encode(out);
        out.extend_from_slice(&self.filter.bits);
        debug_assert_eq!(
            Footer::decode(&Bytes::copy_from_slice(&out[begin..])).as_ref(),
            Some(self)
        );
    }

    pub(crate) fn decode(content: &Bytes) -> Option<Footer> {
        let mut cursor = Cursor::new(content);
        let (events, postings) = (cursor.u64()?, cursor.u64()?);
        let positions = (cursor.u64()?, cursor.u64()?);
        let version = cursor.u64()?;
        let index_blocks = BlockPlace::decode(cursor.pass(TRAILER_BYTES)?)?;
        let mut name = || {
            let length = cursor.u16()?;
            // Copies of the names, because the footer's buffer is mostly the filter.
            StreamId::from_stored(Bytes::copy_from_slice(cursor.pass(length.into())?))
        };
        let (first, last) = (name()?, name()?);
        let types = EventTypes::decode(&mut cursor)?;
        let bits = cursor.rest().to_vec();
        (!bits.is_empty()).then_some(Footer {
            events,
            postings,
            positions,
            index_blocks,
            first: (first, version),
            last,
            types,
            filter: Filter { bits },
        })
    }
}

/// A Bloom filter. It excludes most names that were not put in, and never one that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    bits: Vec<u8>,
}

/// The hash of a name, from which its bits in a filter follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameHash(u64, u64);

impl NameHash {
    pub(crate) fn of(stream: &StreamId) -> NameHash {
        let hash = blake3::hash(stream.as_str().as_bytes());
        let number = |offset| u64::from_le_bytes(array_at(hash.as_bytes(), offset));
        NameHash(number(0), number(8) | 1)
    }

    fn probes(self, bits: u64) -> impl Iterator<Item = u64> {
        (0..FILTER_PROBES).map(move |n| self.0.wrapping_add(n.wrapping_mul(self.1)) % bits)
    }
}

impl Filter {
    /// An empty filter for up to `names` names.
    pub(crate) fn for_names(names: u64) -> Filter {
        let bytes = (names.max(1) * FILTER_BITS_EACH).div_ceil(8);
        Filter { bits: vec![0; in_memory(bytes)] }
    }

    /// Shrinks a filter that was made for more names than the `names` that were put in: combines its halves with OR, as
    /// long as the result has room and the halves are whole bytes.
    pub(crate) fn fold_for(&mut self, names: u64) {
        let needed = Filter::for_names(names).bits.len();
        while self.bits.len().is_multiple_of(2) && self.bits.len() / 2 >= needed {
            // A number modulo n, modulo n/2, is the number modulo n/2.
            let upper = self.bits.split_off(self.bits.len() / 2);
            for (lower, upper) in self.bits.iter_mut().zip(upper) {
                *lower |= upper;
            }
        }
        self.bits.shrink_to_fit();
    }

    /// The number of names it was made for, or a few more.
    pub(crate) fn names(&self) -> u64 {
        8 * self.bits.len() as u64 / FILTER_BITS_EACH
    }

    #[allow(clippy::indexing_slicing, reason = "a probe is a number modulo the filter's bits")]
    pub(crate) fn put(&mut self, name: NameHash) {
        for bit in name.probes(8 * self.bits.len() as u64) {
            self.bits[in_memory(bit / 8)] |= 1 << (bit % 8);
        }
    }

    #[allow(clippy::indexing_slicing, reason = "a probe is a number modulo the filter's bits")]
    pub(crate) fn may_hold(&self, name: NameHash) -> bool {
        let mut probes = name.probes(8 * self.bits.len() as u64);
        probes.all(|bit| self.bits[in_memory(bit / 8)] & 1 << (bit % 8) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u64) -> NameHash {
        NameHash::of(&StreamId::new(format!("Stream-{n}")).unwrap())
    }

    #[test]
    fn a_footer_has_its_golden_bytes() {
        let stream = |name| StreamId::new(name).unwrap();
        let mut filter = Filter::for_names(8);
        filter.put(NameHash::of(&stream("A-1")));
        let mut types = EventTypes::default();
        types.note(Some("T"), 3);
        let footer = Footer {
            events: 9,
            postings: 2,
            positions: (3, 4),
            index_blocks: BlockPlace { offset: 40, length: 7 },
            first: (stream("A-1"), 5),
            last: stream("B"),
            types,
            filter,
        };
        let mut content = Vec::new();
        footer.encode(&mut content);
        let mut golden = Vec::new();
        golden.extend([9_u64, 2, 3, 4, 5].iter().flat_map(|number| number.to_le_bytes()));
        golden.extend([40, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        golden.extend([3, 0, b'A', b'-', b'1', 1, 0, b'B']);
        golden.extend([1, 0, 0, 0, 1, 0, b'T']);
        golden.extend([1_u64, 3, 3].iter().flat_map(|number| number.to_le_bytes()));
        golden.extend([64, 0, 132, 0, 8, 0, 16, 0, 32, 0]);
        assert_eq!(content, golden);
        let content = Bytes::from(content);
        assert_eq!(Footer::decode(&content), Some(footer));
        for length in 0..content.len() - 9 {
            assert_eq!(Footer::decode(&content.slice(..length)), None, "cut to {length}");
        }
    }

    #[test]
    fn a_filter_never_denies_what_was_put_in_and_seldom_lets_through_what_was_not() {
        let mut filter = Filter::for_names(10_000);
        for n in 0..10_000 {
            filter.put(name(n));
        }
        assert!((0..10_000).all(|n| filter.may_hold(name(n))));
        let let_through = (10_000..20_000).filter(|n| filter.may_hold(name(*n))).count();
        assert!(let_through < 200, "{let_through} of 10,000");
        assert!(!Filter::for_names(0).may_hold(name(1)));
    }

    #[test]
    fn a_filter_that_was_folded_is_as_one_that_was_made_for_fewer_names() {
        let (mut folded, mut small) = (Filter::for_names(64_000), Filter::for_names(8_000));
        for n in 0..7_000 {
            folded.put(name(n));
            small.put(name(n));
        }
        folded.fold_for(7_000);
        assert_eq!(folded, small);
        folded.fold_for(7_000);
        assert_eq!(folded, small, "there is no room for less");
    }
}
