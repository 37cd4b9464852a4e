//! What a snapshot of an aggregate holds.
//!
//! ```text
//! offset  bytes  field
//!      0      4  the aggregate's snapshot schema
//!      4      8  position of the last event in the state
//!     12      8  taken at, UTC microseconds
//!     20         the state, JSON
//! ```

use crate::clock::Micros;

/// A snapshot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AggregateImage<'a> {
    pub(crate) schema: u32,
    pub(crate) position: u64,
    pub(crate) taken_at: Micros,
    pub(crate) state: &'a [u8],
}

impl<'a> AggregateImage<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20 + self.state.len());
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.taken_at.0.to_le_bytes());
        bytes.extend_from_slice(self.state);
        bytes
    }

    /// `None` if `bytes` are too short to be an image.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<AggregateImage<'a>> {
        let (schema, rest) = bytes.split_first_chunk()?;
        let (position, rest) = rest.split_first_chunk()?;
        let (taken_at, state) = rest.split_first_chunk()?;
        Some(AggregateImage {
            schema: u32::from_le_bytes(*schema),
            position: u64::from_le_bytes(*position),
            taken_at: Micros(i64::from_le_bytes(*taken_at)),
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_its_golden_bytes() {
        let image =
            AggregateImage { schema: 2, position: 0x0103, taken_at: Micros(5), state: b"{}" };
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
    }
}
