//! Failures that show the expected and the actual values.

use std::fmt::{Debug, Write as _};

/// Fails the test, and shows how the two differ.
#[track_caller]
pub(super) fn differ(what: &str, expected: &dyn Debug, actual: &dyn Debug) -> ! {
    let diff = diff(&format!("{expected:#?}"), &format!("{actual:#?}"));
    panic!("{what} (- expected, + actual)\n{diff}");
}

/// The text, two columns to the right.
pub(super) fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "  {line}");
        out
    })
}

/// The lines of both texts: common ones once, others marked with the text that they are in.
fn diff(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let common = common_lengths(&old, &new);
    let (mut at, mut to, mut out) = (0, 0, String::new());
    while at < old.len() || to < new.len() {
        let (mark, line) = if at < old.len() && to < new.len() && old[at] == new[to] {
            (at, to) = (at + 1, to + 1);
            (' ', old[at - 1])
        } else if to == new.len() || at < old.len() && common[at + 1][to] >= common[at][to + 1] {
            at += 1;
            ('-', old[at - 1])
        } else {
            to += 1;
            ('+', new[to - 1])
        };
        let _ = writeln!(out, "{mark} {line}");
    }
    out
}

/// For each pair of places, how many lines the rests of both texts have in common, in order.
fn common_lengths(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for at in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            common[at][to] = if old[at] == new[to] {
                common[at + 1][to + 1] + 1
            } else {
                common[at + 1][to].max(common[at][to + 1])
            };
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_keeps_what_is_common_and_marks_what_is_not() {
        let cases = [
            ("", "", ""),
            ("a\nb", "a\nb", "  a\n  b\n"),
            ("a\nb\nc", "a\nc", "  a\n- b\n  c\n"),
            ("a\nc", "a\nb\nc", "  a\n+ b\n  c\n"),
            ("a", "b", "- a\n+ b\n"),
            ("", "b", "+ b\n"),
        ];
        for (expected, actual, shown) in cases {
            assert_eq!(diff(expected, actual), shown, "{expected:?} {actual:?}");
        }
    }
}
