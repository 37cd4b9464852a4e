//! The JSON objects of an input, one at a time: on lines, one after the other, or in an array.

use crate::fault::Fault;
use crate::transfer::place::Place;
use std::io::BufRead;

/// Bytes of one object: an event has up to 16 MiB, and its bytes may be escaped several times.
const OBJECT_BYTES_MAX: usize = 256 << 20;

/// How the objects stand in the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As JSON.
    Json,
    /// One on each line, in the text format of Postgres' COPY, which doubles each backslash.
    PostgresCopy,
}

/// Reads objects.
pub(super) struct Values<R> {
    from: R,
    form: Form,
    place: Place,
    /// The line that is being read.
    line: u64,
    /// Bytes that were read.
    pub(super) read: u64,
    object: Vec<u8>,
}

impl<R: BufRead> Values<R> {
    pub(super) fn new(from: R, form: Form, input: String) -> Values<R> {
        let place = Place { input, line: 1 };
        Values { from, form, place, line: 1, read: 0, object: Vec::new() }
    }

    /// Where the last object began.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The next object, and where it is.
    pub(super) fn next(&mut self) -> Result<Option<(&str, Place)>, Fault> {
        self.object.clear();
        let is_there = match self.form {
            Form::Json => self.read_object()?,
            Form::PostgresCopy => self.read_line()?,
        };
        if !is_there {
            return Ok(None);
        }
        let place = self.place.clone();
        match std::str::from_utf8(&self.object) {
            Ok(text) => Ok(Some((text, place))),
            Err(_) => Err(Fault::bad("the record is not UTF-8").at(&self.place)),
        }
    }

    fn read_object(&mut self) -> Result<bool, Fault> {
        let mut scan = Scan::default();
        loop {
            let chunk = self.from.fill_buf();
            let chunk =
                chunk.map_err(|e| Fault::bad(format!("cannot be read: {e}")).at(&self.place))?;
            if chunk.is_empty() {
                return match scan.depth {
                    0 => Ok(false),
                    _ => Err(Fault::bad("the input ends within a record").at(&self.place)),
                };
            }
            let begun = scan.depth > 0;
            let (used, first, end) = scan.pass(chunk).map_err(|met| {
                self.place.line = self.line + scan.lines;
                let message = format!(
                    "a record must be a JSON object, and begin with '{{'; it begins with {met:?}"
                );
                Fault::bad(message).at(&self.place)
            })?;
            if scan.depth > 0 || end {
                let from = if begun { 0 } else { first };
                self.object.extend_from_slice(&chunk[from..used]);
            }
            self.from.consume(used);
            self.read += used as u64;
            if !begun {
                self.place.line = self.line + scan.lines_before;
            }
            if self.object.len() > OBJECT_BYTES_MAX {
                let message = format!(
                    "a record is longer than {OBJECT_BYTES_MAX} bytes, which is the most that is read"
                );
                return Err(Fault::bad(message).at(&self.place));
            }
            if end {
                self.line += scan.lines;
                return Ok(true);
            }
        }
    }

    /// The next line that is not empty, unescaped.
    fn read_line(&mut self) -> Result<bool, Fault> {
        loop {
            let mut line = Vec::new();
            let mut limited = std::io::Read::take(&mut self.from, OBJECT_BYTES_MAX as u64 + 1);
            let read = limited.read_until(b'\n', &mut line);
            let read =
                read.map_err(|e| Fault::bad(format!("cannot be read: {e}")).at(&self.place))?;
            self.place.line = self.line;
            self.line += 1;
            self.read += read as u64;
            if read > OBJECT_BYTES_MAX {
                let message = format!(
                    "a line is longer than {OBJECT_BYTES_MAX} bytes, which is the most that is read"
                );
                return Err(Fault::bad(message).at(&self.place));
            }
            let text = line.trim_ascii();
            // COPY to a client ends in such a line.
            if read == 0 || text == b"\\." {
                return Ok(false);
            }
            if !text.is_empty() {
                unescape(text, &mut self.object);
                return Ok(true);
            }
        }
    }
}

/// Where a scan is within an object.
#[derive(Default)]
struct Scan {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Line feeds before the object, and in all.
    lines_before: u64,
    lines: u64,
}

impl Scan {
    /// Passes over `chunk` up to the end of the object. Returns how much was passed, where the object begins, if it
    /// does here, and whether it ends; or what is there in the place of an object.
    fn pass(&mut self, chunk: &[u8]) -> Result<(usize, usize, bool), char> {
        let mut first = 0;
        for (at, byte) in chunk.iter().enumerate() {
            self.lines += u64::from(*byte == b'\n');
            if self.in_string {
                self.in_string = self.is_escaped || *byte != b'"';
                self.is_escaped = *byte == b'\\' && !self.is_escaped;
                continue;
            }
            match byte {
                b'{' | b'[' if self.depth > 0 => self.depth += 1,
                b'{' => {
                    (self.depth, first) = (1, at);
                    self.lines_before = self.lines;
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok((at + 1, first, true));
                    }
                }
                b'"' if self.depth > 0 => self.in_string = true,
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']' => {}
                _ if self.depth > 0 => {}
                other => return Err(char::from(*other)),
            }
        }
        Ok((chunk.len(), first, false))
    }
}

/// Takes back the escapes of COPY's text format.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => out.push(match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            }),
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// The objects of `input` with their lines, read in chunks of each length.
    fn objects(input: &str, form: Form) -> Vec<(String, u64)> {
        let read = |chunk: usize| -> Vec<(String, u64)> {
            let from = BufReader::with_capacity(chunk, input.as_bytes());
            let mut values = Values::new(from, form, "input".to_owned());
            let mut found = Vec::new();
            while let Some((text, place)) = values.next().unwrap() {
                found.push((text.to_owned(), place.line));
            }
            found
        };
        let found = read(8_192);
        for chunk in 1..20 {
            assert_eq!(read(chunk), found, "in chunks of {chunk} bytes");
        }
        found
    }

    #[test]
    fn objects_are_found_on_lines_and_in_arrays_whatever_is_in_their_strings() {
        let expected = [(r#"{"a":"}\"{\\"}"#.to_owned(), 1), ("{\"b\":[{}]}".to_owned(), 2)];
        assert_eq!(objects("{\"a\":\"}\\\"{\\\\\"}\n{\"b\":[{}]}\n", Form::Json), expected);
        let batch = objects("[\n{\"a\":1},\n{\"b\":\n2}]\n", Form::Json);
        assert_eq!(batch, [("{\"a\":1}".to_owned(), 2), ("{\"b\":\n2}".to_owned(), 3)]);
        assert_eq!(objects(" [ ] \n", Form::Json), []);
    }

    #[test]
    fn what_is_no_object_or_has_no_end_is_refused_with_its_line() {
        for (input, expected) in
            [("{}\nx", "input, line 2: "), ("{}\n\n{\"a\":", "input, line 3: ")]
        {
            let mut values = Values::new(input.as_bytes(), Form::Json, "input".to_owned());
            values.next().unwrap();
            match values.next() {
                Err(Fault::Bad(message)) => assert!(message.starts_with(expected), "{message}"),
                _ => panic!("{input:?} was read"),
            }
        }
    }

    #[test]
    fn backslashes_that_copy_has_doubled_are_single_again() {
        // {"a":"x\"y\nz"} as JSON, and as COPY writes it.
        let found =
            objects("{\"a\":\"x\\\\\"y\\\\nz\"}\n\n{\"b\":\"\\t\"}\n\\.\n", Form::PostgresCopy);
        assert_eq!(found[0], ("{\"a\":\"x\\\"y\\nz\"}".to_owned(), 1));
        assert_eq!(found[1], ("{\"b\":\"\t\"}".to_owned(), 3));
    }
}
