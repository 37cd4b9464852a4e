//! Decodes arbitrary bytes as a slot of a key ring.

use crate::fuzz::mend;
use crate::keyring::slot::{self, Found, SLOT_BYTES, SlotBytes};

/// The first byte says whether to repair the checksum, and the rest is the slot. A slot that is accepted must have just
/// these bytes when it is encoded, and no key if it was destroyed.
pub fn key_slot(input: &[u8]) -> bool {
    let Some((mode, bytes)) = input.split_first() else { return false };
    let Ok(mut bytes) = SlotBytes::try_from(bytes) else { return false };
    if mend::is_wanted(*mode) {
        let (before, crc) = bytes.split_at_mut(SLOT_BYTES - 4);
        crc.copy_from_slice(&crc32c::crc32c(before).to_le_bytes());
    }
    let Found::Slot(slot) = slot::decode(&bytes) else { return false };
    assert_eq!(slot.encode(), bytes);
    assert_eq!(slot.destroyed() == slot, !slot.is_live());
    true
}
