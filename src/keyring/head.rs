//! The file `ring`: what makes a directory a key ring, and tells whether a key-encrypting key is its own.
//!
//! ```text
//! offset  bytes  field
//!      0      8  "FSKEYS\0\0"
//!      8      2  format: 1
//!     10      2  zero
//!     12      4  generation of the buckets, from 1
//!     16     16  id of the ring
//!     32     72  the key that subjects' names are hashed with, wrapped
//!    104     20  zero
//!    124      4  CRC of the bytes before
//! ```
//!
//! The wrapped key is bound to the first 32 bytes. A key-encrypting key that does not open it is another ring's, or
//! this ring's from before it was rekeyed.

use crate::codec::cursor::array_at;
use crate::keyring::kek::{KeyEncryptingKey, WRAPPED_BYTES};
use crate::sealing::cipher::{random_id, random_key};
use crate::sealing::secret::Secret;
use crate::storage::disk::Disk;
use crate::storage::replace::{TEMPORARY, read_whole, replace};
use crate::value::error::{Error, Result};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The name of the file.
pub(crate) const HEAD: &str = "ring";

const MAGIC: &[u8; 8] = b"FSKEYS\0\0";
const FORMAT: u16 = 1;
const GENERATION_OFFSET: usize = 12;
const WRAPPED_OFFSET: usize = 32;
const PADDING_OFFSET: usize = WRAPPED_OFFSET + WRAPPED_BYTES;
const CRC_OFFSET: usize = 124;
const HEAD_BYTES: usize = 128;
const DOMAIN: &[u8] = b"filmstrip key ring 1";

/// What the file says, once its key-encrypting key has opened it.
pub(crate) struct Head {
    pub(crate) generation: u32,
    pub(crate) id: Uuid,
    /// Names are hashed with it, so that who has the ring cannot try names.
    pub(crate) hash_key: Secret,
}

impl Head {
    /// That of a new ring.
    pub(crate) fn new() -> Result<Head> {
        let (id, hash_key) = (Uuid::from_bytes(random_id()?), random_key()?);
        Ok(Head { generation: 1, id, hash_key })
    }

    pub(crate) fn next_generation(&self) -> Head {
        let Head { generation, id, hash_key } = self;
        Head { generation: generation + 1, id: *id, hash_key: hash_key.clone() }
    }

    fn encode(&self, kek: &KeyEncryptingKey) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[GENERATION_OFFSET..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..WRAPPED_OFFSET].copy_from_slice(self.id.as_bytes());
        let wrapped = kek.wrap(&associated(&bytes), &self.hash_key);
        bytes[WRAPPED_OFFSET..PADDING_OFFSET].copy_from_slice(&wrapped);
        let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEAD_BYTES], kek: &KeyEncryptingKey) -> Option<Head> {
        let wrapped = array_at(bytes, WRAPPED_OFFSET);
        Some(Head {
            generation: u32::from_le_bytes(array_at(bytes, GENERATION_OFFSET)),
            id: Uuid::from_bytes(array_at(bytes, 16)),
            hash_key: kek.unwrap(&associated(bytes), &wrapped)?,
        })
    }

    /// Writes the file of the ring in `directory`, or replaces it: after a crash it is the old one or the new one.
    pub(crate) fn write(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        kek: &KeyEncryptingKey,
    ) -> Result<()> {
        replace(disk, &directory.join(HEAD), TEMPORARY, &self.encode(kek))
    }

    /// Refuses a directory without such a file.
    pub(crate) fn refuse_none(disk: &dyn Disk, directory: &Path) -> Result<()> {
        let path = directory.join(HEAD);
        match disk.kind_there(&path).map_err(|e| Error::io("look at", &path, e))? {
            Some(_) => Ok(()),
            None => Err(no_ring(directory)),
        }
    }

    /// Reads the file of the ring in `directory`.
    ///
    /// # Errors
    /// `InvalidInput` if there is none, or if `kek` is not its key; `Corrupt`; `UnsupportedFormat`.
    pub(crate) fn read(disk: &dyn Disk, directory: &Path, kek: &KeyEncryptingKey) -> Result<Head> {
        let path = directory.join(HEAD);
        let Some(bytes) = read_whole(disk, &path, HEAD_BYTES as u64)? else {
            return Err(no_ring(directory));
        };
        let bytes = check(&path, &bytes)?;
        Head::decode(bytes, kek).ok_or_else(|| {
            let message = format!(
                "the key-encrypting key is not the one of the key ring {}",
                directory.display()
            );
            Error::invalid(message)
        })
    }
}

fn no_ring(directory: &Path) -> Error {
    let directory = directory.display();
    Error::invalid(format!("{directory} holds no key ring: `KeyDirectory::create` makes one"))
}

/// The bytes, if they are those of a head of this format.
fn check<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8; HEAD_BYTES]> {
    let damaged = |what: &str| Error::corrupt(path, 0, None, what);
    let length = bytes.len();
    let bytes: &[u8; HEAD_BYTES] = bytes
        .try_into()
        .map_err(|_| damaged(&format!("it is {length} bytes long instead of {HEAD_BYTES}")))?;
    if bytes[..8] != *MAGIC {
        return Err(damaged("it does not begin as a key ring does"));
    }
    if u32::from_le_bytes(array_at(bytes, CRC_OFFSET)) != crc32c::crc32c(&bytes[..CRC_OFFSET]) {
        return Err(damaged("its checksum is wrong"));
    }
    match u16::from_le_bytes(array_at(bytes, 8)) {
        FORMAT => Ok(bytes),
        format => Err(Error::newer(path, 8, None, format!("a key ring of format {format}"))),
    }
}

fn associated(bytes: &[u8; HEAD_BYTES]) -> Vec<u8> {
    [DOMAIN, &bytes[..WRAPPED_OFFSET]].concat()
}

/// The directory of the buckets of this generation.
pub(crate) fn buckets(directory: &Path, generation: u32) -> PathBuf {
    directory.join(format!("{GENERATIONS}{generation}"))
}

/// The number of a generation, if this is the name of its directory.
pub(crate) fn generation(name: &str) -> Option<u32> {
    name.strip_prefix(GENERATIONS)?.parse().ok()
}

/// How the names of such directories begin.
const GENERATIONS: &str = "keys-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::error::ErrorKind;

    #[test]
    fn a_head_has_its_golden_bytes_and_every_flipped_bit_of_it_is_met() {
        let kek = KeyEncryptingKey::new(&[9; 32]);
        let id = Uuid::from_u128(0x0a0b);
        let head = Head { generation: 2, id, hash_key: Secret::copy_of(&[7; 32]) };
        let mut bytes = head.encode(&kek);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "46534b4559530000010000000200000000000000000000000000000000000a0b0a5a1a23",
            "7f0cb526255dc75c8380280f45bdf612931f65b47a5bba614f126bdc34906db0b3bc4551",
            "37407fec4648c71b267460e6c7476eff53102b12e0aee0b6bf59404ed008e65b00000000",
            "000000000000000000000000000000003818c58f",
        );
        assert_eq!(hex, golden);
        let path = Path::new("ring");
        for bit in 0..8 * HEAD_BYTES {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = check(path, &bytes).map(drop).expect_err("a flipped bit");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let back = Head::decode(check(path, &bytes).unwrap(), &kek).unwrap();
        assert_eq!((back.generation, back.id, *back.hash_key), (2, id, [7; 32]));
        assert!(Head::decode(&bytes, &KeyEncryptingKey::new(&[8; 32])).is_none());
    }

    #[test]
    fn a_head_of_a_newer_format_is_not_taken_for_damage() {
        let head = Head { generation: 2, id: Uuid::nil(), hash_key: Secret::copy_of(&[7; 32]) };
        let mut bytes = head.encode(&KeyEncryptingKey::new(&[9; 32]));
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        let error = check(Path::new("ring"), &bytes).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error}");
    }
}
