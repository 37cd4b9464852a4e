//! Finds where two traces differ. Maps and sets may be read back in another order.

use super::trace::mark;
use std::mem;

/// A trace as a tree.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Node<'t> {
    mark: u8,
    /// A value, or the name of a variant.
    text: &'t [u8],
    /// The values, each with the name of its field or an empty name. Keys and values of a map alternate.
    inner: Vec<(&'t [u8], Node<'t>)>,
}

/// Where and how two traces differ, ignoring the order of sequences and maps.
pub(super) fn between(written: &[u8], read_back: &[u8]) -> Option<String> {
    let (mut left, mut right) = (written, read_back);
    let (Some(mut written), Some(mut read_back)) = (parse(&mut left), parse(&mut right)) else {
        return Some("it cannot be compared".to_owned());
    };
    written.sort();
    read_back.sort();
    differ(&written, &read_back, "")
}

fn parse<'t>(bytes: &mut &'t [u8]) -> Option<Node<'t>> {
    let mark = *bytes.split_off_first()?;
    let text = match mark {
        mark::BOOL | mark::I8 | mark::U8 => bytes.split_off(..1)?,
        mark::I16 | mark::U16 => bytes.split_off(..2)?,
        mark::I32 | mark::U32 | mark::F32 | mark::CHAR => bytes.split_off(..4)?,
        mark::I64 | mark::U64 | mark::F64 => bytes.split_off(..8)?,
        mark::I128 | mark::U128 => bytes.split_off(..16)?,
        mark::STR
        | mark::BYTES
        | mark::UNIT_VARIANT
        | mark::NEWTYPE_VARIANT
        | mark::TUPLE_VARIANT
        | mark::STRUCT_VARIANT => sized(bytes)?,
        _ => &[],
    };
    let mut inner = Vec::new();
    match mark {
        mark::SOME | mark::NEWTYPE_STRUCT | mark::NEWTYPE_VARIANT => {
            inner.push((&[][..], parse(bytes)?));
        }
        mark::SEQ
        | mark::TUPLE
        | mark::TUPLE_VARIANT
        | mark::MAP
        | mark::STRUCT
        | mark::STRUCT_VARIANT => loop {
            let name = match *bytes.first()? {
                mark::END => {
                    bytes.split_off_first();
                    break;
                }
                mark::FIELD => {
                    bytes.split_off_first();
                    sized(bytes)?
                }
                _ => &[],
            };
            inner.push((name, parse(bytes)?));
        },
        _ => {}
    }
    Some(Node { mark, text, inner })
}

fn sized<'t>(bytes: &mut &'t [u8]) -> Option<&'t [u8]> {
    let length = bytes.split_off(..8)?.try_into().ok()?;
    bytes.split_off(..usize::try_from(u64::from_le_bytes(length)).ok()?)
}

impl Node<'_> {
    /// Sorts maps and sequences, because a set is written as a sequence.
    fn sort(&mut self) {
        self.inner.iter_mut().for_each(|(_, node)| node.sort());
        match self.mark {
            mark::SEQ => self.inner.sort(),
            mark::MAP => {
                let mut nodes = mem::take(&mut self.inner).into_iter();
                let mut pairs = Vec::with_capacity(nodes.len() / 2);
                while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                    pairs.push([key, value]);
                }
                pairs.sort();
                self.inner = pairs.into_iter().flatten().collect();
            }
            _ => {}
        }
    }

    /// Describes the node without its value.
    fn kind(&self) -> String {
        let name = || String::from_utf8_lossy(self.text);
        match self.mark {
            mark::BOOL => "a bool".to_owned(),
            mark::I8 => "an i8".to_owned(),
            mark::I16 => "an i16".to_owned(),
            mark::I32 => "an i32".to_owned(),
            mark::I64 => "an i64".to_owned(),
            mark::I128 => "an i128".to_owned(),
            mark::U8 => "a u8".to_owned(),
            mark::U16 => "a u16".to_owned(),
            mark::U32 => "a u32".to_owned(),
            mark::U64 => "a u64".to_owned(),
            mark::U128 => "a u128".to_owned(),
            mark::F32 => "an f32".to_owned(),
            mark::F64 => "an f64".to_owned(),
            mark::CHAR => "a character".to_owned(),
            mark::NONE => "none".to_owned(),
            mark::UNIT | mark::UNIT_STRUCT => "a unit".to_owned(),
            mark::STR => "a string".to_owned(),
            mark::BYTES => "bytes".to_owned(),
            mark::SOME => match self.inner.first().map(|(_, node)| node) {
                Some(Node { mark: mark::NONE | mark::SOME, .. }) => {
                    "an option in an option".to_owned()
                }
                Some(Node { mark: mark::UNIT | mark::UNIT_STRUCT, .. }) => {
                    "an option with a unit in it".to_owned()
                }
                _ => "an option".to_owned(),
            },
            mark::SEQ => format!("a sequence of {}", self.inner.len()),
            mark::TUPLE => format!("a tuple of {}", self.inner.len()),
            mark::MAP => format!("a map of {}", self.inner.len() / 2),
            mark::STRUCT => format!("a struct of {} fields", self.inner.len()),
            mark::NEWTYPE_STRUCT => "a newtype".to_owned(),
            _ => format!("the variant {}", name()),
        }
    }
}

/// Where and how two nodes differ. `path` is their path, which holds only names of fields.
fn differ(written: &Node<'_>, read_back: &Node<'_>, path: &str) -> Option<String> {
    if written == read_back {
        return None;
    }
    let same_names = written.inner.len() == read_back.inner.len()
        && written.inner.iter().zip(&read_back.inner).all(|((left, _), (right, _))| left == right);
    let is_value = written.inner.is_empty();
    if is_value || (written.mark, written.text) != (read_back.mark, read_back.text) || !same_names {
        let place = if path.is_empty() { "it".to_owned() } else { format!("`{path}`") };
        let (written, read_back) = (written.kind(), read_back.kind());
        let other = match written.split_once(' ') {
            _ if written == read_back && !same_names => {
                return Some(format!(
                    "{place} is written as {written} and reads back with other fields"
                ));
            }
            Some((_, kind)) if written == read_back => format!("another {kind}"),
            _ => read_back,
        };
        return Some(format!("{place} is written as {written} and reads back as {other}"));
    }
    let pairs = written.inner.iter().zip(&read_back.inner);
    pairs.filter(|(left, right)| left != right).find_map(|((name, left), (_, right))| {
        let step = match written.mark {
            mark::SEQ | mark::TUPLE | mark::TUPLE_VARIANT => "[]".into(),
            mark::MAP => "{}".into(),
            _ => String::from_utf8_lossy(name),
        };
        let dot = if path.is_empty() || name.is_empty() { "" } else { "." };
        differ(left, right, &format!("{path}{dot}{step}"))
    })
}
