//! The list of a table's index blocks: the place of each, as offset (8) and length (4), in the order of the keys that
//! they begin with, which are in the blocks themselves. A process that cannot open sled's database finds an index block
//! by a binary search.

use crate::codec::sst::{BlockPlace, TRAILER_BYTES};

pub(crate) fn encode(places: &[BlockPlace], out: &mut Vec<u8>) {
    out.reserve(places.len() * TRAILER_BYTES);
    places.iter().for_each(|place| out.extend_from_slice(&place.trailer()));
}

/// The places, which are one after another; `None` if they are not.
pub(crate) fn decode(content: &[u8]) -> Option<Vec<BlockPlace>> {
    let places = content.chunks(TRAILER_BYTES).map(BlockPlace::decode);
    let places: Vec<_> = places.collect::<Option<_>>()?;
    let are_in_order = places.is_sorted_by(|a, b| a.end() <= b.offset);
    (!places.is_empty() && are_in_order).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_golden_bytes_and_places_that_overlap_are_none() {
        let places = [(40, 7), (47, 1)].map(|(offset, length)| BlockPlace { offset, length });
        let mut content = Vec::new();
        encode(&places, &mut content);
        let golden = [
            [40, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0], // the first block
            [47, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], // the second one
        ];
        assert_eq!(content, golden.concat());
        assert_eq!(decode(&content).as_deref(), Some(&places[..]));
        for length in (0..content.len()).filter(|length| *length != TRAILER_BYTES) {
            assert_eq!(decode(&content[..length]), None, "cut to {length}");
        }
        content[12] = 46;
        assert_eq!(decode(&content), None);
    }
}
