//! The state of a process in the journal besides its own events: its position, and the pending effects, waiting events,
//! pending deadlines and parked steps of its instances.
//!
//! * It is written with the own events that it belongs to, except for two things that may lag in the journal, because
//!   repeating them does no harm: the position past events that led to nothing, and the end of an effect that returned
//!   no events. The next commit writes both.
//! * After a failed commit, all of it is loaded again.

use crate::codec::process::{
    Alarm, Cursor, ParkedStep, StoredPosition, StoredStep, WaitsFrom, aside_id, aside_prefix,
    aside_suffix, cursor_key, deadline_prefix, decode, decode_cursor, decode_effects, done_key,
    effects_prefix, encode, encode_cursor, encode_effects, given_up_prefix, parked_prefix,
    waits_prefix,
};
use crate::log::core::Log;
use crate::model::process::deadlines::Deadlines;
use crate::model::process::pending::Pending;
use crate::model::process::schedule::{Id, Schedule};
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(super) struct DurableState {
    name: &'static str,
    /// Every event up to this position is ingested, or waits for its instance, or is not wanted.
    position: Position,
    /// The position in the journal; `None` if there is none.
    written: Option<Position>,
    /// In the journal: everything up to here is done, including effects. It may be less than what is done, but is never
    /// more.
    done: Position,
    /// The pending effects in the journal.
    effects: HashMap<Id, Pending>,
    /// The position in the journal from which an instance's events wait.
    waits: HashMap<Id, Position>,
    /// Instances whose effects and waiting events may differ from the journal's.
    touched: HashSet<Id>,
    /// Other records that the journal does not have yet, by key. An empty value removes the key.
    unwritten: BTreeMap<String, Vec<u8>>,
    /// Alarms that the journal does not have yet.
    alarms: HashMap<Id, Option<Alarm>>,
    /// How many instances wait for a deadline.
    armed: u64,
    /// The step at which each parked instance stopped.
    parked: HashMap<Id, StoredStep>,
    /// Steps that are parked alone, by the instance's id.
    aside: BTreeSet<(Id, StoredStep)>,
    /// Events that no instance is to get when they are read again.
    given_up: BTreeSet<Position>,
}

/// The state of a process after a restart.
pub(super) struct Found<E> {
    pub(super) kept: DurableState,
    pub(super) schedule: Schedule<E>,
    pub(super) deadlines: Deadlines,
}

impl DurableState {
    fn new(name: &'static str, written: Option<Position>) -> DurableState {
        DurableState {
            name,
            position: written.unwrap_or(Position::START),
            written,
            done: Position::START,
            effects: HashMap::new(),
            waits: HashMap::new(),
            touched: HashSet::new(),
            unwritten: BTreeMap::new(),
            alarms: HashMap::new(),
            armed: 0,
            parked: HashMap::new(),
            aside: BTreeSet::new(),
            given_up: BTreeSet::new(),
        }
    }

    pub(super) fn load<E>(log: &Log, name: &'static str) -> Result<Found<E>> {
        let cursor = log.record(&cursor_key(name))?.map(|bytes| decode_cursor(&bytes)).transpose();
        let written = match cursor.map_err(|what| damaged(name, &what))? {
            Some(Cursor::Newer(form)) => return Err(newer(name, form)),
            Some(Cursor::At(position)) => Some(Position::new(position)),
            None => None,
        };
        let mut kept = DurableState::new(name, written);
        if let Some(done) = log.record(&done_key(name))? {
            let done: StoredPosition = decode(&done).map_err(|what| damaged(name, &what))?;
            kept.done = Position::new(done.position).min(kept.position);
        }
        for (id, ranges) in load(log, name, &effects_prefix(name), decode_effects)? {
            kept.effects.insert(id.into(), Pending::of(ranges));
        }
        for (id, waits) in load(log, name, &waits_prefix(name), decode::<WaitsFrom>)? {
            kept.waits.insert(id.into(), Position::new(waits.position));
        }
        for (id, parked) in load(log, name, &parked_prefix(name), decode::<ParkedStep>)? {
            kept.parked.insert(id.into(), parked.step);
        }
        for (suffix, parked) in load(log, name, &aside_prefix(name), decode::<ParkedStep>)? {
            let id = aside_id(&suffix).map_err(|what| damaged(name, &what))?;
            kept.aside.insert((id.into(), parked.step));
        }
        for (_, event) in load(log, name, &given_up_prefix(name), decode::<StoredPosition>)? {
            kept.given_up.insert(Position::new(event.position));
        }
        let schedule = kept.schedule();
        let deadlines = kept.load_deadlines(log, &schedule)?;
        Ok(Found { kept, schedule, deadlines })
    }

    /// A schedule of the instances that have something to do.
    fn schedule<E>(&self) -> Schedule<E> {
        let mut schedule = Schedule::new();
        let ids: HashSet<&Id> =
            self.effects.keys().chain(self.waits.keys()).chain(self.parked.keys()).collect();
        for id in ids {
            let effects = self.effects.get(id).cloned().unwrap_or_default();
            schedule.restore(id, effects, self.waits.get(id).copied(), self.done);
        }
        for id in self.parked.keys().filter(|_| !failpoint!("process::forget_what_is_parked")) {
            schedule.park(id);
        }
        schedule
    }

    /// Loads the nearest deadlines of the instances that have nothing else to do.
    pub(super) fn load_deadlines<E>(
        &mut self,
        log: &Log,
        schedule: &Schedule<E>,
    ) -> Result<Deadlines> {
        let mut deadlines = Deadlines::new();
        self.fill(log, schedule, &mut deadlines)?;
        Ok(deadlines)
    }

    fn fill<E>(
        &mut self,
        log: &Log,
        schedule: &Schedule<E>,
        deadlines: &mut Deadlines,
    ) -> Result<()> {
        let (name, prefix) = (self.name, deadline_prefix(self.name));
        let mut armed = 0;
        log.visit_records(&prefix, |key, value| {
            let alarm: Alarm = decode(value).map_err(|what| damaged(name, &what))?;
            let id = &key[prefix.len()..];
            if !alarm.fired {
                armed += 1;
                if !schedule.is_active(id) {
                    deadlines.put(&id.into(), alarm.due);
                }
            }
            Ok(())
        })?;
        self.armed = armed;
        Ok(())
    }

    /// The position up to which everything is ingested, or waits for its instance.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The position up to which everything is done, including effects.
    pub(super) fn done<E>(&self, schedule: &Schedule<E>) -> Position {
        if failpoint!("process::claim_before_effects") {
            return self.position;
        }
        schedule.floor().map_or(self.position, |floor| floor.min(self.position))
    }

    /// The same in the journal, which may be less.
    pub(super) fn done_at_last_commit(&self) -> Position {
        self.done
    }

    /// Moves the position to `position`, unless it is past it.
    pub(super) fn pass(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    /// Whether the process has never written a position.
    pub(super) fn is_new(&self) -> bool {
        self.written.is_none()
    }

    /// How many events would be ingested again after a crash.
    pub(super) fn ahead(&self) -> u64 {
        self.position.get() - self.written.map_or(0, Position::get)
    }

    /// How many instances and records the journal may lack.
    pub(super) fn lagging(&self) -> usize {
        self.touched.len() + self.unwritten.len()
    }

    /// How many instances wait for a deadline.
    pub(super) fn deadlines(&self) -> u64 {
        self.armed
    }

    /// Notes that the effects or waiting events of the instance `id` may differ from the journal's.
    pub(super) fn touch(&mut self, id: &Id) {
        self.touched.insert(Arc::clone(id));
    }

    /// Notes that the instance `id` has nothing left to do. The journal lags only if it has effects or waiting events
    /// of the instance.
    pub(super) fn touch_retired(&mut self, id: &Id) {
        if self.effects.contains_key(id) || self.waits.contains_key(id) {
            self.touch(id);
        } else {
            self.touched.remove(id);
        }
    }

    /// The alarm of the instance `id`, if the journal does not have it yet.
    pub(super) fn unwritten_alarm(&self, id: &str) -> Option<Option<Alarm>> {
        self.alarms.get(id).copied()
    }

    /// Sets the alarm of the instance `id` from `before` to `after`.
    pub(super) fn set_alarm(&mut self, id: &Id, before: Option<Alarm>, after: Option<Alarm>) {
        if before == after {
            return;
        }
        let counts = |alarm: Option<Alarm>| u64::from(alarm.is_some_and(|alarm| !alarm.fired));
        self.armed = (self.armed + counts(after)).saturating_sub(counts(before));
        let value = after.as_ref().map(encode).unwrap_or_default();
        self.unwritten.insert(format!("{}{id}", deadline_prefix(self.name)), value);
        self.alarms.insert(Arc::clone(id), after);
    }

    /// The step at which the parked instance `id` stopped.
    pub(super) fn parked_at(&self, id: &str) -> Option<StoredStep> {
        self.parked.get(id).copied()
    }

    /// How many instances and single steps are parked.
    pub(super) fn parked(&self) -> usize {
        self.parked.len() + self.aside.len()
    }

    pub(super) fn park(&mut self, id: &Id, parked: &ParkedStep) {
        self.parked.insert(Arc::clone(id), parked.step);
        self.unwritten.insert(format!("{}{id}", parked_prefix(self.name)), encode(parked));
        self.touch(id);
    }

    pub(super) fn unpark(&mut self, id: &Id) {
        self.parked.remove(id);
        self.unwritten.insert(format!("{}{id}", parked_prefix(self.name)), Vec::new());
        self.touch(id);
    }

    /// Parks one step alone.
    pub(super) fn set_aside(&mut self, id: &Id, parked: &ParkedStep) {
        self.aside.insert((Arc::clone(id), parked.step));
        self.unwritten.insert(self.aside_key(id, parked.step), encode(parked));
    }

    /// Removes a step that is parked alone.
    pub(super) fn take_back(&mut self, id: &Id, step: StoredStep) {
        self.aside.remove(&(Arc::clone(id), step));
        self.unwritten.insert(self.aside_key(id, step), Vec::new());
    }

    /// Whether the step is parked alone.
    pub(super) fn is_aside(&self, id: &Id, step: StoredStep) -> bool {
        self.aside.contains(&(Arc::clone(id), step))
    }

    /// The steps of the instance `id` that are parked alone, in order.
    pub(super) fn aside(&self, id: &str) -> Vec<StoredStep> {
        let from = (Id::from(id), StoredStep::Event(0));
        let of_it = self.aside.range(from..).take_while(|(of, _)| &**of == id);
        of_it.map(|(_, step)| *step).collect()
    }

    fn aside_key(&self, id: &str, step: StoredStep) -> String {
        format!("{}{}", aside_prefix(self.name), aside_suffix(step, id))
    }

    /// The records that the next commit must write.
    pub(super) fn records<E>(&self, schedule: &Schedule<E>) -> Vec<(String, Vec<u8>)> {
        let mut records: Vec<_> =
            self.unwritten.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for id in &self.touched {
            let effects = schedule.effects(id);
            if self.effects.get(id).is_none_or(|before| *before != effects)
                && (self.effects.contains_key(id) || !effects.is_empty())
                && !failpoint!("process::forget_effects_to_come")
            {
                let value = match effects.is_empty() {
                    true => Vec::new(),
                    false => encode_effects(&effects.ranges()),
                };
                records.push((format!("{}{id}", effects_prefix(self.name)), value));
            }
            let from = schedule.waits_from(id).filter(|_| !failpoint!("process::forget_who_waits"));
            if self.waits.get(id).copied() != from {
                let waits = from.map(|from| encode(&WaitsFrom { position: from.get() }));
                let key = format!("{}{id}", waits_prefix(self.name));
                records.push((key, waits.unwrap_or_default()));
            }
        }
        let done = self.done(schedule);
        // Where nothing is under way, the cursor says as much.
        if done != self.done && done < self.position {
            let done = encode(&StoredPosition { position: done.get() });
            records.push((done_key(self.name), done));
        }
        let past_some = !self.waits.is_empty()
            || self.parked() > 0
            || self.touched.iter().any(|id| schedule.waits_from(id).is_some());
        records.push((cursor_key(self.name), encode_cursor(self.position.get(), past_some)));
        records
    }

    /// Notes that a commit has made all of it durable.
    pub(super) fn written<E>(&mut self, schedule: &Schedule<E>) {
        self.written = Some(self.position);
        let done = self.done(schedule);
        if done < self.position {
            self.done = done;
        }
        for id in self.touched.drain() {
            match schedule.effects(&id) {
                none if none.is_empty() => drop(self.effects.remove(&id)),
                effects => drop(self.effects.insert(Arc::clone(&id), effects)),
            }
            match schedule.waits_from(&id) {
                None => drop(self.waits.remove(&id)),
                Some(from) => drop(self.waits.insert(id, from)),
            }
        }
        self.unwritten.clear();
        self.alarms.clear();
    }
}

/// The values of the keys that begin with `prefix`, by the rest of the key.
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

pub(super) fn damaged(name: &str, what: impl std::fmt::Display) -> Error {
    let message = format!("the durable state of process {name} is damaged: {what}");
    Error::new(ErrorKind::Corrupt, message)
}

fn newer(name: &str, form: u64) -> Error {
    let message = format!(
        "the durable state of process {name} has the form {form}, which only a newer version knows"
    );
    Error::new(ErrorKind::UnsupportedFormat, message)
}

mod given_up;
#[cfg(test)]
mod tests;
