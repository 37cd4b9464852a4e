//! The key that encrypts keys.

use crate::sealing::cipher::{Cipher, NONCE_BYTES, OVERHEAD_BYTES};
use crate::sealing::secret::{KEY_BYTES, Secret};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a key that is wrapped.
pub(crate) const WRAPPED_BYTES: usize = KEY_BYTES + OVERHEAD_BYTES;

/// The key under which a key ring keeps all other keys. It is kept elsewhere, best in a key service: who has the ring
/// without it has nothing.
///
/// Its bytes cannot be read back, and are overwritten when it is dropped. What wrapping and opening keys has on the
/// stack is not overwritten; until other calls do it, this key can be computed from that. `Debug` shows nothing of it.
///
/// ```
/// use filmstrip::erasure::KeyEncryptingKey;
///
/// let key = KeyEncryptingKey::new(&[7; 32]);
/// assert_eq!(format!("{key:?}"), "KeyEncryptingKey { .. }");
/// ```
pub struct KeyEncryptingKey(Cipher);

impl KeyEncryptingKey {
    /// Bytes of a key.
    pub const BYTES: usize = KEY_BYTES;

    /// A key with these bytes. They must be random; a password is not. The caller overwrites its own copy of them.
    #[must_use]
    pub fn new(bytes: &[u8; KeyEncryptingKey::BYTES]) -> KeyEncryptingKey {
        KeyEncryptingKey(Cipher::new(bytes))
    }

    /// Wraps `key`, bound to `associated`.
    pub(crate) fn wrap(&self, associated: &[u8], key: &[u8; KEY_BYTES]) -> [u8; WRAPPED_BYTES] {
        let mut buffer = [0; WRAPPED_BYTES];
        buffer[NONCE_BYTES..][..KEY_BYTES].copy_from_slice(key);
        self.0.seal(associated, &mut buffer);
        buffer
    }

    /// The key in `wrapped`; `None` if it was wrapped with another key, or bound to something else, or changed.
    pub(crate) fn unwrap(
        &self,
        associated: &[u8],
        wrapped: &[u8; WRAPPED_BYTES],
    ) -> Option<Secret> {
        let opened = Zeroizing::new(self.0.open(associated, wrapped).ok()?);
        opened.as_slice().try_into().ok().map(Secret::copy_of)
    }
}

impl fmt::Debug for KeyEncryptingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEncryptingKey").finish_non_exhaustive()
    }
}
