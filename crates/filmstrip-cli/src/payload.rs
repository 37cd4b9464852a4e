//! Payloads as people read them.

use crate::text::{count, cut, escaped};
use filmstrip::RecordedEvent;
use filmstrip::read::PayloadFormat;
use std::fmt::Write;

/// Bytes of a payload that is not JSON that are shown.
const BYTES_SHOWN: usize = 32;

/// The payload on one line of at most `max` columns.
pub(crate) fn summary(event: &RecordedEvent, max: usize) -> String {
    // What is cut off need not be escaped: each character of JSON has a column or is escaped into more.
    let end = event.payload.len().min(max.saturating_mul(4).max(64));
    match event.format {
        PayloadFormat::Json => {
            let shown = String::from_utf8_lossy(&event.payload[..end]);
            let is_cut = end < event.payload.len();
            let shown = format!("{}{}", escaped(&shown), if is_cut { "…" } else { "" });
            cut(&shown, max).into_owned()
        }
        _ => not_json(event),
    }
}

/// A payload that is no JSON.
fn not_json(event: &RecordedEvent) -> String {
    match event.format {
        PayloadFormat::Sealed => format!("sealed, {} bytes", count(event.payload.len() as u64)),
        PayloadFormat::Erased => "erased: whom it was about is forgotten".to_owned(),
        _ => bytes(&event.payload),
    }
}

/// The first bytes of a payload, in hexadecimal.
fn bytes(payload: &[u8]) -> String {
    let mut out = format!("{} bytes", count(payload.len() as u64));
    for (at, byte) in payload.iter().take(BYTES_SHOWN).enumerate() {
        let _ = write!(out, "{}{byte:02x}", if at == 0 { ": " } else { " " });
    }
    if payload.len() > BYTES_SHOWN {
        out.push_str(" …");
    }
    out
}

/// The payload on lines of their own, each after `margin`.
pub(crate) fn lines(event: &RecordedEvent, margin: &str) -> String {
    match (event.format, std::str::from_utf8(&event.payload)) {
        (PayloadFormat::Json, Ok(json)) => indented(json, margin),
        _ => format!("{margin}{}", not_json(event)),
    }
}

/// JSON with a line for each member. Only space between tokens changes: numbers, names and their order are as they
/// were recorded.
fn indented(json: &str, margin: &str) -> String {
    let (mut out, mut depth, mut in_string, mut is_escaped) =
        (margin.to_owned(), 0_usize, false, false);
    let new_line = |out: &mut String, depth: usize| {
        let _ = write!(out, "\n{margin}{}", "  ".repeat(depth.min(64)));
    };
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            in_string = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            out.push_str(&escaped(c.encode_utf8(&mut [0; 4])));
            continue;
        }
        match c {
            c if c.is_whitespace() => {}
            '{' | '[' => {
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                out.push(c);
                match chars.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_a_line_for_each_member_and_the_same_tokens() {
        let json = r#"{"b":1.50,"a":{"x":[],"y":[1,"a,b\"{"]},"z":{ }}"#;
        let expected = [
            "  {",
            "    \"b\": 1.50,",
            "    \"a\": {",
            "      \"x\": [],",
            "      \"y\": [",
            "        1,",
            "        \"a,b\\\"{\"",
            "      ]",
            "    },",
            "    \"z\": {}",
            "  }",
        ];
        assert_eq!(indented(json, "  "), expected.join("\n"));
        assert_eq!(indented("null", ""), "null");
        assert_eq!(indented("\"\u{9b}31m\"", ""), "\"\\u{9b}31m\"");
    }
}
