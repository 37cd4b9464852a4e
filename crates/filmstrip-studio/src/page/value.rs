//! Payloads and states as rows of keys and values.

use super::parts::bytes;
use crate::changes::{Change, changes};
use crate::json::{Json, Kind, Row, Rows, rows};
use crate::limits::PAYLOAD_SHOWN_BYTES;
use crate::place::Place;
use crate::text::Visible;
use filmstrip::RecordedEvent;
use filmstrip::read::PayloadFormat;
use maud::{Markup, html};

/// Levels that are indented; what is deeper is aligned with the last.
const INDENTS: usize = 12;
/// Bytes of a payload that is no text, as they are shown.
const HEX_BYTES: usize = 512;

/// What an event says.
pub(crate) fn payload(place: &Place, event: &RecordedEvent) -> Markup {
    let whole = &event.payload;
    let shown = &whole[..whole.len().min(PAYLOAD_SHOWN_BYTES)];
    let is_cut = shown.len() < whole.len();
    let json = match event.format {
        PayloadFormat::Json => rows(shown, is_cut),
        _ => None,
    };
    html! {
        @match (json, event.format) {
            (Some(rows), _) => (value(None, rows, false)),
            (None, PayloadFormat::Sealed) => p { "Sealed: the key is not at hand." },
            (None, PayloadFormat::Erased) => p { "Erased: whom it was about is forgotten." },
            (None, _) => (raw(shown)),
        }
        p.whole {
            @if is_cut { "The first " (bytes(shown.len() as u64)) " of " (bytes(whole.len() as u64)) ". " }
            a href=(place.payload(event.position)) download { "Save the payload" }
            @if !is_cut { " (" (bytes(whole.len() as u64)) ")" }
        }
    }
}

/// A state, and what changed since the one before.
pub(crate) fn state(before: Option<&Json>, after: &Json) -> Markup {
    let before = before.map(Json::rows);
    value(before.as_ref(), after.rows(), true)
}

/// A value as rows, without marks.
pub(crate) fn json(json: &Json) -> Markup {
    match rows(&json.bytes, json.is_cut) {
        Some(rows) => value(None, rows, false),
        None => raw(&json.bytes),
    }
}

fn value(before: Option<&Rows>, after: Rows, is_marked: bool) -> Markup {
    let (deeper, is_cut) = (after.deeper, after.is_cut);
    let rows = match is_marked {
        true => changes(before, after),
        false => after.rows.into_iter().map(|row| (row, Change::Same)).collect(),
    };
    // The row of the whole value says nothing that the rows in it do not say.
    let (rows, outer) = match rows.split_first() {
        Some(((first, _), rest)) if first.kind == Kind::Group => (rest, 1),
        _ => (&rows[..], 0),
    };
    html! {
        dl.value {
            @for (row, change) in rows { (row_of(row, change, outer)) }
        }
        @if deeper > 0 { p.more { (deeper) " values are nested more deeply, and not shown." } }
        @if is_cut { p.more { "There is more than is shown." } }
    }
}

fn row_of(row: &Row, change: &Change, outer: usize) -> Markup {
    let indent = row.depth.saturating_sub(outer).min(INDENTS);
    let (class, sign, said) = match change {
        Change::Same => ("", "", ""),
        Change::Added => ("added", "+", "added"),
        Change::Changed(_) => ("changed", "~", "changed"),
        Change::Removed => ("removed", "−", "removed"),
    };
    html! {
        div class=(format!("row d{indent} {class}")) {
            dt {
                @if !sign.is_empty() { span.sign title=(said) { (sign) span.hidden { (said) " " } } }
                @if let Some(key) = &row.key { (Visible(key)) }
            }
            dd class=(kind(row)) {
                (Visible(&row.text))
                @if let Change::Changed(was) = change {
                    span.was { span.hidden { "before: " } (Visible(was)) }
                }
            }
        }
    }
}

fn kind(row: &Row) -> &'static str {
    match row.kind {
        Kind::Group => "group",
        Kind::Text if row.text.is_empty() => "text empty",
        Kind::Text => "text",
        Kind::Word => "word",
    }
}

/// Bytes that are no JSON: as text where they are text.
fn raw(shown: &[u8]) -> Markup {
    let text = match str::from_utf8(shown) {
        Ok(text) => Some(text),
        // A character that was cut.
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&shown[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    html! {
        @match text {
            Some(text) => pre.raw { @for line in text.lines().take(1_000) { (Visible(line)) "\n" } },
            None => pre.raw.hex { @for line in shown[..shown.len().min(HEX_BYTES)].chunks(16) {
                @for byte in line { (format!("{byte:02x} ")) } "\n"
            } },
        }
    }
}
