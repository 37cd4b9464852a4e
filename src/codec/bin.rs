//! The one place that names bincode, which is unmaintained: its configuration and its limit.
//!
//! It encodes only small records of our own, and never a user-defined type.

use crate::value::corruption::Corruption;
use crate::value::limits::RECORD_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>()
}

/// Encodes `value`. Our records hold nothing that bincode refuses.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = bincode::serde::encode_to_vec(value, config());
    let bytes = bytes.expect("our own forms can be encoded");
    assert!(bytes.len() <= RECORD_BYTES_MAX, "a longer form would not be read back");
    bytes
}

/// Decodes a value that must take up all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Corruption> {
    match bincode::serde::decode_from_slice(bytes, config()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => {
            let left = (bytes.len() - read) as u64;
            Err(Corruption::FormTrailing { left, form: read as u64 })
        }
        Err(error) => Err(Corruption::Form(error.to_string().into())),
    }
}

/// Checks that the bytes of `value` are `golden`, and that they are read back.
#[cfg(test)]
#[track_caller]
pub(crate) fn check<T>(value: &T, golden: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(encode(value), golden);
    assert_eq!(decode::<T>(golden).as_ref(), Ok(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_after_a_form_are_an_error() {
        let mut bytes = encode(&(1u64, "two"));
        assert_eq!(decode::<(u64, String)>(&bytes), Ok((1, "two".to_owned())));
        bytes.push(0);
        assert!(decode::<(u64, String)>(&bytes).is_err());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_allocated() {
        // A varint u64 length of 2^40, and nothing after it.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1u64 << 40).to_le_bytes());
        assert!(decode::<Vec<u8>>(&bytes).is_err());
    }
}
