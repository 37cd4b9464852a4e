//! A place in an input, for people.

use std::fmt;

/// A record of an input: the line on which it begins.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) input: String,
    pub(super) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.input, self.line)
    }
}
