//! The parked events of a view: entries among its states, in the order of the events.
//!
//! * An entry holds one event or a run of them. Its key has a position that none of its events is past, and that all
//!   events of later entries are past. So what comes after a position is in the entries from there on.
//! * Code that changes one event of an entry writes the entry again, in the same batch as the event's rows.

use crate::codec::parked::{ParkedEvents, ParkedRecord, Unreadable, decode_entry, encode_entries};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::limits::PARKED_PAGE;
use crate::value::position::Position;
use crate::views::ViewTree;
use crate::views::changes::Change;

const PARKED: &[u8] = b"parked/";

/// An entry with parked events.
pub(super) struct Entry {
    /// The position in its key.
    pub(super) key: u64,
    pub(super) events: ParkedEvents,
}

/// The changes that park `events`, which are after all that are parked.
pub(super) fn parked_changes(events: &[(u64, ParkedRecord)]) -> impl Iterator<Item = Change> {
    let change = |(key, value)| Change::State(parked_name(key), Some(value));
    encode_entries(events).into_iter().map(change)
}

/// The changes that leave `left` of the entry `key`.
pub(super) fn left_changes(
    key: u64,
    left: &[(u64, ParkedRecord)],
) -> impl Iterator<Item = Change> + use<> {
    let entries = encode_entries(left);
    let is_gone = entries.last().is_none_or(|(last, _)| *last != key);
    let removal = is_gone.then(|| Change::State(parked_name(key), None));
    let change = |(key, value)| Change::State(parked_name(key), Some(value));
    removal.into_iter().chain(entries.into_iter().map(change))
}

fn parked_name(position: u64) -> Vec<u8> {
    [PARKED, &position.to_be_bytes()].concat()
}

/// The parked events of a view, in order.
pub(super) fn parked(tree: &ViewTree) -> Result<Vec<(Position, ParkedRecord)>> {
    let mut all = Vec::new();
    each_parked(tree, |position, record| {
        all.push((position, record));
        Ok(())
    })?;
    Ok(all)
}

/// How many events of a view are parked.
pub(super) fn count_parked(tree: &ViewTree) -> Result<u64> {
    let mut count = 0;
    each_parked(tree, |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Calls `each` with the parked events of a view, in order, some of which are in memory at a time.
pub(super) fn each_parked(
    tree: &ViewTree,
    mut each: impl FnMut(Position, ParkedRecord) -> Result<()>,
) -> Result<()> {
    let mut after = Position::START;
    loop {
        let page = entries_after(tree, after)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Position::new(last.key);
        for (position, record) in page.into_iter().flat_map(|entry| entry.events) {
            each(Position::new(position), record)?;
        }
    }
}

/// The next entries, in order, that may hold parked events after `after`; none, if there are no such events.
pub(super) fn entries_after(tree: &ViewTree, after: Position) -> Result<Vec<Entry>> {
    let first = parked_name(after.get().saturating_add(1));
    let entries = tree.states_from(PARKED, &first, PARKED_PAGE)?.into_iter();
    let entries = entries.map(|(name, value)| {
        let key = name[PARKED.len()..].try_into().map(u64::from_be_bytes);
        let key = key.map_err(|_| damaged(tree, "its key is not a position"))?;
        let events = decode_entry(key, &value).map_err(|why| match why {
            Unreadable::Damaged(what) => damaged(tree, what),
            Unreadable::Form(form) => {
                let message = format!(
                    "parked events in {} have the form {form}, which this version does not know; it knows form 1",
                    tree.name()
                );
                Error::new(ErrorKind::UnsupportedFormat, message)
            }
        })?;
        Ok(Entry { key, events })
    });
    entries.collect()
}

fn damaged(tree: &ViewTree, what: impl std::fmt::Display) -> Error {
    let message = format!("a parked event in {} is damaged: {what}", tree.name());
    Error::new(ErrorKind::Corrupt, message)
}
