//! A file's path, as bytes, and the stream that holds its film.
//!
//! A stream's name is text without control characters and at most 1,024 bytes. A path is any bytes
//! but NUL. So what a name cannot hold is percent-encoded, as in a URL, and a name that would be too
//! long ends in a hash. Two paths never share a name.

use filmstrip::{Result, StreamId};

/// The category of the files' streams.
pub(crate) const FILE: &str = "File";
/// The category of the streams that say which git commits are taken.
pub(crate) const COMMIT: &str = "Commit";

/// An encoded path over this many bytes is shortened.
const NAME_BYTES_MAX: usize = 1_000;
/// What stays of it before the hash.
const KEPT_BYTES: usize = 900;
/// Between what stays and the hash: never the outcome of encoding, where `%` begins two digits.
const SHORTENED: &str = "%~";

/// The stream of the file at `path`.
pub(crate) fn file_stream(path: &[u8]) -> Result<StreamId> {
    StreamId::new(format!("{FILE}-{}", name(path)))
}

/// The stream of the git commit with this id.
pub(crate) fn commit_stream(id: &str) -> Result<StreamId> {
    StreamId::new(format!("{COMMIT}-{id}"))
}

/// What follows the category in a stream's name.
pub(crate) fn without_category(stream: &StreamId) -> &str {
    stream.as_str().split_once('-').map_or("", |(_, rest)| rest)
}

/// A name for `path`, different for every path: itself, if it is plain text of a fair length.
pub(crate) fn name(path: &[u8]) -> String {
    let mut name = encode(path);
    if name.len() > NAME_BYTES_MAX {
        name.truncate(cut(&name));
        name.push_str(SHORTENED);
        name.push_str(&blake3::hash(path).to_hex());
    }
    name
}

/// Whether `name` leaves out a part of its path.
pub(crate) fn is_shortened(name: &str) -> bool {
    name.contains(SHORTENED)
}

/// `path` with every byte that a stream's name cannot hold, and every `%`, as `%XX`.
pub(crate) fn encode(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == '%' || char.is_control() {
                push_hex(char.encode_utf8(&mut [0; 4]).as_bytes(), &mut encoded);
            } else {
                encoded.push(char);
            }
        }
        push_hex(chunk.invalid(), &mut encoded);
    }
    encoded
}

fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        out.push_str(&format!("%{byte:02X}"));
    }
}

/// Where to cut an encoded path: not inside a character, nor inside `%XX`.
fn cut(name: &str) -> usize {
    let cut = name.floor_char_boundary(KEPT_BYTES);
    let percent = name[..cut].rfind('%').filter(|percent| cut - percent < 3);
    percent.unwrap_or(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_its_own_name() {
        for path in ["src/lib.rs", "docs/ü 漢字.md", "a\"b'c\\d", "-", "$x"] {
            assert_eq!(name(path.as_bytes()), path);
            assert_eq!(without_category(&file_stream(path.as_bytes()).unwrap()), path);
        }
    }

    #[test]
    fn what_a_name_cannot_hold_is_percent_encoded() {
        for (path, expected) in [
            (&b"a\tb\nc\x7f"[..], "a%09b%0Ac%7F"),
            (b"100%", "100%25"),
            (b"caf\xe9", "caf%E9"),
            (b"\xe2\x82", "%E2%82"),
            ("\u{85}".as_bytes(), "%C2%85"),
        ] {
            assert_eq!(name(path), expected);
            assert!(file_stream(path).is_ok());
        }
    }

    #[test]
    fn paths_that_look_encoded_keep_a_name_of_their_own() {
        assert_ne!(name(b"a\tb"), name(b"a%09b"));
        let long = "x".repeat(5_000);
        let shortened = name(long.as_bytes());
        assert_ne!(shortened, name(shortened.as_bytes()));
    }

    #[test]
    fn a_long_path_is_cut_between_characters_and_told_apart_by_its_hash() {
        for unit in ["x", "é", "漢", "\n", "a\n", "ab\n"] {
            let long = unit.repeat(2_000);
            let (one, other) = (name(long.as_bytes()), name(format!("{long}y").as_bytes()));
            assert_ne!(one, other);
            assert!(is_shortened(&one));
            let kept = one.split_once(SHORTENED).unwrap().0;
            assert!(encode(long.as_bytes()).starts_with(kept) && kept.len() > 890, "{kept}");
            assert!(file_stream(long.as_bytes()).is_ok(), "{one}");
        }
        assert!(!is_shortened(&name("x".repeat(1_000).as_bytes())));
    }
}
