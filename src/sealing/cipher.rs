//! XChaCha20-Poly1305 with a synthetic nonce: equal inputs give equal bytes, and no nonce is used for two inputs.
//!
//! ```text
//! sealed = nonce 24 ‖ ciphertext, as long as the plaintext ‖ tag 16
//! nonce  = the first 24 bytes of BLAKE3, keyed with BLAKE3's derive_key(CONTEXT, key), of
//!          length of the associated data, 8 bytes ‖ associated data ‖ plaintext
//! ```
//!
//! A nonce from a generator would be new for each attempt, and an event that is sent again would not be recognised as
//! the one that is recorded. A counter would have to be durable. So the nonce is computed from everything that is
//! sealed: two inputs share one only if the keyed hash collides in 192 bits.

use crate::sealing::secret::{KEY_BYTES, Secret};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use chacha20poly1305::aead::common::getrandom;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroize;

/// Bytes of a nonce, which precedes the ciphertext.
pub(crate) const NONCE_BYTES: usize = 24;
/// Bytes of a tag, which follows it.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes by which what is sealed is longer than what it holds.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// Separates the key of the nonces from every other use of BLAKE3 with the same key.
const CONTEXT: &str = "filmstrip 2026-11-28 synthetic nonce of sealed bytes";

/// Separates the key of the tags in the same way.
const TAG_CONTEXT: &str = "filmstrip 2026-11-28 tag of a value of a data subject";

/// What does not open: the key is another, or what was sealed, or what it is bound to, was changed. Nothing tells
/// which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// A key, ready for use. Its bytes are overwritten when it is dropped. What the libraries have on the stack meanwhile
/// is not: the state of Poly1305, and that from which XChaCha20 takes a subkey. From the latter, the key can be
/// computed, until another call overwrites the stack.
pub(crate) struct Cipher {
    key: Secret,
    nonce_key: Secret,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Cipher {
        Cipher { key: Secret::copy_of(key), nonce_key: derive(CONTEXT, key) }
    }

    /// It has a copy of the key, and overwrites it when it is dropped. To keep it would be to move it.
    pub(super) fn aead(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(<&Key>::from(&*self.key))
    }

    /// Seals `buffer` in place: it is room for the nonce, the plaintext, and room for the tag.
    pub(crate) fn seal(&self, associated: &[u8], buffer: &mut [u8]) {
        let (room, rest) = buffer.split_at_mut(NONCE_BYTES);
        let (plaintext, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
        let nonce = self.nonce(associated, plaintext);
        room.copy_from_slice(&nonce);
        tag.copy_from_slice(&self.encrypt(&nonce, associated, plaintext));
    }

    /// The plaintext of `sealed`.
    pub(crate) fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Refused> {
        let (nonce, rest) = sealed.split_first_chunk().ok_or(Refused)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(Refused)?;
        let mut plaintext = ciphertext.to_vec();
        self.decrypt(nonce, associated, &mut plaintext, tag)?;
        Ok(plaintext)
    }

    /// The first 16 bytes of a hash of `value`, keyed with a key that is derived from this one's.
    pub(crate) fn tag(&self, value: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&derive(TAG_CONTEXT, &self.nonce_key));
        let hash = hasher.update(value).finalize();
        hasher.zeroize();
        *hash.as_bytes().first_chunk().expect("a hash is longer than a tag")
    }

    fn nonce(&self, associated: &[u8], plaintext: &[u8]) -> [u8; NONCE_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce_key);
        hasher.update(&(associated.len() as u64).to_le_bytes());
        hasher.update(associated);
        if !failpoint!("sealing::leave_content_out_of_nonce") {
            hasher.update(plaintext);
        }
        let hash = hasher.finalize();
        // It holds the key.
        hasher.zeroize();
        *hash.as_bytes().first_chunk().expect("a hash is longer than a nonce")
    }

    pub(super) fn encrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        buffer: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let nonce = <&XNonce>::from(nonce);
        let tag = self.aead().encrypt_inout_detached(nonce, associated, buffer.into());
        tag.expect("the limits keep an event far below 256 GiB").into()
    }

    /// Decrypts `buffer` in place. If it is refused, `buffer` may hold anything.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), Refused> {
        let (nonce, tag) = (<&XNonce>::from(nonce), <&Tag>::from(tag));
        let opened = self.aead().decrypt_inout_detached(nonce, associated, buffer.into(), tag);
        opened.map_err(|_| Refused)
    }
}

/// A key that is derived from another one for one use.
fn derive(context: &str, key: &[u8; KEY_BYTES]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(key);
    let mut output = hasher.finalize_xof();
    let derived = Secret::filled(|bytes| output.fill(bytes));
    output.zeroize();
    hasher.zeroize();
    derived
}

/// Fills `bytes` with what nobody can guess, from the operating system.
///
/// # Errors
/// `Io` if it has none.
fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        let message = format!("the operating system gave no random bytes: {error}");
        Error::new(ErrorKind::Io, message)
    })
}

/// A new key.
///
/// # Errors
/// Those of [`fill_random`].
pub(crate) fn random_key() -> Result<Secret> {
    let mut filled = Ok(());
    let key = Secret::filled(|bytes| filled = fill_random(bytes));
    filled.map(|()| key)
}

/// Random bytes that need not be kept secret, for an id.
///
/// # Errors
/// Those of [`fill_random`].
pub(crate) fn random_id<const N: usize>() -> Result<[u8; N]> {
    let mut id = [0; N];
    fill_random(&mut id).map(|()| id)
}
