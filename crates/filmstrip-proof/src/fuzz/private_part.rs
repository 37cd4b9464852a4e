//! Decodes arbitrary bytes as what a sealed payload holds.

use crate::codec::private_part;
use bytes::Bytes;

/// What was decoded must be the same after it is encoded and decoded again, and no longer than its input allows.
pub fn private_part(input: &[u8]) -> bool {
    let plaintext = Bytes::copy_from_slice(input);
    let Some((metadata, payload)) = private_part::decode(&plaintext) else { return false };
    assert!(payload.len() + private_part::FIXED_BYTES <= input.len());
    let mut again = Vec::new();
    private_part::encode(&metadata, &payload, &mut again);
    assert_eq!(private_part::decode(&again.into()), Some((metadata, payload)));
    true
}
