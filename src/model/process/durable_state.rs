//! The state of a process in the journal besides its own events: its position, its pending deadlines and its pending
//! effects.
//!
//! * This state equals the journal's, except for two things that may lag there, because repeating them does no harm:
//!   the position past events that led to nothing, and the end of an effect that returned no events. The next commit
//!   writes both.

use crate::codec::process::{
    Alarm, ProcessCursor, cursor_key, deadline_prefix, decode, decode_effects, effects_prefix,
    encode, encode_effects,
};
use crate::log::core::Log;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::position::Position;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) struct DurableState {
    name: &'static str,
    /// Every event up to this position is ingested, or not wanted.
    position: Position,
    /// The position in the journal; `None` if there is none.
    written: Option<Position>,
    alarms: BTreeMap<String, Alarm>,
    /// The alarms that have not fired, by time.
    due: BTreeSet<(i64, String)>,
    /// The own events of each instance whose effects are pending.
    effects: BTreeMap<String, Pending>,
    /// The instances that have more pending effects in the journal than here.
    unwritten: BTreeSet<String>,
}

/// The versions of own events whose effects are pending, as ranges, because a reaction's events are consecutive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pending(VecDeque<(u64, u64)>);

impl Pending {
    fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Pending {
        let mut pending = Pending::default();
        for (first, last) in ranges {
            pending.extend(first, last);
        }
        pending
    }

    fn first(&self) -> Option<u64> {
        self.0.front().map(|(first, _)| *first)
    }

    /// Removes the first version.
    pub(super) fn without_first(mut self) -> Pending {
        match self.0.front_mut() {
            Some(range) if range.0 < range.1 => range.0 += 1,
            _ => drop(self.0.pop_front()),
        }
        self
    }

    /// Adds the versions from `first` to `last`, which must be after all others; none if `last` is less than `first`.
    pub(super) fn extend(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        match self.0.back_mut() {
            Some((_, before)) if *before + 1 == first => *before = last,
            _ => self.0.push_back((first, last)),
        }
    }
}

/// The change that a commit makes to the durable state.
pub(super) struct Change {
    pub(super) position: Position,
    pub(super) instance: Option<InstanceChange>,
}

pub(super) struct InstanceChange {
    pub(super) id: String,
    pub(super) alarm: Option<Alarm>,
    pub(super) effects: Pending,
}

impl DurableState {
    pub(super) fn load(log: &Log, name: &'static str) -> Result<DurableState> {
        let cursor = log.record(&cursor_key(name))?;
        let cursor = cursor.map(|bytes| decode::<ProcessCursor>(&bytes)).transpose();
        let cursor = cursor.map_err(|what| damaged(name, &what))?;
        let written = cursor.map(|cursor| Position::new(cursor.position));
        let mut kept = DurableState {
            name,
            position: written.unwrap_or(Position::START),
            written,
            alarms: BTreeMap::new(),
            due: BTreeSet::new(),
            effects: BTreeMap::new(),
            unwritten: BTreeSet::new(),
        };
        for (id, alarm) in load(log, name, &deadline_prefix(name), decode)? {
            kept.set_alarm(id, Some(alarm));
        }
        for (id, ranges) in load(log, name, &effects_prefix(name), decode_effects)? {
            kept.set_effects(&id, Pending::of(ranges));
        }
        Ok(kept)
    }

    /// The position up to which everything is ingested.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Moves the position over events that led to nothing.
    pub(super) fn pass(&mut self, position: Position) {
        self.position = position;
    }

    /// Whether the process has never written a position.
    pub(super) fn is_new(&self) -> bool {
        self.written.is_none()
    }

    /// How many events would be ingested again after a crash.
    pub(super) fn ahead(&self) -> u64 {
        self.position.get() - self.written.map_or(0, Position::get)
    }

    /// Whether effects are done that are still pending in the journal.
    pub(super) fn has_unwritten_effects(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// The next deadline.
    pub(super) fn next_due(&self) -> Option<(i64, &str)> {
        self.due.first().map(|(due, id)| (*due, id.as_str()))
    }

    /// How many instances wait for a deadline.
    pub(super) fn deadlines(&self) -> u64 {
        self.due.len() as u64
    }

    /// The alarm of the instance `id` if its state wants to be woken at `due`. A deadline that has fired does not
    /// fire again, however long the state returns it.
    pub(super) fn rearmed(&self, id: &str, due: Option<i64>, fired: bool) -> Option<Alarm> {
        let due = due?;
        let same = self.alarms.get(id).filter(|alarm| alarm.due == due);
        Some(Alarm { due, fired: same.is_some_and(|alarm| alarm.fired || fired) })
    }

    /// The next own event whose effect is pending, by instance and version.
    pub(super) fn next_effect(&self) -> Option<(String, u64)> {
        let (id, pending) = self.effects.first_key_value()?;
        pending.first().map(|version| (id.clone(), version))
    }

    /// The own events of the instance `id` whose effects are pending.
    pub(super) fn effects_of(&self, id: &str) -> Pending {
        self.effects.get(id).cloned().unwrap_or_default()
    }

    /// Marks the first effect of the instance `id` as done. It returned no events.
    pub(super) fn effect_done(&mut self, id: &str) {
        let effects = self.effects_of(id).without_first();
        self.set_effects(id, effects);
        self.unwritten.insert(id.to_owned());
    }

    /// The records that a commit must write for `change`, and for done effects that the journal does not have yet.
    pub(super) fn records(&self, change: &Change) -> Vec<(String, Vec<u8>)> {
        let cursor = ProcessCursor { position: change.position.get() };
        let mut records = vec![(cursor_key(self.name), encode(&cursor))];
        let changed = change.instance.as_ref();
        if let Some(InstanceChange { id, alarm, effects }) = changed {
            if self.alarms.get(id) != alarm.as_ref() {
                let alarm = alarm.as_ref().map(encode).unwrap_or_default();
                records.push((format!("{}{id}", deadline_prefix(self.name)), alarm));
            }
            if self.effects_of(id) != *effects || self.unwritten.contains(id) {
                records.push(self.effects_record(id, effects));
            }
        }
        let others = self.unwritten.iter().filter(|id| changed.is_none_or(|c| c.id != **id));
        records.extend(others.map(|id| self.effects_record(id, &self.effects_of(id))));
        records
    }

    fn effects_record(&self, id: &str, Pending(ranges): &Pending) -> (String, Vec<u8>) {
        let value = match ranges.is_empty() {
            true => Vec::new(),
            false => encode_effects(&ranges.iter().copied().collect::<Vec<_>>()),
        };
        (format!("{}{id}", effects_prefix(self.name)), value)
    }

    /// Applies a change that a commit has made durable.
    pub(super) fn apply(&mut self, change: Change) {
        self.position = change.position;
        self.written = Some(change.position);
        self.unwritten.clear();
        if let Some(InstanceChange { id, alarm, effects }) = change.instance {
            self.set_effects(&id, effects);
            self.set_alarm(id, alarm);
        }
    }

    fn set_effects(&mut self, id: &str, effects: Pending) {
        match effects.0.is_empty() {
            true => self.effects.remove(id),
            false => self.effects.insert(id.to_owned(), effects),
        };
    }

    fn set_alarm(&mut self, id: String, alarm: Option<Alarm>) {
        if let Some(before) = self.alarms.get(&id) {
            self.due.remove(&(before.due, id.clone()));
        }
        let Some(alarm) = alarm else {
            self.alarms.remove(&id);
            return;
        };
        if !alarm.fired {
            self.due.insert((alarm.due, id.clone()));
        }
        self.alarms.insert(id, alarm);
    }
}

/// The values of the keys that begin with `prefix`, by the rest of the key: an instance's id.
fn load<T>(
    log: &Log,
    name: &str,
    prefix: &str,
    decode: impl Fn(&[u8]) -> Result<T, Corruption>,
) -> Result<Vec<(String, T)>> {
    let records = log.records_with_prefix(prefix)?.into_iter();
    let kept = records.map(|(key, value)| {
        let value = decode(&value).map_err(|what| damaged(name, &what))?;
        Ok((key[prefix.len()..].to_owned(), value))
    });
    kept.collect()
}

fn damaged(name: &str, what: impl std::fmt::Display) -> Error {
    let message = format!("the durable state of process {name} is damaged: {what}");
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> DurableState {
        DurableState {
            name: "P",
            position: Position::START,
            written: None,
            alarms: BTreeMap::new(),
            due: BTreeSet::new(),
            effects: BTreeMap::new(),
            unwritten: BTreeSet::new(),
        }
    }

    fn change(position: u64, id: &str, due: Option<i64>, effects: &[u64]) -> Change {
        let alarm = due.map(|due| Alarm { due, fired: false });
        let effects = Pending::of(effects.iter().map(|version| (*version, *version)));
        let instance = InstanceChange { id: id.to_owned(), alarm, effects };
        Change { position: Position::new(position), instance: Some(instance) }
    }

    fn keys(kept: &DurableState, change: &Change) -> Vec<(String, bool)> {
        kept.records(change).into_iter().map(|(key, value)| (key, value.is_empty())).collect()
    }

    #[test]
    fn a_commit_writes_what_has_changed_and_what_the_journal_does_not_know() {
        let mut kept = kept();
        let first = change(1, "a", Some(5), &[1]);
        let cursor = ("process/cursor/P".to_owned(), false);
        let (deadline, effects) = ("process/deadline/P-a", "process/effects/P-a");
        let all = [cursor.clone(), (deadline.to_owned(), false), (effects.to_owned(), false)];
        assert_eq!(keys(&kept, &first), all);
        kept.apply(first);
        assert_eq!(keys(&kept, &change(2, "a", Some(5), &[1])), all[..1]);
        kept.effect_done("a");
        assert!(kept.next_effect().is_none() && kept.has_unwritten_effects());
        let gone = (effects.to_owned(), true);
        let other = Change { position: Position::new(3), instance: None };
        assert_eq!(keys(&kept, &other), [cursor.clone(), gone.clone()]);
        let cancelled = change(3, "a", None, &[]);
        assert_eq!(keys(&kept, &cancelled), [cursor.clone(), (deadline.to_owned(), true), gone]);
        kept.apply(cancelled);
        assert_eq!(keys(&kept, &other), [cursor]);
        assert_eq!((kept.next_due(), kept.ahead()), (None, 0));
    }

    #[test]
    fn a_time_fires_once_and_another_time_fires_again() {
        let mut kept = kept();
        kept.apply(change(1, "a", Some(5), &[]));
        kept.apply(change(1, "b", Some(4), &[]));
        assert_eq!(kept.next_due(), Some((4, "b")));
        assert_eq!(kept.rearmed("a", Some(5), false), Some(Alarm { due: 5, fired: false }));
        let fired = kept.rearmed("a", Some(5), true);
        assert_eq!(fired, Some(Alarm { due: 5, fired: true }));
        kept.set_alarm("a".to_owned(), fired);
        assert_eq!(kept.deadlines(), 1);
        assert_eq!(kept.rearmed("a", Some(5), false), fired, "it would fire again");
        assert_eq!(kept.rearmed("a", Some(6), true), Some(Alarm { due: 6, fired: false }));
        assert_eq!(kept.rearmed("a", None, true), None);
    }
    /// Each effect that returned events wrote the list of all remaining effects: 10,000 effects of one reaction wrote
    /// 150 MB of records. The records of an effect must not grow with the number of effects.
    #[test]
    fn what_is_written_for_an_effect_does_not_grow_with_their_number() {
        const EFFECTS: u64 = 10_000;
        let mut kept = kept();
        let reaction = |position, effects| {
            let instance = InstanceChange { id: "a".to_owned(), alarm: None, effects };
            Change { position: Position::new(position), instance: Some(instance) }
        };
        kept.apply(reaction(1, Pending::of([(1, EFFECTS)])));
        let mut written = 0;
        for done in 1..=EFFECTS {
            assert_eq!(kept.next_effect(), Some(("a".to_owned(), done)));
            let left = kept.effects_of("a").without_first();
            let change = reaction(1, left);
            let records = kept.records(&change);
            written += records.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            kept.apply(change);
        }
        assert_eq!(kept.next_effect(), None);
        assert!(written < EFFECTS as usize * 100, "{written} bytes for {EFFECTS} effects");
    }
}
