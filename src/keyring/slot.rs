//! One key of one data subject, in the 128 bytes that a bucket has for it.
//!
//! ```text
//! offset  bytes  field
//!      0     16  id of the key: the first 6 bytes of the subject's hash, then 10 random ones
//!     16     26  the rest of the subject's hash
//!     42      1  state: 1 live, 2 destroyed
//!     43      1  zero
//!     44      4  sequence: which of the subject's keys this is, from 1
//!     48     72  the wrapped key; zeros if it was destroyed
//!    120      4  zero
//!    124      4  CRC of the bytes before
//! ```
//!
//! A slot of zeros is free. The key is wrapped under the ring's key-encrypting key, bound to the ring's id and to the
//! first 48 bytes. So a wrapped key opens in its own slot only, and in its own ring.
//!
//! A sector has 4 slots, none of them in two sectors, so a power cut leaves the old slot or the new one.

use crate::codec::cursor::array_at;
use crate::keyring::kek::{KeyEncryptingKey, WRAPPED_BYTES};
use crate::sealing::cipher::{random_id, random_key};
use crate::sealing::key::{KeyId, SubjectKey};
use crate::sealing::secret::{KEY_BYTES, Secret};
use crate::value::error::Result;
use uuid::Uuid;

/// Bytes of a slot.
pub(crate) const SLOT_BYTES: usize = 128;

pub(crate) type SlotBytes = [u8; SLOT_BYTES];

/// Bytes of a key's id that it has in common with the hash of its subject: its place in the ring follows from them.
pub(crate) const PLACE_BYTES: usize = 6;

/// What is written in the place of a damaged slot when its ring is rekeyed: it is damaged, and has no bytes of a key.
pub(crate) const DAMAGED: SlotBytes = [0xff; SLOT_BYTES];

const STATE_OFFSET: usize = 42;
const SEQUENCE_OFFSET: usize = 44;
const WRAPPED_OFFSET: usize = 48;
const PADDING_OFFSET: usize = WRAPPED_OFFSET + WRAPPED_BYTES;
const CRC_OFFSET: usize = 124;

const LIVE: u8 = 1;
const DESTROYED: u8 = 2;

const DOMAIN: &[u8] = b"filmstrip key slot 1";

/// The name of a data subject, hashed with a key of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubjectHash(pub(crate) [u8; 32]);

impl SubjectHash {
    pub(crate) fn place(&self) -> [u8; PLACE_BYTES] {
        array_at(&self.0, 0)
    }
}

/// The bytes of a key's id that say where in the ring it is.
pub(crate) fn place_of(id: KeyId) -> [u8; PLACE_BYTES] {
    array_at(id.as_bytes(), 0)
}

/// What is in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) id: KeyId,
    pub(crate) subject: SubjectHash,
    pub(crate) sequence: u32,
    /// `None` if the key was destroyed.
    wrapped: Option<[u8; WRAPPED_BYTES]>,
}

/// What the bytes of a slot may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Free,
    Slot(Slot),
    Damaged,
}

impl Slot {
    /// A new key of the subject, wrapped by `kek` for the ring `ring`; and the key.
    pub(crate) fn make(
        subject: SubjectHash,
        sequence: u32,
        ring: Uuid,
        kek: &KeyEncryptingKey,
    ) -> Result<(Slot, SubjectKey)> {
        let (key, random) = (random_key()?, random_id::<10>()?);
        let mut id = [0; KeyId::BYTES];
        id[..PLACE_BYTES].copy_from_slice(&subject.place());
        id[PLACE_BYTES..].copy_from_slice(&random);
        let id = KeyId::new(id);
        let slot = Slot { id, subject, sequence, wrapped: None }.with_key(&key, ring, kek);
        Ok((slot, SubjectKey::new(id, &key)))
    }

    /// A slot without a key.
    #[cfg(test)]
    pub(crate) fn for_test(id: KeyId, subject: SubjectHash, sequence: u32) -> Slot {
        Slot { id, subject, sequence, wrapped: None }
    }

    pub(crate) fn with_key(
        mut self,
        key: &[u8; KEY_BYTES],
        ring: Uuid,
        kek: &KeyEncryptingKey,
    ) -> Slot {
        // What the key is bound to says that it is live.
        self.wrapped = Some([0; WRAPPED_BYTES]);
        self.wrapped = Some(kek.wrap(&self.associated(ring), key));
        self
    }

    /// The bytes of its key; `None` if `kek` does not open it, or if it was destroyed.
    pub(crate) fn key(&self, ring: Uuid, kek: &KeyEncryptingKey) -> Option<Secret> {
        kek.unwrap(&self.associated(ring), self.wrapped.as_ref()?)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.wrapped.is_some()
    }

    /// The same without its key: what remains says that there was one.
    pub(crate) fn destroyed(&self) -> Slot {
        Slot { wrapped: None, ..*self }
    }

    /// The same with a key that nothing opens.
    pub(crate) fn unopenable(&self) -> Slot {
        Slot { wrapped: Some([0; WRAPPED_BYTES]), ..*self }
    }

    fn associated(&self, ring: Uuid) -> Vec<u8> {
        let bytes = self.encode();
        [DOMAIN, ring.as_bytes(), &bytes[..WRAPPED_OFFSET]].concat()
    }

    pub(crate) fn encode(&self) -> SlotBytes {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..KeyId::BYTES].copy_from_slice(self.id.as_bytes());
        bytes[KeyId::BYTES..STATE_OFFSET].copy_from_slice(&self.subject.0[PLACE_BYTES..]);
        bytes[STATE_OFFSET] = if self.is_live() { LIVE } else { DESTROYED };
        bytes[SEQUENCE_OFFSET..WRAPPED_OFFSET].copy_from_slice(&self.sequence.to_le_bytes());
        if let Some(wrapped) = &self.wrapped {
            bytes[WRAPPED_OFFSET..PADDING_OFFSET].copy_from_slice(wrapped);
        }
        let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// Reads the bytes of a slot.
pub(crate) fn decode(bytes: &SlotBytes) -> Found {
    if *bytes == [0; SLOT_BYTES] {
        return Found::Free;
    }
    let mut subject = [0; 32];
    subject[..PLACE_BYTES].copy_from_slice(&bytes[..PLACE_BYTES]);
    subject[PLACE_BYTES..].copy_from_slice(&bytes[KeyId::BYTES..STATE_OFFSET]);
    let wrapped: [u8; WRAPPED_BYTES] = array_at(bytes, WRAPPED_OFFSET);
    let slot = Slot {
        id: KeyId::new(array_at(bytes, 0)),
        subject: SubjectHash(subject),
        sequence: u32::from_le_bytes(array_at(bytes, SEQUENCE_OFFSET)),
        wrapped: (bytes[STATE_OFFSET] == LIVE).then_some(wrapped),
    };
    // The checksum is among them, as are a state that is not known, and bytes that are to be zero.
    match slot.encode() == *bytes {
        true => Found::Slot(slot),
        false => Found::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: Uuid = Uuid::from_u128(0x0a0b);

    fn slot() -> Slot {
        let mut hash = [0xcc; 32];
        hash[..PLACE_BYTES].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
        let mut id = [0x11; KeyId::BYTES];
        id[..PLACE_BYTES].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
        Slot::for_test(KeyId::new(id), SubjectHash(hash), 3)
    }

    fn kek(byte: u8) -> KeyEncryptingKey {
        KeyEncryptingKey::new(&[byte; 32])
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The wrapped key was computed by another program, as that of a sealed event was.
    #[test]
    fn a_slot_has_its_golden_bytes() {
        let live = slot().with_key(&[7; 32], RING, &kek(9)).encode();
        let id_and_subject = format!("010203040506{}{}", "11".repeat(10), "cc".repeat(26));
        let wrapped = concat!(
            "f70cc19dd6f5c69275f1929243b07b4d8d0c5d76bf03722e06d188bbc4aec32b1f4f5c0b",
            "203308ee935559f85a604fca4247998bd40f4f13c65a9e71faa86020aa210d7475276f12",
        );
        let golden = format!("{id_and_subject}010003000000{wrapped}000000002173e110");
        assert_eq!(hex(&live), golden);
        let destroyed = slot().encode();
        let zeros = "00".repeat(76);
        assert_eq!(hex(&destroyed), format!("{id_and_subject}020003000000{zeros}ae637e67"));
    }

    #[test]
    fn a_slot_is_read_back_and_a_changed_one_is_damaged() {
        let live = slot().with_key(&[7; 32], RING, &kek(9));
        for slot in [&live, &live.destroyed()] {
            let mut bytes = slot.encode();
            assert_eq!(decode(&bytes), Found::Slot(slot.clone()));
            for bit in 0..8 * SLOT_BYTES {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&bytes), Found::Damaged, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        assert_eq!(decode(&[0; SLOT_BYTES]), Found::Free);
        assert_eq!(decode(&DAMAGED), Found::Damaged);
    }

    /// Who can write to the ring might move the key of one person to another.
    #[test]
    fn a_key_opens_in_its_own_slot_only() {
        let live = slot().with_key(&[7; 32], RING, &kek(9));
        assert_eq!(*live.key(RING, &kek(9)).unwrap(), [7; 32]);
        assert!(live.key(RING, &kek(8)).is_none(), "by another key-encrypting key");
        assert!(live.key(Uuid::nil(), &kek(9)).is_none(), "in another ring");
        let mut subject = live.subject;
        subject.0[31] ^= 1;
        assert!(Slot { subject, ..live }.key(RING, &kek(9)).is_none());
        assert!(Slot { sequence: 4, ..live }.key(RING, &kek(9)).is_none());
        assert!(Slot { id: KeyId::new([1; 16]), ..live }.key(RING, &kek(9)).is_none());
        assert!(live.destroyed().key(RING, &kek(9)).is_none());
    }
}
