//! The content of an aggregate's snapshot.
//!
//! ```text
//! offset  bytes  field
//!      0      4  the aggregate's snapshot schema
//!      4      8  position of the last event in the state
//!     12      8  taken at, UTC microseconds
//!     20         the state, JSON
//!            24  the last event in the state: its id, and when it was recorded, UTC microseconds
//!             1  0xFF, with which no JSON ends
//! ```
//!
//! Older versions did not write the last two fields.

use crate::codec::cursor::array_at;
use crate::value::clock::Micros;
use uuid::Uuid;

const EVENT_BYTES: usize = 24;
const END: u8 = 0xFF;

/// A snapshot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AggregateImage<'a> {
    pub(crate) schema: u32,
    pub(crate) position: u64,
    pub(crate) taken_at: Micros,
    pub(crate) state: &'a [u8],
    /// The last event in the state; `None` if an older version wrote the snapshot.
    pub(crate) event: Option<ImageEvent>,
}

/// Tells an event from the one that has the same place in another history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageEvent {
    pub(crate) id: Uuid,
    pub(crate) recorded_at: Micros,
}

impl<'a> AggregateImage<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(21 + self.state.len() + EVENT_BYTES);
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.taken_at.0.to_le_bytes());
        bytes.extend_from_slice(self.state);
        if let Some(event) = &self.event {
            bytes.extend_from_slice(event.id.as_bytes());
            bytes.extend_from_slice(&event.recorded_at.0.to_le_bytes());
            bytes.push(END);
        }
        bytes
    }

    /// Decodes an image; `None` if `bytes` are too short for one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<AggregateImage<'a>> {
        let (schema, rest) = bytes.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (taken_at, rest) = rest.split_first_chunk()?;
        let (state, event) = match rest {
            [rest @ .., END] => {
                let (state, event) = rest.split_at_checked(rest.len().checked_sub(EVENT_BYTES)?)?;
                let id = Uuid::from_bytes(array_at(event, 0));
                let recorded_at = Micros(i64::from_le_bytes(array_at(event, 16)));
                (state, Some(ImageEvent { id, recorded_at }))
            }
            state => (state, None),
        };
        Some(AggregateImage {
            schema: u32::from_le_bytes(*schema),
            position: u64::from_le_bytes(*position),
            taken_at: Micros(i64::from_le_bytes(*taken_at)),
            state,
            event,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_its_golden_bytes() {
        let (schema, position, taken_at, state) = (2, 0x0103, Micros(5), b"{}".as_slice());
        let image = AggregateImage { schema, position, taken_at, state, event: None };
        let golden = [
            2, 0, 0, 0, // schema
            3, 1, 0, 0, 0, 0, 0, 0, // position
            5, 0, 0, 0, 0, 0, 0, 0, // taken at
            b'{', b'}',
        ];
        assert_eq!(image.encode(), golden);
        assert_eq!(AggregateImage::decode(&golden), Some(image));
        for length in 0..20 {
            assert_eq!(AggregateImage::decode(&golden[..length]), None, "{length} bytes");
        }
        let event = ImageEvent { id: Uuid::from_u128(7), recorded_at: Micros(6) };
        let image = AggregateImage { event: Some(event), ..image };
        let mut golden = golden.to_vec();
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        golden.extend([6, 0, 0, 0, 0, 0, 0, 0, 0xFF]);
        assert_eq!(image.encode(), golden);
        assert_eq!(AggregateImage::decode(&golden), Some(image));
        assert_eq!(AggregateImage::decode(&[[0; 20].as_slice(), &[0xFF; 24]].concat()), None);
    }
}
