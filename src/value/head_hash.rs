//! A hash of the whole history up to a position, in 32 bytes.

use crate::value::error::{Error, Result};
use crate::value::position::Position;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The log's hash chain after the last event at a position: a fingerprint of everything before it.
///
/// If you keep it elsewhere (printed, mailed, in another system), it shows later whether the log
/// still has the same history: [`Store::check_hash`](crate::Store::check_hash). It is text of the
/// form `position:hash`, the hash as 64 hexadecimal digits.
///
/// ```
/// use filmstrip::repair::{HashCheck, HeadHash};
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// let store = Store::temporary()?;
/// store.append("Account-1", ExpectedVersion::NoStream, [NewEvent::json("Opened", &100)?])?;
/// let noted = store.head_hash().to_string(); // kept where nobody who may write the store can
/// store.append("Account-1", ExpectedVersion::Any, [NewEvent::json("Closed", &())?])?;
///
/// let noted: HeadHash = noted.parse()?;
/// assert_eq!(noted.position.get(), 1);
/// assert_eq!(store.check_hash(&noted)?, HashCheck::Same);
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HeadHash {
    /// The last position that the hash covers.
    pub position: Position,
    /// BLAKE3 over everything up to there, as `docs/FORMAT.md` defines it under "The chain".
    pub hash: [u8; 32],
}

/// The result of comparing a log with a noted [`HeadHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum HashCheck {
    /// The log has exactly the history that was noted.
    Same,
    /// The log reaches the position with another history: something was changed, or it is another log.
    Changed,
    /// The log ends before the noted position: its end was removed, or it is an older copy.
    Shorter,
}

impl HeadHash {
    pub(crate) fn new(position: u64, hash: [u8; 32]) -> HeadHash {
        HeadHash { position: Position::new(position), hash }
    }
}

impl Serialize for HeadHash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Display for HeadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.position.get())?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for HeadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadHash({self})")
    }
}

impl FromStr for HeadHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<HeadHash> {
        parse(text).ok_or_else(|| {
            let form = "a position, a colon and 64 hexadecimal digits";
            Error::invalid(format!("{text:?} is not a head hash; it must be {form}"))
        })
    }
}

fn parse(text: &str) -> Option<HeadHash> {
    let (position, digits) = text.split_once(':')?;
    let all_digits = position.bytes().all(|b| b.is_ascii_digit());
    let all_hex = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !all_digits || !all_hex {
        return None;
    }
    let mut hash = [0; 32];
    for (n, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(HeadHash::new(position.parse().ok()?, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_hash_reads_back_from_its_text_and_from_no_other() {
        let hash = HeadHash::new(17, std::array::from_fn(|n| n as u8 * 7));
        let text = hash.to_string();
        assert_eq!(text.parse::<HeadHash>().unwrap(), hash);
        assert!(text.starts_with("17:00070e15"), "{text}");
        let cut = &text[..text.len() - 1];
        let plus = format!("+{text}");
        let sign = text.replacen("00", "+0", 1);
        for wrong in ["", "17", ":", cut, plus.as_str(), sign.as_str(), "x:00", "17:é"] {
            assert!(wrong.parse::<HeadHash>().is_err(), "{wrong:?} was read");
        }
    }
}
