//! The engine's own state in a copy: where consumer groups and processes are.
//!
//! It is told in positions and versions of the log, which are others in the copy. So its newest form is gathered
//! first; then the copy notes where the positions that it names have come to; then it is written with these.
//!
//! * Deadlines name none, and there may be millions of them. They are copied where they stand.
//! * What is finished up to a position is finished up to the last event that takes the place of those up to there.
//! * Finished ranges, parked events and attempts go to what takes their place, or are gone with it.
//! * What a group with a filter of event types has not finished must not become what the filter does not want, because
//!   the group would lose it silently. Such a copy is refused.
//! * A process that is to go on at an event, or with the effect of one, needs that one event. If the copy does not have
//!   just one in its place, it is refused.

use crate::codec::bin::{decode, encode};
use crate::codec::frame::Frame;
use crate::codec::group::{GroupKey, GroupRecord, LongFilterRecord, filter_names, group_key_of};
use crate::codec::parked::ParkedRecord;
use crate::codec::process::{
    Cursor, ParkedStep, ProcessKey, StoredPosition, StoredStep, WaitsFrom, aside_prefix,
    aside_suffix, decode_cursor, given_up_key, move_cursor, process_key_of,
};
use crate::codec::record::Record;
#[cfg(feature = "erasure")]
use crate::codec::record::{FORGETTING, FORGOTTEN};
use crate::codec::step_words::{StepEvent, effect_of_version, moved, names_position};
use crate::doctor::copy::versions::Versions;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter_names::FilterNames;
use crate::value::limits::COPY_STATE_BYTES_MAX;
use std::collections::{BTreeMap, HashSet};

/// Whether `record` is the same in the copy: it says no position or version of the log.
pub(super) fn stays(record: &Record) -> bool {
    match record {
        Record::Tracked { .. } => true,
        Record::State { .. } if failpoint!("doctor::hold_deadlines") => false,
        #[cfg(feature = "erasure")]
        Record::State { key, .. } if key.starts_with(FORGOTTEN) => true,
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
                // A copy has no views that could hold anybody.
                #[cfg(feature = "erasure")]
                Record::State { key, .. } if key == FORGETTING => {}
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
            let known =
                Known { is_moved: &|stream| versions.has_moved(stream), parts: &moves.parts };
            for (key, value) in of_record(&key, &value, &mut after, known)? {
                moved.put(key, value)?;
            }
        }
        Ok(moved.values.into_iter().collect())
    }
}

/// The consumer groups whose filters name event types.
pub(super) struct TypedGroups(Vec<TypedGroup>);

struct TypedGroup {
    name: String,
    record: GroupRecord,
    /// Its filter, if that has a record of its own.
    long: Option<LongFilterRecord>,
    filter: FilterNames,
    parked: HashSet<u64>,
}

impl TypedGroups {
    pub(super) fn of(state: &KeptState) -> Result<TypedGroups> {
        let mut groups: Vec<TypedGroup> = Vec::new();
        // A group comes first, and then what belongs to it.
        for (key, value) in &state.values {
            let Some(of_group) = group_key_of(key) else { continue };
            let name = key.strip_prefix("group/").and_then(|rest| rest.split('\0').next());
            let name = name.unwrap_or_default();
            match (of_group, groups.last_mut().filter(|group| group.name == name)) {
                (GroupKey::OnShelf { position, .. }, Some(group)) => {
                    group.parked.insert(position);
                }
                (GroupKey::Filter, Some(group)) => {
                    group.long = Some(decode(value).map_err(|what| unreadable(key, &what))?);
                }
                (GroupKey::OnShelf { .. } | GroupKey::Filter, None) => {}
                (GroupKey::Group, group) => {
                    let record: GroupRecord =
                        decode(value).map_err(|what| unreadable(key, &what))?;
                    match group {
                        Some(group) => {
                            let whole = std::mem::take(&mut group.record);
                            group.record = whole.with_parts([record]);
                        }
                        None => {
                            let (name, parked) = (name.to_owned(), HashSet::new());
                            let filter = FilterNames(Vec::new());
                            groups.push(TypedGroup { name, record, long: None, filter, parked });
                        }
                    }
                }
            }
        }
        for group in &mut groups {
            let filter = filter_names(&group.record.filter, group.long.take());
            group.filter = filter.ok_or_else(|| {
                let name = &group.name;
                let message = format!("the filter of the consumer group {name:?} cannot be read");
                Error::new(ErrorKind::UnsupportedFormat, message)
            })?;
        }
        groups.retain(|group| group.filter.tells_types());
        Ok(TypedGroups(groups))
    }

    /// Refuses an event of the type `becomes` in the place of `event`, if a group that has not finished it does not
    /// want that.
    pub(super) fn check(&self, event: &RecordedEvent, becomes: &str) -> Result<()> {
        if failpoint!("doctor::take_events_from_groups") {
            return Ok(());
        }
        let (stream, position) = (event.stream.as_str(), event.position.get());
        let loses = |group: &&TypedGroup| {
            let filter = &group.filter;
            (!group.record.is_finished(position) || group.parked.contains(&position))
                && filter.wants(stream, &event.event_type, event.tags())
                && !filter.wants(stream, becomes, event.tags())
        };
        let Some(TypedGroup { name, .. }) = self.0.iter().find(loses) else { return Ok(()) };
        let message = format!(
            "the consumer group {name:?} has not finished it, and its filter, which is fixed, does not want {becomes}: \
             let the group finish it, or remove the group, before the store is copied"
        );
        Err(Error::invalid(message))
    }
}

/// An event of the copy that has the place of another one.
struct Part {
    stream: String,
    event_type: String,
}

/// Where the positions that the state names have come to in the copy.
pub(super) struct Moves {
    /// These positions, in order.
    positions: Vec<u64>,
    /// For the first of them: the position in the copy after whose event all that is up to there is written.
    after: Vec<u64>,
    /// The same for the last position that was passed.
    last: u64,
    /// By their positions in the copy, what was put in the place of events at these positions.
    parts: BTreeMap<u64, Part>,
    parts_bytes: usize,
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
            let known = Known { is_moved: &|_| false, parts: &BTreeMap::new() };
            of_record(key, value, &mut note, known)?;
        }
        positions.sort_unstable();
        positions.dedup();
        let (after, parts) = (Vec::new(), BTreeMap::new());
        let mut moves = Moves { positions, after, last: 0, parts, parts_bytes: 0 };
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

    /// An event of this type is at `now` in the copy, in the place of `event`, which is passed next.
    pub(super) fn put(&mut self, event: &RecordedEvent, event_type: &str, now: u64) -> Result<()> {
        let is_named = self.positions.get(self.after.len()) == Some(&event.position.get());
        if !is_named || failpoint!("doctor::copy_with_old_words") {
            return Ok(());
        }
        let (stream, event_type) = (event.stream.to_string(), event_type.to_owned());
        self.parts_bytes += stream.len() + event_type.len() + RECORD_BYTES;
        if self.parts_bytes > COPY_STATE_BYTES_MAX {
            let what = "what takes the place of events that groups and processes name";
            let (met, allowed) = (self.parts_bytes, COPY_STATE_BYTES_MAX);
            return Err(Error::too_large(what, met, allowed, "bytes or more"));
        }
        self.parts.insert(now, Part { stream, event_type });
        Ok(())
    }

    fn after(&self, position: u64) -> u64 {
        let place = self.positions.binary_search(&position).unwrap_or_else(|place| place);
        self.after.get(place).copied().unwrap_or(self.last)
    }
}

/// What is known of the copy.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// Whether versions of a stream have moved.
    is_moved: &'a dyn Fn(&str) -> bool,
    /// See `Moves`.
    parts: &'a BTreeMap<u64, Part>,
}

/// Says of a position where in the copy everything up to it ends.
type After<'a> = &'a mut dyn FnMut(u64) -> u64;

/// The events in the copy that take the place of those from `first` to `last`: the first and the last of them, which is
/// the smaller one if there are none.
fn range(first: u64, last: u64, after: After<'_>) -> (u64, u64) {
    (after(first.saturating_sub(1)) + 1, after(last))
}

fn unreadable(key: &str, what: &Corruption) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the state under {key:?} cannot be read: {what}"))
}

/// What is kept in the copy in place of `value` under `key`.
fn of_record(
    key: &str,
    value: &[u8],
    after: After<'_>,
    known: Known<'_>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let failed = |what: Corruption| unreadable(key, &what);
    if let Some(of_group) = group_key_of(key) {
        return of_group_key(of_group, key, value, after, known).map_err(failed);
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
        ProcessKey::Effects(stream) if (known.is_moved)(stream) => {
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
            value = encode(&of_step(decode(&value).map_err(failed)?, stream, after, known)?);
        }
        ProcessKey::Aside { name, id } => {
            let parked = decode(&value).map_err(failed)?;
            let parked = of_step(parked, &format!("{name}-{id}"), after, known)?;
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
    known: Known<'_>,
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
        GroupKey::Filter => Ok(vec![(key.to_owned(), value.to_vec())]),
        GroupKey::OnShelf { prefix, position } => {
            let (first, last) = range(position, position, after);
            let parked = |now| {
                let value = match known.parts.get(&now) {
                    None => value.to_vec(),
                    Some(Part { event_type, .. }) => {
                        let event_type = event_type.clone();
                        encode(&ParkedRecord { event_type, ..decode(value)? })
                    }
                };
                Ok((format!("{prefix}{now:020}"), value))
            };
            (first..=last).map(parked).collect()
        }
    }
}

/// The step of the process's instance with `stream` in the copy.
fn of_step(
    parked: ParkedStep,
    stream: &str,
    after: After<'_>,
    known: Known<'_>,
) -> Result<ParkedStep> {
    let mut one = |position: u64| match range(position, position, after) {
        (first, last) if first == last => Ok(first),
        _ => Err(unclear(stream, &format!("is parked at the event at position {position}"))),
    };
    let ParkedStep { step, what, .. } = &parked;
    let (step, words) = match *step {
        StoredStep::Event(position) => {
            let now = one(position)?;
            (StoredStep::Event(now), event_in_words(what, position, now, known))
        }
        StoredStep::Route(position) => {
            let now = one(position)?;
            (StoredStep::Route(now), event_in_words(what, position, now, known))
        }
        StoredStep::Effect(_) if (known.is_moved)(stream) => {
            return Err(unclear(stream, "is parked at the effect of an event"));
        }
        // Where the event is now is not known, but its version is.
        step @ StoredStep::Effect(version) => {
            (step, names_position(what).then(|| effect_of_version(version, stream)))
        }
        step @ StoredStep::Deadline(_) => (step, None),
    };
    let what = words.unwrap_or_else(|| what.clone());
    Ok(ParkedStep { step, what, ..parked })
}

/// `what` was said of the event at `position`: what is to be said of the one at `now`, if it is something else.
fn event_in_words(what: &str, position: u64, now: u64, known: Known<'_>) -> Option<String> {
    if let Some(Part { stream, event_type }) = known.parts.get(&now) {
        return Some(StepEvent { position: now, event_type, stream }.to_string());
    }
    moved(what, position, now)
}

/// The error for a process's instance with `stream` that could not go on in the copy.
fn unclear(stream: &str, what: &str) -> Error {
    let message = format!(
        "{stream}, an instance of a process, {what} that the copy does not have as one event at a known place: let it \
         go on, or skip it, before the store is copied"
    );
    Error::invalid(message)
}
