//! The keys under which private events are sealed.

use crate::sealing::cipher::Cipher;
use crate::sealing::secret::KEY_BYTES;
use std::fmt;
use std::sync::Arc;

/// The id of a [`SubjectKey`]: 16 bytes, which stand in clear in each event that the key has sealed.
///
/// Events with the same key id are about the same person. The ids that a
/// [`KeyDirectory`](crate::erasure::KeyDirectory) gives one person begin with the same 6 bytes, also after a rotation,
/// and after the person was forgotten and renewed: so they can be linked, by anybody who has the events. They are a
/// keyed hash of the person's name, and say nothing else about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KeyId::BYTES]);

impl KeyId {
    /// Bytes of an id.
    pub const BYTES: usize = 16;

    /// The id with these bytes. No two keys may have the same.
    #[must_use]
    pub fn new(bytes: [u8; KeyId::BYTES]) -> KeyId {
        KeyId(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KeyId::BYTES] {
        &self.0
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key of one data subject: what is recorded about this person as a private event is sealed under it.
///
/// Cloning shares the key. Its bytes cannot be read back; they are overwritten when the last clone is dropped. What
/// sealing and opening have on the stack is not overwritten; until other calls do it, the key can be computed from
/// that. `Debug` shows the id only.
///
/// ```
/// use filmstrip::erasure::{KeyId, SubjectKey};
///
/// let key = SubjectKey::new(KeyId::new([1; 16]), &[7; 32]);
/// assert_eq!(format!("{key:?}"), "SubjectKey { id: KeyId(01010101010101010101010101010101), .. }");
/// ```
#[derive(Clone)]
pub struct SubjectKey {
    id: KeyId,
    cipher: Arc<Cipher>,
}

impl SubjectKey {
    /// Bytes of a key.
    pub const BYTES: usize = KEY_BYTES;

    /// A key with these bytes, which must be random, and the same whenever the key has this id. The caller overwrites
    /// its own copy of them.
    #[must_use]
    pub fn new(id: KeyId, bytes: &[u8; SubjectKey::BYTES]) -> SubjectKey {
        SubjectKey { id, cipher: Arc::new(Cipher::new(bytes)) }
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// A tag that stands for `value`, and that nobody can compute without this key: 32 hexadecimal digits of a keyed
    /// hash. See [`Keys::tag`](crate::erasure::Keys::tag).
    #[must_use]
    pub fn tag(&self, value: &str) -> String {
        self.cipher.tag(value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn cipher(&self) -> &Cipher {
        &self.cipher
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that a test may compare with what is shown of it.
    const BYTES: [u8; 32] = [0xab; 32];

    #[test]
    fn what_is_shown_of_a_key_has_none_of_its_bytes() {
        let key = SubjectKey::new(KeyId::new([1; 16]), &BYTES);
        let shown = format!("{key:?} {key:#?}");
        assert!(!shown.contains("ab") && !shown.contains("171"), "{shown}");
        assert!(shown.contains("01010101010101010101010101010101"), "{shown}");
    }

    /// The library's type overwrites its copy of a key; this fails to compile if it does not say so. The type of our
    /// own is tested where it is.
    #[test]
    fn what_holds_the_bytes_of_a_key_overwrites_them() {
        fn overwrites(_: &impl zeroize::ZeroizeOnDrop) {}
        overwrites(&Cipher::new(&BYTES).aead());
    }
}
