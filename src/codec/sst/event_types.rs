//! The types of a table's events, in its footer.
//!
//! ```text
//!      4  types; 2³²-1: there are more than a table notes, and none follow
//!         for each, in the order of their names:
//!         2  bytes of its name
//!            that name
//!         8  its events
//!         8  position of the first of them
//!         8  position of the last
//! ```

use crate::codec::cursor::Cursor;
use crate::codec::length::{in_four_bytes, in_two_bytes};
use crate::value::limits::TABLE_EVENT_TYPES_MAX;
use std::collections::BTreeMap;

const TOO_MANY: u32 = u32::MAX;

/// The events of one type in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfType {
    pub(crate) events: u64,
    /// The positions of the first and the last of them.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The types of a table's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventTypes {
    /// `None` if there are more than `TABLE_EVENT_TYPES_MAX`, or if one could not be read.
    types: Option<BTreeMap<Box<str>, OfType>>,
}

impl Default for EventTypes {
    fn default() -> EventTypes {
        EventTypes { types: Some(BTreeMap::new()) }
    }
}

impl EventTypes {
    /// Notes an event of this type; `None`: of an unknown one.
    pub(crate) fn note(&mut self, event_type: Option<&str>, position: u64) {
        let event = OfType { events: 1, first: position, last: position };
        match event_type {
            Some(name) => self.add(name, event),
            None => self.types = None,
        }
    }

    /// Adds the types of another table.
    pub(crate) fn merge(&mut self, other: &EventTypes) {
        match &other.types {
            Some(types) => types.iter().for_each(|(name, events)| self.add(name, *events)),
            None => self.types = None,
        }
    }

    fn add(&mut self, name: &str, more: OfType) {
        let Some(types) = &mut self.types else { return };
        let count = types.len();
        match types.get_mut(name) {
            Some(events) => {
                events.events = events.events.saturating_add(more.events);
                events.first = events.first.min(more.first);
                events.last = events.last.max(more.last);
            }
            None if count == TABLE_EVENT_TYPES_MAX => self.types = None,
            None => {
                types.insert(name.into(), more);
            }
        }
    }

    /// The events of this type, if there may be any. `None` also if the table does not know: then there is `fallback`.
    pub(crate) fn of(&self, name: &str, fallback: OfType) -> Option<OfType> {
        match &self.types {
            Some(types) => types.get(name).copied(),
            None => Some(fallback),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Some(types) = &self.types else {
            out.extend_from_slice(&TOO_MANY.to_le_bytes());
            return;
        };
        out.extend_from_slice(&in_four_bytes(types.len()).to_le_bytes());
        for (name, OfType { events, first, last }) in types {
            out.extend_from_slice(&in_two_bytes(name.len()).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            for number in [events, first, last] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Option<EventTypes> {
        let count = cursor.u32()?;
        if count == TOO_MANY {
            return Some(EventTypes { types: None });
        }
        if count as usize > TABLE_EVENT_TYPES_MAX {
            return None;
        }
        let mut types: BTreeMap<Box<str>, OfType> = BTreeMap::new();
        for _ in 0..count {
            let length = cursor.u16()?;
            let name = std::str::from_utf8(cursor.pass(length.into())?).ok()?;
            let events =
                OfType { events: cursor.u64()?, first: cursor.u64()?, last: cursor.u64()? };
            if types.last_key_value().is_some_and(|(last, _)| **last >= *name) {
                return None;
            }
            types.insert(name.into(), events);
        }
        Some(EventTypes { types: Some(types) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const FALLBACK: OfType = OfType { events: 9, first: 1, last: 9 };

    fn came_back(types: &EventTypes) -> EventTypes {
        let mut bytes = Vec::new();
        types.encode(&mut bytes);
        let bytes = Bytes::from(bytes);
        for length in (0..bytes.len()).rev().take(200) {
            let cut = bytes.slice(..length);
            assert_eq!(EventTypes::decode(&mut Cursor::new(&cut)), None, "cut to {length}");
        }
        EventTypes::decode(&mut Cursor::new(&bytes)).unwrap()
    }

    #[test]
    fn the_types_of_a_table_have_their_golden_bytes() {
        let mut types = EventTypes::default();
        types.note(Some("B"), 7);
        types.note(Some("A"), 8);
        types.note(Some("B"), 9);
        let mut golden = vec![2, 0, 0, 0];
        for (name, numbers) in [(b'A', [1, 8, 8]), (b'B', [2, 7, 9])] {
            golden.extend([1, 0, name]);
            golden.extend(numbers.iter().flat_map(|number: &u64| number.to_le_bytes()));
        }
        let mut bytes = Vec::new();
        types.encode(&mut bytes);
        assert_eq!(bytes, golden);
        assert_eq!(came_back(&types), types);
        assert_eq!(types.of("B", FALLBACK), Some(OfType { events: 2, first: 7, last: 9 }));
        assert_eq!(types.of("C", FALLBACK), None);
    }

    #[test]
    fn more_types_than_a_table_notes_may_all_be_in_it() {
        let mut types = EventTypes::default();
        for n in 0..TABLE_EVENT_TYPES_MAX {
            types.note(Some(&format!("T{n}")), 1);
        }
        types.note(Some("T1"), 2);
        assert_eq!(types.of("other", FALLBACK), None);
        assert_eq!(came_back(&types), types);
        types.note(Some("one more"), 3);
        assert_eq!(types.of("other", FALLBACK), Some(FALLBACK));
        let mut merged = EventTypes::default();
        merged.merge(&came_back(&types));
        assert_eq!(merged.of("other", FALLBACK), Some(FALLBACK));
        let mut unreadable = EventTypes::default();
        unreadable.note(None, 1);
        assert_eq!(unreadable, merged);
    }
}
