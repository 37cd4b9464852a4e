//! The first bytes of an input, by which it is told from what is not text in UTF-8.

use crate::fault::Fault;
use std::io::{BufRead, Cursor, ErrorKind, Read};

/// What some editors and shells write before text in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Beginnings of inputs that cannot be read as they are, and what is to be done with them.
const OTHERS: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "it is compressed with gzip; pipe it through `gzip -dc`, and import from -"),
    (
        b"\x28\xb5\x2f\xfd",
        "it is compressed with zstd; pipe it through `zstd -dc`, and import from -",
    ),
    (b"PK\x03\x04", "it is a ZIP archive; extract it, and import what is in it"),
    (b"\xff\xfe", "it is in UTF-16; write it in UTF-8"),
    (b"\xfe\xff", "it is in UTF-16; write it in UTF-8"),
];

/// The input without the mark of UTF-8, if it has one; refused, if it is known to be something else.
pub(super) fn checked(
    mut from: impl BufRead + 'static,
    name: &str,
) -> Result<Box<dyn BufRead>, Fault> {
    let mut first = [0; 4];
    let mut read = 0;
    // A pipe may give one byte at a time.
    while read < first.len() {
        match from.read(&mut first[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::bad(format!("cannot be read: {error}")).at(name)),
        }
    }
    let first = &first[..read];
    if let Some((_, what)) = OTHERS.iter().find(|(beginning, _)| first.starts_with(beginning)) {
        return Err(Fault::bad(*what).at(name));
    }
    let text = first.strip_prefix(MARK).unwrap_or(first);
    Ok(Box::new(Cursor::new(text.to_vec()).chain(from)))
}
