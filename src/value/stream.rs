//! A stream's name: `Category-id`, the ordered events of one aggregate.

use crate::value::error::{Error, Result};
use crate::value::limits::STREAM_NAME_BYTES_MAX;
use bytes::Bytes;
use bytestring::ByteString;
use serde::{Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The name of a stream: 1 to 1,024 bytes of UTF-8 without control characters.
///
/// The part before the first `-` is the category, of which the stream is one instance. Names that begin with `$` are
/// reserved for the store.
///
/// ```
/// use filmstrip::StreamId;
/// let stream = StreamId::new("Customer-1001")?;
/// assert_eq!(stream.category(), "Customer");
/// assert_eq!(stream.as_str(), "Customer-1001");
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(ByteString);

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl StreamId {
    /// Makes the id of the stream with this name.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) or [`TooLarge`](crate::ErrorKind::TooLarge)
    /// for a name that is empty, too long, holds a control character, or begins with `$`.
    pub fn new(name: impl AsRef<str>) -> Result<StreamId> {
        let name = name.as_ref();
        check(name)?;
        Ok(StreamId(owned(name)))
    }

    /// Returns the whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name up to the first `-`, or all of it if there is none.
    #[must_use]
    pub fn category(&self) -> &str {
        category_of(self.as_str())
    }

    /// Returns the name after the first `-`: the id of the aggregate, in its category. `None` if there is no `-`.
    ///
    /// ```
    /// use filmstrip::StreamId;
    /// assert_eq!(StreamId::new("Door-front-left")?.id(), Some("front-left"));
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.as_str().split_once('-').map(|(_, id)| id)
    }

    /// A name read back from disk, sharing the buffer it was read into; `None` if the bytes are no
    /// name that was ever accepted.
    pub(crate) fn from_stored(name: Bytes) -> Option<StreamId> {
        ByteString::try_from(name).ok().map(StreamId)
    }

    /// The same name in a buffer of its own, for what lives longer than the event it came with.
    pub(crate) fn detached(&self) -> StreamId {
        StreamId(owned(self.as_str()))
    }
}

/// A short name in the allocation that also counts its shares. A `Bytes` made of a slice counts them in a second
/// one from the first clone on, and a name is cloned for each append's answer.
struct Short {
    bytes: [u8; SHORT_BYTES_MAX],
    length: u8,
}

const SHORT_BYTES_MAX: usize = 39;

impl AsRef<[u8]> for Short {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length.into()]
    }
}

/// `name` in a buffer of its own.
fn owned(name: &str) -> ByteString {
    let length = name.len();
    if length > SHORT_BYTES_MAX {
        return ByteString::from(name);
    }
    let mut short = Short { bytes: [0; SHORT_BYTES_MAX], length: length as u8 };
    short.bytes[..length].copy_from_slice(name.as_bytes());
    Bytes::from_owner(short).try_into().expect("what was a str is UTF-8")
}

/// The category of a stream's name.
pub(crate) fn category_of(name: &str) -> &str {
    name.split_once('-').map_or(name, |(category, _)| category)
}

/// Whether `name` is a valid category: stream names can begin with `name` and a `-`.
pub(crate) const fn is_category(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes[0] == b'$' {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        // U+0080 to U+009F are control characters too: C2 80 to C2 9F in UTF-8.
        let is_upper_control = bytes[at] == 0xC2 && at + 1 < bytes.len() && bytes[at + 1] < 0xA0;
        if bytes[at] == b'-' || bytes[at].is_ascii_control() || is_upper_control {
            return false;
        }
        at += 1;
    }
    true
}

fn check(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("a stream name is empty; it needs at least 1 byte"));
    }
    if name.len() > STREAM_NAME_BYTES_MAX {
        return Err(Error::too_large("a stream name", name.len(), STREAM_NAME_BYTES_MAX, "bytes"));
    }
    if let Some(c) = name.chars().find(|c| c.is_control()) {
        let message = format!("stream name {name:?} holds the control character {c:?}");
        return Err(Error::invalid(message));
    }
    if name.starts_with('$') {
        let message = format!("stream name {name:?} begins with '$'; such names are the store's");
        return Err(Error::invalid(message));
    }
    Ok(())
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({:?})", self.as_str())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Error {
        match never {}
    }
}

impl AsRef<str> for StreamId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Hash and order of a `StreamId` are those of its name, so maps can be asked by `&str`.
impl Borrow<str> for StreamId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for StreamId {
    type Err = Error;
    fn from_str(name: &str) -> Result<StreamId> {
        StreamId::new(name)
    }
}

impl TryFrom<&str> for StreamId {
    type Error = Error;
    fn try_from(name: &str) -> Result<StreamId> {
        StreamId::new(name)
    }
}

impl TryFrom<String> for StreamId {
    type Error = Error;
    fn try_from(name: String) -> Result<StreamId> {
        StreamId::new(name)
    }
}

impl TryFrom<&String> for StreamId {
    type Error = Error;
    fn try_from(name: &String) -> Result<StreamId> {
        StreamId::new(name)
    }
}

impl TryFrom<&StreamId> for StreamId {
    type Error = Error;
    fn try_from(name: &StreamId) -> Result<StreamId> {
        Ok(name.clone())
    }
}

impl PartialEq<str> for StreamId {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for StreamId {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_about_as_long_as_a_short_one_may_be_are_as_they_were_given() {
        for length in [2, SHORT_BYTES_MAX - 1, SHORT_BYTES_MAX, SHORT_BYTES_MAX + 1, 1_024] {
            for letter in ["a", "ö"] {
                let name = letter.repeat(length / letter.len());
                let stream = StreamId::new(&name).unwrap();
                let (shared, apart) = (stream.clone(), stream.detached());
                drop(stream);
                assert_eq!((shared.as_str(), apart.as_str()), (name.as_str(), name.as_str()));
            }
        }
    }
}
