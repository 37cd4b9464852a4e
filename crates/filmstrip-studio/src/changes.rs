//! What is different between two states, as rows of the later one.

use crate::json::{Kind, Row, Rows};
use std::collections::{HashMap, HashSet};

/// How a row came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Same,
    Added,
    /// The text before.
    Changed(String),
    Removed,
}

/// The rows of `after`, each with what became of it since `before`, and those that are gone at their places.
pub(crate) fn changes(before: Option<&Rows>, after: Rows) -> Vec<(Row, Change)> {
    let before = before.map_or(&[][..], |rows| &rows.rows);
    let kept: HashSet<u64> = after.rows.iter().map(|row| row.path).collect();
    let old: HashMap<u64, &Row> = before.iter().map(|row| (row.path, row)).collect();
    let mut gone = gone(before, &kept);
    let mut rows = gone.remove(&None).unwrap_or_default();
    for row in after.rows {
        let change = match old.get(&row.path) {
            None => Change::Added,
            Some(was) if (was.kind, &was.text) == (row.kind, &row.text) => Change::Same,
            Some(was) if was.kind == Kind::Group => Change::Changed("…".to_owned()),
            Some(was) => Change::Changed(was.text.clone()),
        };
        let removed = gone.remove(&Some(row.path));
        rows.push((row, change));
        rows.extend(removed.into_iter().flatten());
    }
    rows
}

type Gone = HashMap<Option<u64>, Vec<(Row, Change)>>;

/// The rows that are not kept, each list after the path of the row before it that is.
fn gone(before: &[Row], kept: &HashSet<u64>) -> Gone {
    let mut gone = Gone::new();
    let mut place = None;
    for row in before {
        match kept.contains(&row.path) {
            true => place = Some(row.path),
            false => gone.entry(place).or_default().push((row.clone(), Change::Removed)),
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::rows;

    #[test]
    fn added_changed_and_removed_values_are_marked() {
        let before = rows(br#"{"name":"Ada","city":"Bath","tags":["a","b"]}"#, false).unwrap();
        let after = rows(br#"{"name":"Ada","city":"York","tags":["a"],"age":36}"#, false).unwrap();
        let changed: Vec<_> = changes(Some(&before), after)
            .into_iter()
            .filter(|(_, change)| *change != Change::Same)
            .map(|(row, change)| (row.key.unwrap(), row.text, change))
            .collect();
        let text = str::to_owned;
        assert_eq!(
            changed,
            [
                (text("city"), text("York"), Change::Changed(text("Bath"))),
                (text("1"), text("b"), Change::Removed),
                (text("age"), text("36"), Change::Added),
            ]
        );
    }

    #[test]
    fn without_a_state_before_everything_is_added() {
        let after = rows(br#"{"a":1}"#, false).unwrap();
        assert!(changes(None, after).iter().all(|(_, change)| *change == Change::Added));
    }
}
