//! The durable state of a consumer group, as bincode, under keys of the engine's own state:
//!
//! ```text
//! group/NAME                      the group: a `GroupRecord`
//! group/NAME, NUL, since/N        what has changed since the group was written, part N: a `GroupRecord`
//! group/NAME, NUL, parked/POS     a parked event: a `ParkedRecord`
//! group/NAME, NUL, replay/POS     a parked event that will be tried again: a `ParkedRecord`
//! ```
//!
//! POS is the event's position, and N a number from 0, both in 20 digits. Names have no control characters, so NUL
//! ends a name.

use crate::value::stream::category_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A group between two runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub(crate) filter: FilterRecord,
    /// Every event up to here is finished, or not wanted by the group.
    pub(crate) cursor: u64,
    /// Ranges of finished events after the cursor, by first and last position, in order.
    pub(crate) finished: Vec<(u64, u64)>,
    /// Unfinished events that have been tried, in order.
    pub(crate) tried: Vec<TriedRecord>,
}

/// Which events the group wants. Each list is in order and has no name twice. A category may be followed by the types
/// that are wanted of it, each after a NUL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct FilterRecord {
    pub(crate) streams: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) event_types: Vec<String>,
}

impl FilterRecord {
    /// Whether the group wants an event of this stream and type.
    pub(crate) fn wants(&self, stream: &str, event_type: &str) -> bool {
        let names = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        let of_category = |wanted: &String| match wanted.split_once('\0') {
            None => wanted == category_of(stream),
            Some((category, types)) => {
                category == category_of(stream) && types.split('\0').any(|name| name == event_type)
            }
        };
        (self.streams.is_empty() || names(&self.streams, stream))
            && (self.event_types.is_empty() || names(&self.event_types, event_type))
            && (self.categories.is_empty() || self.categories.iter().any(of_category))
    }
}

/// An event that was delivered and has not been finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TriedRecord {
    pub(crate) position: u64,
    /// How often the event was delivered.
    pub(crate) attempts: u32,
    /// The event is not delivered before this time, in UTC microseconds.
    pub(crate) due: i64,
}

impl GroupRecord {
    /// The group as changed by `parts`, in order: they move the cursor, add finished ranges, and replace the
    /// records of tried events.
    pub(crate) fn with_parts(self, parts: impl IntoIterator<Item = GroupRecord>) -> GroupRecord {
        let GroupRecord { filter, mut cursor, mut finished, tried } = self;
        let mut tried: BTreeMap<_, _> = tried.into_iter().map(|t| (t.position, t)).collect();
        for part in parts {
            cursor = cursor.max(part.cursor);
            finished.extend(part.finished);
            tried.extend(part.tried.into_iter().map(|t| (t.position, t)));
        }
        finished.retain(|(_, last)| *last > cursor);
        finished.sort_unstable();
        finished.dedup_by(|(first, last), before| {
            let joins = *first <= before.1.saturating_add(1);
            if joins {
                before.1 = before.1.max(*last);
            }
            joins
        });
        let mut group = GroupRecord { filter, cursor, finished, tried: Vec::new() };
        tried.retain(|position, _| !group.is_finished(*position));
        group.tried = tried.into_values().collect();
        group
    }

    /// Whether the event at `position` is finished, or not wanted.
    pub(crate) fn is_finished(&self, position: u64) -> bool {
        let next = self.finished.partition_point(|(first, _)| *first <= position);
        let before = next.checked_sub(1).and_then(|before| self.finished.get(before));
        position <= self.cursor || before.is_some_and(|(_, last)| position <= *last)
    }
}

/// Whether a parked event stays parked or will be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    Parked,
    Replay,
}

/// The key of a group.
pub(crate) fn group_key(name: &str) -> String {
    format!("group/{name}")
}

/// The prefix of the keys of all events on a group's shelf.
pub(crate) fn shelf_prefix(name: &str, shelf: Shelf) -> String {
    let shelf = match shelf {
        Shelf::Parked => "parked",
        Shelf::Replay => "replay",
    };
    format!("group/{name}\0{shelf}/")
}

/// The prefix of the keys of the parts of a group's record.
pub(crate) fn part_prefix(name: &str) -> String {
    format!("group/{name}\0since/")
}

/// The key of a part of a group's record.
pub(crate) fn part_key(name: &str, number: u64) -> String {
    format!("{}{number:020}", part_prefix(name))
}

/// The key of an event on a group's shelf.
pub(crate) fn shelf_key(name: &str, shelf: Shelf, position: u64) -> String {
    format!("{}{position:020}", shelf_prefix(name, shelf))
}

/// The position in the key of an event on a shelf, or the number in the key of a part.
pub(crate) fn shelf_position(key: &str) -> Option<u64> {
    let digits = key.rsplit_once('/')?.1;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// What is kept under a key of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupKey<'a> {
    /// A `GroupRecord`: the group, or a part of it.
    Group,
    /// A `ParkedRecord` of the event at this position; the key ends with it, after the prefix.
    OnShelf { prefix: &'a str, position: u64 },
}

/// What is kept under `key`; `None` if it is no key of a group.
pub(crate) fn group_key_of(key: &str) -> Option<GroupKey<'_>> {
    let name = key.strip_prefix("group/")?;
    let Some((_, inner)) = name.split_once('\0') else { return Some(GroupKey::Group) };
    match inner.split_once('/')?.0 {
        "since" => Some(GroupKey::Group),
        "parked" | "replay" => {
            let position = shelf_position(key)?;
            Some(GroupKey::OnShelf { prefix: key.get(..key.len() - 20)?, position })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bin;

    #[test]
    fn a_group_has_its_golden_bytes() {
        let filter = FilterRecord {
            streams: vec![],
            categories: vec!["A".into()],
            event_types: vec!["B".into(), "C".into()],
        };
        let tried = vec![TriedRecord { position: 8, attempts: 2, due: -1 }];
        let record = GroupRecord { filter, cursor: 7, finished: vec![(9, 300)], tried };
        let golden = [0, 1, 1, b'A', 2, 1, b'B', 1, b'C', 7, 1, 9, 251, 44, 1, 1, 8, 2, 1];
        bin::check(&record, &golden);
    }

    #[test]
    fn parts_change_the_record_that_they_follow() {
        let tried = |position, attempts| TriedRecord { position, attempts, due: 0 };
        let whole = GroupRecord {
            cursor: 7,
            finished: vec![(9, 12), (20, 30)],
            tried: vec![tried(8, 1), tried(13, 2), tried(31, 1)],
            ..GroupRecord::default()
        };
        let part = |cursor, finished, tried| {
            let filter = FilterRecord { categories: vec!["never".into()], ..Default::default() };
            GroupRecord { filter, cursor, finished, tried }
        };
        assert_eq!(whole.clone().with_parts([]), whole);
        let parts = [
            part(7, vec![(13, 13)], vec![tried(31, 2), tried(40, 1)]),
            part(13, vec![(15, 15), (25, 26)], vec![tried(14, 1), tried(31, 3)]),
        ];
        let changed = whole.with_parts(parts);
        assert_eq!((changed.cursor, &changed.finished[..]), (13, &[(15, 15), (20, 30)][..]));
        assert_eq!(changed.tried, [tried(14, 1), tried(31, 3), tried(40, 1)]);
        assert_eq!(changed.filter, FilterRecord::default());
        assert_eq!(part_key("a", 7), "group/a\0since/00000000000000000007");
    }

    #[test]
    fn a_key_says_what_is_kept_under_it() {
        for key in [group_key("mailer"), group_key("a/b"), part_key("a/b", 3)] {
            assert_eq!(group_key_of(&key), Some(GroupKey::Group), "{key:?}");
        }
        for shelf in [Shelf::Parked, Shelf::Replay] {
            let (key, prefix) = (shelf_key("a/b", shelf, 7), shelf_prefix("a/b", shelf));
            let expected = GroupKey::OnShelf { prefix: &prefix, position: 7 };
            assert_eq!(group_key_of(&key), Some(expected));
        }
        for other in ["process/cursor/P", "group/a\0other/1", "group/a\0parked/1", "tracked/a"] {
            assert_eq!(group_key_of(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_shelf_is_found_by_its_prefix_and_no_other_groups_is() {
        let key = shelf_key("mailer", Shelf::Parked, 42);
        assert_eq!(key, "group/mailer\0parked/00000000000000000042");
        assert_eq!(shelf_position(&key), Some(42));
        assert_eq!(shelf_position("group/mailer"), None);
        assert!(key.starts_with(&shelf_prefix("mailer", Shelf::Parked)));
        for other in [shelf_prefix("mailer", Shelf::Replay), shelf_prefix("mail", Shelf::Parked)] {
            assert!(!key.starts_with(&other), "{other:?}");
        }
    }
}
