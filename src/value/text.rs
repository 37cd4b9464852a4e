//! What names are checked for.

/// Whether `text` has a control character. Each event's type and tags are checked, and nearly all are ASCII: their
/// bytes are looked at without decoding them.
pub(crate) fn has_control(text: &str) -> bool {
    let may_be_control = |byte: u8| !(b' '..0x7f).contains(&byte);
    text.bytes().any(may_be_control) && text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_character_is_found_wherever_it_is_and_nothing_else() {
        for c in '\0'..='\u{2100}' {
            for text in [format!("{c}"), format!("order{c}"), format!("{c}größe")] {
                assert_eq!(has_control(&text), c.is_control(), "{text:?}");
            }
        }
        assert!(!has_control(""));
    }
}
