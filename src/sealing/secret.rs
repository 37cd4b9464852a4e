//! The bytes of a key in memory.

use std::ops::Deref;
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// The bytes of a key: at one place on the heap, so that moving this leaves no copy of them, filled there, and
/// overwritten when it is dropped.
pub(crate) struct Secret(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl Secret {
    /// The bytes that `fill` writes.
    pub(crate) fn filled(fill: impl FnOnce(&mut [u8; KEY_BYTES])) -> Secret {
        let mut secret = Secret(Box::default());
        fill(&mut secret.0);
        secret
    }

    pub(crate) fn copy_of(bytes: &[u8; KEY_BYTES]) -> Secret {
        Secret::filled(|secret| secret.copy_from_slice(bytes))
    }
}

impl Clone for Secret {
    fn clone(&self) -> Secret {
        Secret::copy_of(self)
    }
}

impl Deref for Secret {
    type Target = [u8; KEY_BYTES];

    fn deref(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This fails to compile if the bytes are not overwritten.
    #[test]
    fn a_secret_overwrites_its_bytes_and_stays_where_it_is_when_it_is_moved() {
        fn overwrites(_: &impl zeroize::ZeroizeOnDrop) {}
        let secret = Secret::copy_of(&[7; KEY_BYTES]);
        overwrites(&*secret.0);
        let place = secret.as_ptr();
        let moved = std::sync::Arc::new((secret, 1));
        assert_eq!((moved.0.as_ptr(), *moved.0), (place, [7; KEY_BYTES]));
        assert_eq!(*moved.0.clone(), [7; KEY_BYTES]);
    }
}
