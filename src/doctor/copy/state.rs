//! The engine's own state in a copy: where consumer groups and processes are.
//!
//! It is told in positions and versions of the log, which are others in the copy. So its newest form is gathered
//! first; then the copy notes where the positions that it names have come to; then it is written with these.
//!
//! * Deadlines name none, and there may be millions of them. They are copied where they stand.
//! * What is finished up to a position is finished up to the last event that takes the place of those up to there.
//! * Finished ranges, parked events and attempts go to what takes their place, or are gone with it.
//! * A process that is to go on at an event, or with the effect of one, needs that one event. If the copy does not have
//!   just one in its place, it is refused.

use crate::codec::bin::{decode, encode};
use crate::codec::frame::Frame;
use crate::codec::group::{GroupKey, GroupRecord, group_key_of};
use crate::codec::process::{
    Cursor, ParkedStep, ProcessKey, StoredPosition, StoredStep, WaitsFrom, aside_prefix,
    aside_suffix, decode_cursor, given_up_key, move_cursor, process_key_of,
};
use crate::codec::record::Record;
use crate::doctor::copy::versions::Versions;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::COPY_STATE_BYTES_MAX;
use std::collections::BTreeMap;

/// Whether `record` is the same in the copy: it says no position or version of the log.
pub(super) fn stays(record: &Record) -> bool {
    match record {
        Record::Tracked { .. } => true,
        Record::State { .. } if failpoint!("doctor::hold_deadlines") => false,
        Record::State { key, .. } => process_key_of(key) == Some(ProcessKey::Deadline),
    }
}

/// Bytes that a key and its value are counted with besides their own.
const RECORD_BYTES: usize = 64;

/// The newest value of each key.
#[derive(Default)]
pub(super) struct KeptState {
    values: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl KeptState {
    /// Takes in the records of a frame. `unreadable` is the error for one that cannot be read.
    pub(super) fn see(
        &mut self,
        frame: &Frame,
        unreadable: impl Fn(Corruption) -> Error,
    ) -> Result<()> {
        let mut entries = frame.entries();
        while let Some(record) = entries.next_record() {
            let record = record.and_then(|bytes| Record::decode(&bytes));
            match record.map_err(&unreadable)? {
                record if stays(&record) => {}
                Record::State { key, value } => self.put(key, value)?,
                Record::Tracked { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn put(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        let counted = |value: &Vec<u8>| key.len() + value.len() + RECORD_BYTES;
        self.bytes -= self.values.get(&key).map_or(0, counted);
        if value.is_empty() {
            self.values.remove(&key);
            return Ok(());
        }
        self.bytes += counted(&value);
        if self.bytes > COPY_STATE_BYTES_MAX {
            let what = "the state of consumer groups and processes";
            return Err(Error::too_large(what, self.bytes, COPY_STATE_BYTES_MAX, "bytes or more"));
        }
        self.values.insert(key, value);
        Ok(())
    }

    /// The same in the copy, whose events are all written.
    pub(super) fn moved(
        self,
        moves: &Moves,
        versions: &Versions,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let mut moved = KeptState::default();
        for (key, value) in self.values {
            if failpoint!("doctor::copy_with_old_cursors") {
                moved.put(key, value)?;
                continue;
            }
            let mut after = |position| moves.after(position);
            let is_moved = |stream: &str| versions.has_moved(stream);
            for (key, value) in of_record(&key, &value, &mut after, &is_moved)? {
                moved.put(key, value)?;
            }
        }
        Ok(moved.values.into_iter().collect())
    }
}

/// Where the positions that the state names have come to in the copy.
pub(super) struct Moves {
    /// These positions, in order.
    positions: Vec<u64>,
    /// For the first of them: the position in the copy after whose event all that is up to there is written.
    after: Vec<u64>,
    /// The same for the last position that was passed.
    last: u64,
}

impl Moves {
    /// The positions that `state` names.
    pub(super) fn of(state: &KeptState) -> Result<Moves> {
        let mut positions = Vec::new();
        for (key, value) in &state.values {
            let mut note = |position| {
                positions.push(position);
                position
            };
            of_record(key, value, &mut note, &|_| false)?;
        }
        positions.sort_unstable();
        positions.dedup();
        let mut moves = Moves { positions, after: Vec::new(), last: 0 };
        moves.pass(0, 0);
        Ok(moves)
    }

    /// Everything up to `position` is written, up to the position `after` of the copy.
    pub(super) fn pass(&mut self, position: u64, after: u64) {
        self.last = after;
        if self.positions.get(self.after.len()) == Some(&position) {
            self.after.push(after);
        }
    }

    fn after(&self, position: u64) -> u64 {
        let place = self.positions.binary_search(&position).unwrap_or_else(|place| place);
        self.after.get(place).copied().unwrap_or(self.last)
    }
}

/// Says of a position where in the copy everything up to it ends.
type After<'a> = &'a mut dyn FnMut(u64) -> u64;

/// The events in the copy that take the place of those from `first` to `last`: the first and the last of them, which is
/// the smaller one if there are none.
fn range(first: u64, last: u64, after: After<'_>) -> (u64, u64) {
    (after(first.saturating_sub(1)) + 1, after(last))
}

/// What is kept in the copy in place of `value` under `key`. `is_moved` says whether versions of a stream have moved.
fn of_record(
    key: &str,
    value: &[u8],
    after: After<'_>,
    is_moved: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>> {
    let failed = |what: Corruption| {
        let message = format!("the state under {key:?} cannot be read: {what}");
        Error::new(ErrorKind::Corrupt, message)
    };
    if let Some(of_group) = group_key_of(key) {
        return of_group_key(of_group, key, value, after).map_err(failed);
    }
    let Some(of_process) = process_key_of(key) else {
        let message = format!("the state under {key:?} has a key that this version does not know");
        return Err(Error::new(ErrorKind::UnsupportedFormat, message));
    };
    let (mut key, mut value) = (key.to_owned(), value.to_vec());
    match of_process {
        ProcessKey::Deadline => {}
        ProcessKey::Cursor => match decode_cursor(&value).map_err(failed)? {
            Cursor::At(position) => value = move_cursor(&value, after(position)),
            Cursor::Newer(form) => {
                let message =
                    format!("the state under {key:?} has the form {form}, which is newer");
                return Err(Error::new(ErrorKind::UnsupportedFormat, message));
            }
        },
        ProcessKey::Effects(stream) if is_moved(stream) => {
            return Err(unclear(stream, "has effects to come of events"));
        }
        ProcessKey::Effects(_) => {}
        ProcessKey::Waits => {
            let WaitsFrom { position } = decode(&value).map_err(failed)?;
            value = encode(&WaitsFrom { position: range(position, position, after).0 });
        }
        ProcessKey::Done => {
            let StoredPosition { position } = decode(&value).map_err(failed)?;
            value = encode(&StoredPosition { position: after(position) });
        }
        ProcessKey::GivenUp { name, position } => {
            let (first, last) = range(position, position, after);
            let given_up =
                |position| (given_up_key(name, position), encode(&StoredPosition { position }));
            return Ok((first..=last).map(given_up).collect());
        }
        ProcessKey::Parked(stream) => {
            value = encode(&of_step(decode(&value).map_err(failed)?, stream, after, is_moved)?);
        }
        ProcessKey::Aside { name, id } => {
            let parked = decode(&value).map_err(failed)?;
            let parked = of_step(parked, &format!("{name}-{id}"), after, is_moved)?;
            let moved = format!("{}{}", aside_prefix(name), aside_suffix(parked.step, id));
            (key, value) = (moved, encode(&parked));
        }
    }
    Ok(vec![(key, value)])
}

fn of_group_key(
    of: GroupKey<'_>,
    key: &str,
    value: &[u8],
    after: After<'_>,
) -> Result<Vec<(String, Vec<u8>)>, Corruption> {
    match of {
        GroupKey::Group => {
            let group: GroupRecord = decode(value)?;
            let finished =
                group.finished.into_iter().map(|(first, last)| range(first, last, after));
            let finished = finished.filter(|(first, last)| first <= last).collect();
            let mut tried = group.tried;
            tried.retain_mut(|tried| {
                let (first, last) = range(tried.position, tried.position, after);
                // The attempts were made at what was there as a whole.
                tried.position = first;
                first <= last
            });
            let group = GroupRecord { cursor: after(group.cursor), finished, tried, ..group };
            Ok(vec![(key.to_owned(), encode(&group))])
        }
        GroupKey::OnShelf { prefix, position } => {
            let (first, last) = range(position, position, after);
            Ok((first..=last).map(|now| (format!("{prefix}{now:020}"), value.to_vec())).collect())
        }
    }
}

/// The step of the process's instance with `stream` in the copy.
fn of_step(
    parked: ParkedStep,
    stream: &str,
    after: After<'_>,
    is_moved: &dyn Fn(&str) -> bool,
) -> Result<ParkedStep> {
    let mut one = |position: u64| match range(position, position, after) {
        (first, last) if first == last => Ok(first),
        _ => Err(unclear(stream, &format!("is parked at the event at position {position}"))),
    };
    let step = match parked.step {
        StoredStep::Event(position) => StoredStep::Event(one(position)?),
        StoredStep::Route(position) => StoredStep::Route(one(position)?),
        StoredStep::Effect(_) if is_moved(stream) => {
            return Err(unclear(stream, "is parked at the effect of an event"));
        }
        step @ (StoredStep::Effect(_) | StoredStep::Deadline(_)) => step,
    };
    Ok(ParkedStep { step, ..parked })
}

/// The error for a process's instance with `stream` that could not go on in the copy.
fn unclear(stream: &str, what: &str) -> Error {
    let message = format!(
        "{stream}, an instance of a process, {what} that the copy does not have as one event at a known place: let it \
         go on, or skip it, before the store is copied"
    );
    Error::invalid(message)
}
