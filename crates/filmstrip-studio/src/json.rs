//! JSON as rows to look at: one for each value, with its depth, its key and its text.
//!
//! It reads from the front, without recursion and within bounds, so that neither a deep nor a long nor a cut value is
//! more work than what is shown of it. It does not judge: what is not JSON is [`None`], and is shown as text.

use crate::limits::{JSON_DEPTH_MAX, JSON_ROWS_MAX, PAYLOAD_SHOWN_BYTES};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// A value as JSON: all of it, or its beginning.
pub(crate) struct Json {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_cut: bool,
}

impl Json {
    /// As much of a value as a page shows.
    pub(crate) fn beginning(json: &[u8]) -> Json {
        let shown = &json[..json.len().min(PAYLOAD_SHOWN_BYTES)];
        Json { bytes: shown.to_vec(), is_cut: shown.len() < json.len() }
    }

    /// Its rows; none if it is no JSON.
    pub(crate) fn rows(&self) -> Rows {
        rows(&self.bytes, self.is_cut).unwrap_or_default()
    }
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// An object or an array; its values follow.
    Group,
    Text,
    /// A number, `true`, `false`, `null`, `{}` or `[]`.
    Word,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) depth: usize,
    /// The key, or the place in an array; `None` for the whole value.
    pub(crate) key: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Names the place of the value: equal for the same keys from the top.
    pub(crate) path: u64,
}

/// A value as rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    /// Values that are nested too deeply to be shown.
    pub(crate) deeper: usize,
    /// Whether the value ends before its end, because it was cut or has too many rows.
    pub(crate) is_cut: bool,
}

/// An object or array that is being read.
struct Open {
    path: u64,
    is_object: bool,
    /// Values so far.
    count: usize,
}

/// Reads `json`, the whole value or (`is_cut`) the beginning of one; `None` if it is no JSON.
pub(crate) fn rows(json: &[u8], is_cut: bool) -> Option<Rows> {
    let mut reader = Reader { rest: json, is_cut, open: Vec::new(), rows: Rows::default() };
    loop {
        match reader.value() {
            Some(()) if reader.open.is_empty() => break,
            Some(()) if reader.rows.rows.len() >= JSON_ROWS_MAX => {
                reader.rows.is_cut = true;
                break;
            }
            Some(()) => {}
            // The end of what was cut.
            None if is_cut
                && reader.rest.len() <= CUT_TOKEN_BYTES
                && !reader.rows.rows.is_empty() =>
            {
                reader.rows.is_cut = true;
                break;
            }
            None => return None,
        }
    }
    let is_whole = reader.rows.is_cut || reader.rest.trim_ascii().is_empty();
    is_whole.then_some(reader.rows)
}

/// What may be left of a cut value that cannot be read: a part of a word or of a separator.
const CUT_TOKEN_BYTES: usize = 1_024;

struct Reader<'a> {
    rest: &'a [u8],
    is_cut: bool,
    open: Vec<Open>,
    rows: Rows,
}

impl Reader<'_> {
    /// Reads one value, or the beginning of an object or array, and the ends that follow it.
    fn value(&mut self) -> Option<()> {
        self.space();
        let key = self.key()?;
        let path = self.path(key.as_deref());
        match *self.rest.first()? {
            open @ (b'{' | b'[') => {
                self.rest = &self.rest[1..];
                self.space();
                let close = if open == b'{' { b'}' } else { b']' };
                if self.rest.first() == Some(&close) {
                    self.rest = &self.rest[1..];
                    let empty = if open == b'{' { "{}" } else { "[]" };
                    self.row(key, Kind::Word, empty.to_owned(), path);
                } else {
                    self.row(key, Kind::Group, String::new(), path);
                    self.open.push(Open { path, is_object: open == b'{', count: 0 });
                    return Some(());
                }
            }
            b'"' => {
                let text = self.string()?;
                self.row(key, Kind::Text, text, path);
            }
            _ => {
                let word = self.word()?;
                self.row(key, Kind::Word, word, path);
            }
        }
        self.ends()
    }

    /// What follows a value: a comma before the next one, or the ends of what is open.
    fn ends(&mut self) -> Option<()> {
        while let Some(open) = self.open.last_mut() {
            open.count += 1;
            let close = if open.is_object { b'}' } else { b']' };
            self.space();
            let next = *self.rest.first()?;
            self.rest = &self.rest[1..];
            if next == b',' {
                return Some(());
            }
            if next != close {
                return None;
            }
            self.open.pop();
        }
        Some(())
    }

    fn key(&mut self) -> Option<Option<String>> {
        let Some(open) = self.open.last() else { return Some(None) };
        if !open.is_object {
            return Some(Some(open.count.to_string()));
        }
        if self.rest.first() != Some(&b'"') {
            return None;
        }
        let key = self.string()?;
        self.space();
        self.rest = self.rest.strip_prefix(b":")?;
        self.space();
        Some(Some(key))
    }

    fn path(&self, key: Option<&str>) -> u64 {
        static PATHS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        PATHS.hash_one((self.open.last().map(|open| (open.path, open.is_object)), key))
    }

    fn row(&mut self, key: Option<String>, kind: Kind, text: String, path: u64) {
        let depth = self.open.len();
        if depth >= JSON_DEPTH_MAX {
            self.rows.deeper += 1;
        } else {
            self.rows.rows.push(Row { depth, key, kind, text, path });
        }
    }

    /// The text of a string. One that does not decode, or is cut, is shown as it is written.
    fn string(&mut self) -> Option<String> {
        let mut at = 1;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b'\\' => at += 2,
                b'"' => {
                    let (token, rest) = self.rest.split_at(at + 1);
                    self.rest = rest;
                    let raw = || String::from_utf8_lossy(&token[1..at]).into_owned();
                    return Some(serde_json::from_slice(token).unwrap_or_else(|_| raw()));
                }
                _ => at += 1,
            }
        }
        let token = std::mem::take(&mut self.rest);
        self.rows.is_cut = true;
        self.is_cut.then(|| format!("{}…", String::from_utf8_lossy(&token[1..])))
    }

    fn word(&mut self) -> Option<String> {
        let is_end = |byte: &u8| b",]} \t\r\n".contains(byte);
        let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let word = str::from_utf8(word).ok()?;
        let is_number = word.starts_with(|first: char| first == '-' || first.is_ascii_digit())
            && word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        if !is_number && !matches!(word, "true" | "false" | "null") {
            return None;
        }
        self.rest = rest;
        Some(word.to_owned())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> Vec<String> {
        let rows = rows(json.as_bytes(), false).expect("JSON");
        let line = |row: &Row| {
            let key = row.key.as_deref().unwrap_or("");
            format!("{}{key}={}", " ".repeat(row.depth), row.text)
        };
        rows.rows.iter().map(line).collect()
    }

    #[test]
    fn values_are_rows_with_their_keys() {
        let json = r#" {"a": 1, "b": {"c": ["x", {}], "d": "q\"\u00e9"}, "e": -1.5e9 } "#;
        assert_eq!(
            shown(json),
            ["=", " a=1", " b=", "  c=", "   0=x", "   1={}", "  d=q\"é", " e=-1.5e9"]
        );
        assert_eq!(shown("null"), ["=null"]);
        assert_eq!(shown("[]"), ["=[]"]);
    }

    #[test]
    fn what_is_not_json_is_no_rows() {
        for wrong in ["", "x", "{", "[1,]", "{\"a\" 1}", "[1] 2", "\"open", "{a:1}", "[1}", "nulls"]
        {
            assert_eq!(rows(wrong.as_bytes(), false), None, "{wrong}");
        }
    }

    #[test]
    fn a_cut_value_shows_what_there_is() {
        let json = br#"{"name": "Alice", "text": "aaaaaa"#;
        let cut = rows(json, true).expect("rows");
        assert!(cut.is_cut && cut.rows[1].text == "Alice" && cut.rows[2].text == "aaaaaa…");
        for end in 1..json.len() {
            let _ = rows(&json[..end], true);
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let rows_of_deep = rows(deep.as_bytes(), false).expect("JSON");
        assert_eq!((rows_of_deep.rows.len(), rows_of_deep.deeper), (32, 10_000 - 32));
        let long = format!("[{}0]", "1,".repeat(100_000));
        let rows_of_long = rows(long.as_bytes(), false).expect("JSON");
        assert!(rows_of_long.is_cut && rows_of_long.rows.len() == JSON_ROWS_MAX);
    }

    #[test]
    fn a_path_names_a_place() {
        let one = rows(br#"{"a":{"b":1},"c":[1]}"#, false).unwrap();
        let two = rows(br#"{"c":[2],"a":{"b":2}}"#, false).unwrap();
        let path =
            |rows: &Rows, text: &str| rows.rows.iter().find(|r| r.text == text).unwrap().path;
        assert_eq!(one.rows[0].path, two.rows[0].path);
        assert_eq!(path(&one, "1"), two.rows.iter().rfind(|r| r.text == "2").unwrap().path);
        assert_ne!(one.rows[1].path, one.rows[2].path);
    }
}
