//! Text of events, made safe to look at: nothing in it is invisible, or changes the order of what is around it.

use crate::limits::VALUE_SHOWN_BYTES;
use maud::{Markup, Render, html};

/// Text of a page: maud escapes markup, and this shows characters that have no shape of their own by their numbers.
pub(crate) struct Visible<'a>(pub(crate) &'a str);

impl Render for Visible<'_> {
    fn render(&self) -> Markup {
        let (shown, cut) = clip(self.0, VALUE_SHOWN_BYTES);
        html! {
            @for piece in pieces(shown) {
                @match piece {
                    Piece::Plain(text) => (text),
                    Piece::Odd(odd) => span.odd title="a character without a shape" { (code(odd)) },
                }
            }
            @if cut > 0 { span.cut { "… " (cut) " bytes more" } }
        }
    }
}

/// The same for attributes and for scripts, which have no elements to mark what was replaced.
pub(crate) fn plain(text: &str, bytes_max: usize) -> String {
    let (shown, cut) = clip(text, bytes_max);
    let mut plain = String::with_capacity(shown.len());
    for piece in pieces(shown) {
        match piece {
            Piece::Plain(text) => plain.push_str(text),
            Piece::Odd(odd) => plain.push_str(&format!("⟨{}⟩", code(odd))),
        }
    }
    if cut > 0 {
        plain.push('…');
    }
    plain
}

/// The beginning of `text`, of at most `bytes_max` bytes, and how many bytes are left out.
pub(crate) fn clip(text: &str, bytes_max: usize) -> (&str, usize) {
    let end = text.floor_char_boundary(bytes_max);
    (&text[..end], text.len() - end)
}

/// The name of a character by its number.
fn code(odd: char) -> String {
    format!("U+{:04X}", u32::from(odd))
}

enum Piece<'a> {
    Plain(&'a str),
    Odd(char),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        if is_odd(first) {
            rest = &rest[first.len_utf8()..];
            return Some(Piece::Odd(first));
        }
        let (plain, after) = rest.split_at(rest.find(is_odd).unwrap_or(rest.len()));
        rest = after;
        Some(Piece::Plain(plain))
    })
}

/// Whether a reader would not see it, or see what is around it in another order: controls, what sets the direction of
/// text, what has no width, and spaces that look like the ordinary one.
fn is_odd(char: char) -> bool {
    char.is_control()
        || (char.is_whitespace() && char != ' ')
        || matches!(
            u32::from(char),
            0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
                | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F | 0x2800 | 0x3164
                | 0xFE00..=0xFE0E | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFD | 0x1D173..=0x1D17A
                | 0xE000..=0xF8FF | 0xE0000..=0xE0FFF | 0xF0000..=0x10FFFF
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown_by_its_number() {
        let html = Visible("a\u{202E}b\u{200B}\0<i>\u{FEFF}").render().into_string();
        assert!(html.starts_with("a<span class=\"odd\""), "{html}");
        for code in ["U+202E", "U+200B", "U+0000", "U+FEFF"] {
            assert!(html.contains(&format!(">{code}</span>")), "{html}");
        }
        assert!(html.contains("&lt;i&gt;") && !html.contains("<i>"), "{html}");
        assert_eq!(plain("x\u{2066}y", 100), "x⟨U+2066⟩y");
        assert_eq!(plain("Zoë 東京 👍", 100), "Zoë 東京 👍");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(clip("aé", 2), ("a", 2));
        assert_eq!(plain("aé", 2), "a…");
        let html = Visible(&"x".repeat(VALUE_SHOWN_BYTES + 7)).render().into_string();
        assert!(html.contains("… 7 bytes more"), "{}", &html[VALUE_SHOWN_BYTES..]);
    }
}
