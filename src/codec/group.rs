//! The durable state of a consumer group, as bincode, under keys of the engine's own state:
//!
//! ```text
//! group/NAME                      the group: a `GroupRecord`
//! group/NAME, NUL, filter         a filter that the group's own record cannot hold: a `LongFilterRecord`
//! group/NAME, NUL, since/N        what has changed since the group was written, part N: a `GroupRecord`
//! group/NAME, NUL, parked/POS     a parked event: a `ParkedRecord`
//! group/NAME, NUL, replay/POS     a parked event that will be tried again: a `ParkedRecord`
//! ```
//!
//! POS is the event's position, and N a number from 0, both in 20 digits. Names have no control characters, so NUL
//! ends a name.

use crate::value::filter_names::{AlternativeNames, FilterNames};
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

/// Which events the group wants, if its filter has one alternative and names no tags. Each list is in order and has no
/// name twice. A category may be followed by the types that are wanted of it, each after a NUL.
///
/// Of any other filter it holds the one stream [`ELSEWHERE`], which no event is in, so that a version which does not
/// know such filters refuses the group instead of handing it everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct FilterRecord {
    pub(crate) streams: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) event_types: Vec<String>,
}

/// What ends the key of a filter that has a record of its own.
const FILTER: &str = "filter";

/// In the place of a filter that has a record of its own.
const ELSEWHERE: &str = "\0filter";

/// A filter of several alternatives or with tags. New kinds of conditions need a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LongFilterRecord {
    /// 1.
    pub(crate) version: u16,
    /// In order.
    pub(crate) alternatives: Vec<AlternativeRecord>,
}

/// An alternative of a filter, in lists as those of [`FilterRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlternativeRecord {
    pub(crate) streams: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) event_types: Vec<String>,
    pub(crate) tags: Vec<String>,
}

/// The version of [`LongFilterRecord`] that this code writes and reads.
const LONG_FILTER_VERSION: u16 = 1;

/// `names` as a group's record holds them, and the record of its own that they have if it cannot.
pub(crate) fn filter_records(names: FilterNames) -> (FilterRecord, Option<LongFilterRecord>) {
    let FilterNames(mut names) = names;
    if let [only] = &mut names[..]
        && only.tags.is_empty()
    {
        let AlternativeNames { streams, categories, event_types, .. } = std::mem::take(only);
        return (FilterRecord { streams, categories, event_types }, None);
    }
    let alternatives = names.into_iter().map(|names| {
        let AlternativeNames { streams, categories, event_types, tags } = names;
        AlternativeRecord { streams, categories, event_types, tags }
    });
    let alternatives = alternatives.collect();
    let elsewhere = FilterRecord { streams: vec![ELSEWHERE.to_owned()], ..FilterRecord::default() };
    (elsewhere, Some(LongFilterRecord { version: LONG_FILTER_VERSION, alternatives }))
}

/// What the filter of a group's record names, whose record of its own, if there is one, is `long`. `None` if it lacks
/// that, or if a later version wrote it.
pub(crate) fn filter_names(
    record: &FilterRecord,
    long: Option<LongFilterRecord>,
) -> Option<FilterNames> {
    if record.streams != [ELSEWHERE] {
        let FilterRecord { streams, categories, event_types } = record.clone();
        let tags = Vec::new();
        let only = AlternativeNames { streams, categories, event_types, tags };
        return Some(FilterNames(vec![only]));
    }
    let LongFilterRecord { version, alternatives } = long?;
    let names = alternatives.into_iter().map(|alternative| {
        let AlternativeRecord { streams, categories, event_types, tags } = alternative;
        AlternativeNames { streams, categories, event_types, tags }
    });
    (version == LONG_FILTER_VERSION).then(|| FilterNames(names.collect()))
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

/// The key of a group's filter that has a record of its own.
pub(crate) fn filter_key(name: &str) -> String {
    format!("group/{name}\0{FILTER}")
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
    /// A `LongFilterRecord`.
    Filter,
    /// A `ParkedRecord` of the event at this position; the key ends with it, after the prefix.
    OnShelf { prefix: &'a str, position: u64 },
}

/// What is kept under `key`; `None` if it is no key of a group.
pub(crate) fn group_key_of(key: &str) -> Option<GroupKey<'_>> {
    let name = key.strip_prefix("group/")?;
    let Some((_, inner)) = name.split_once('\0') else { return Some(GroupKey::Group) };
    if inner == FILTER {
        return Some(GroupKey::Filter);
    }
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

    /// A version that knows no tags would have handed the group everything.
    #[test]
    fn a_filter_with_tags_has_a_record_of_its_own() {
        let names = |tag: &str| AlternativeNames {
            categories: vec!["A".into()],
            tags: vec![tag.into()],
            ..AlternativeNames::default()
        };
        let both = FilterNames(vec![names("x"), names("y")]);
        let (short, long) = filter_records(both.clone());
        assert_eq!(short.streams, ["\0filter"]);
        let golden = [1, 2, 0, 1, 1, b'A', 0, 1, 1, b'x', 0, 1, 1, b'A', 0, 1, 1, b'y'];
        bin::check(long.as_ref().unwrap(), &golden);
        assert_eq!(filter_names(&short, None), None);
        let newer = LongFilterRecord { version: 2, alternatives: vec![] };
        assert_eq!(filter_names(&short, Some(newer)), None);
        assert_eq!(filter_names(&short, long), Some(both));
        let plain = FilterNames(vec![AlternativeNames { tags: vec![], ..names("x") }]);
        let (short, long) = filter_records(plain.clone());
        assert_eq!((&short.categories[..], &long), (&["A".to_owned()][..], &None));
        assert_eq!(filter_names(&short, None), Some(plain));
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
        assert_eq!(group_key_of(&filter_key("a/b")), Some(GroupKey::Filter));
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
