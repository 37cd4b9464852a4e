//! A view's rows with changes that are not written yet, in the order of their keys: row by row, none of them copied.

use crate::model::projection::rows::RowSource;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::views::changes::Row;
use crate::views::range::RowRange;
use crate::views::rows::EachRow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::ControlFlow;

/// Changes to rows; `None` deletes one.
pub(crate) type Changes = BTreeMap<String, Option<Row>>;

/// Gives the rows in `range` to `each` until it breaks off: those of `view` as `older` has changed them, and then
/// `newer`.
pub(super) fn scan_merged(
    view: &dyn RowSource,
    older: &Changes,
    newer: &Changes,
    range: &RowRange,
    each: &mut EachRow<'_>,
) -> Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let mut changed = Changed {
        older: in_range(older, range).peekable(),
        newer: in_range(newer, range).peekable(),
        backwards: range.backwards,
    };
    let mut flow = ControlFlow::Continue(());
    view.scan(range, &mut |key, row| {
        while let Some((change_key, change)) = changed.next_up_to(&key) {
            flow = give(change_key, change, each)?;
            if flow.is_break() || change_key == key {
                return Ok(flow);
            }
        }
        flow = each(key, row)?;
        Ok(flow)
    })?;
    if failpoint!("projection::end_with_the_view") {
        return Ok(());
    }
    while flow.is_continue()
        && let Some((key, change)) = changed.next()
    {
        flow = give(key, change, each)?;
    }
    Ok(())
}

/// Gives a row to `each`, unless it was deleted.
fn give(key: &str, row: &Option<Row>, each: &mut EachRow<'_>) -> Result<ControlFlow<()>> {
    match row {
        Some(row) => each(key.to_owned(), &|| Ok(row.bytes.clone())),
        None => Ok(ControlFlow::Continue(())),
    }
}

type Change<'a> = (&'a str, &'a Option<Row>);

fn in_range<'a>(
    changes: &'a Changes,
    range: &RowRange,
) -> Box<dyn Iterator<Item = Change<'a>> + 'a> {
    let changes = changes.range::<str, _>(range.bounds()).map(|(key, row)| (key.as_str(), row));
    if range.backwards { Box::new(changes.rev()) } else { Box::new(changes) }
}

/// Changes of two ages, from one end.
struct Changed<'a> {
    older: Peekable<Box<dyn Iterator<Item = Change<'a>> + 'a>>,
    newer: Peekable<Box<dyn Iterator<Item = Change<'a>> + 'a>>,
    backwards: bool,
}

impl<'a> Changed<'a> {
    fn order(&self, a: &str, b: &str) -> Ordering {
        match self.backwards && !failpoint!("projection::merge_forwards") {
            true => b.cmp(a),
            false => a.cmp(b),
        }
    }

    /// The next one; of two with one key, the newer.
    fn next(&mut self) -> Option<Change<'a>> {
        let (newer, older) = self.peek();
        let order = match (newer, older) {
            (Some(newer), Some(older)) => self.order(newer, older),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => self.newer.next(),
            Ordering::Greater => self.older.next(),
            Ordering::Equal => {
                self.older.next();
                self.newer.next()
            }
        }
    }

    /// The next one, if it is not after `key`.
    fn next_up_to(&mut self, key: &str) -> Option<Change<'a>> {
        let (newer, older) = self.peek();
        let is_due = |next: Option<&str>| next.is_some_and(|next| self.order(next, key).is_le());
        if is_due(newer) || is_due(older) { self.next() } else { None }
    }

    /// The keys of the next one of each age.
    fn peek(&mut self) -> (Option<&'a str>, Option<&'a str>) {
        let key = |change: &Change<'a>| change.0;
        (self.newer.peek().map(key), self.older.peek().map(key))
    }
}
