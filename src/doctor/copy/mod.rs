//! Copies a log into a new one, with each event as it was, without it, or with others in its place.
//!
//! * The log is only read, up to where it ends when the copy begins; writers go on.
//! * What was in one commit is in one commit, and has one time. Frames stay together too, unless they get too long. So
//!   a copy of everything as it was has the same hash chain, up to what the engine keeps for itself.
//! * Positions and versions are dense in the copy. Only versions that a change has moved are held in memory.
//! * What the engine keeps for itself says positions and versions. It is translated, in its newest state, and follows
//!   the events (`state`). Deadlines, and the positions of other logs that consumers have tracked, say none: they stay
//!   where they are, and nothing of them is held.

mod commands;
mod ids;
mod state;
#[cfg(test)]
mod tests;
mod versions;

use crate::codec::entry::Entry;
use crate::codec::envelope::{self, Place};
use crate::codec::frame::{Frame, Kind, Location};
use crate::codec::record::Record;
use crate::doctor::copy::commands::Commands;
use crate::doctor::copy::ids::Ids;
use crate::doctor::copy::state::{KeptState, Moves, TypedGroups, stays};
use crate::doctor::copy::versions::Versions;
use crate::doctor::new_journal::{Mark, NewJournal};
use crate::log::commit::encoded::{check_event, check_event_bytes};
use crate::log::core::{Log, journal_directory};
use crate::log::read::readahead::Readahead;
use crate::storage::disk::Disk;
use crate::value::clock::Micros;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::{Metadata, NewEvent, PayloadFormat, RecordedEvent};
use crate::value::failpoint::failpoint;
use crate::value::json::readable;
use crate::value::json::told::Told;
use crate::value::limits::{COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX, GROUP_BYTES_MAX, PROGRESS_BYTES};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// What is in the copy in an event's place.
#[derive(Debug)]
pub(crate) enum Instead {
    /// The event itself.
    Itself,
    /// These, in order: they get its place, id, times and metadata.
    Others(Vec<NewEvent>),
}

/// The result of a copy, in events.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    /// The last position of the log that was copied.
    pub(crate) position: u64,
    /// In the copy.
    pub(crate) events: u64,
    /// Of the log: those that are in the copy as they were, those with others in their place, those that are not there.
    pub(crate) unchanged: u64,
    pub(crate) replaced: u64,
    pub(crate) left_out: u64,
    /// Commands of which no event is in the copy.
    pub(crate) forgotten_commands: u64,
}

/// Copies `log` into the store `store` in the directory `to`, on `disk`. `change` says what becomes of each event.
pub(crate) fn copy(
    log: &Arc<Log>,
    disk: &Arc<dyn Disk>,
    to: &Path,
    store: Uuid,
    change: &mut dyn FnMut(&RecordedEvent) -> Result<Instead>,
) -> Result<Copy> {
    let (head, end) = log.head.visible();
    let mut state = KeptState::default();
    each_frame(log, end, "the log's own state is being read", |frame| {
        state.see(frame, |what| unreadable(log, frame, what))
    })?;
    let mut copier = Copier {
        log,
        journal: NewJournal::create(disk, &journal_directory(to), store)?,
        change,
        versions: Versions::default(),
        moves: Moves::of(&state)?,
        groups: TypedGroups::of(&state)?,
        copy: Copy { position: head, ..Copy::default() },
        read: Vec::new(),
    };
    each_frame(log, end, "the log is being copied", |frame| copier.frame(frame))?;
    copier.finish(state)
}

/// Visits the frames of `log` up to `end`; another thread reads ahead. `progress` is said now and then.
fn each_frame(
    log: &Arc<Log>,
    end: Location,
    progress: &str,
    mut visit: impl FnMut(&Frame) -> Result<()>,
) -> Result<()> {
    let frames = log.journal.frames(log.journal.start(), 1, end);
    let mut ahead = Readahead::start(log, frames, u64::MAX)?;
    let (mut bytes, mut reported) = (0, 0);
    while let Some(frame) = ahead.next() {
        let frame = frame?;
        visit(&frame)?;
        bytes += frame.header.padded_length();
        if bytes >= reported + PROGRESS_BYTES {
            reported = bytes;
            tracing::info!(reached = frame.header.last_position(), bytes, "{progress}");
        }
    }
    // Reading ahead ends early when the log is closed.
    log.refuse_if_closed()
}

/// The error for a frame of `log` that cannot be read because of `what`.
fn unreadable(log: &Log, frame: &Frame, what: Corruption) -> Error {
    let header = &frame.header;
    let at = Location { segment: header.segment, offset: header.offset };
    log.journal.unreadable(at, header.first_position, frame, what)
}

struct Copier<'a> {
    log: &'a Log,
    journal: NewJournal,
    change: &'a mut dyn FnMut(&RecordedEvent) -> Result<Instead>,
    versions: Versions,
    moves: Moves,
    groups: TypedGroups,
    copy: Copy,
    /// What was read of a commit.
    read: Vec<Item>,
}

/// One item of a commit.
enum Item {
    Event {
        stream: Bytes,
        version: u64,
        position: u64,
        envelope: Bytes,
    },
    /// A record that is the same in the copy.
    Record(Bytes),
}

fn ids_of(items: &[Item]) -> HashSet<Uuid> {
    let id = |item: &Item| match item {
        Item::Event { envelope, .. } => envelope::id(envelope),
        Item::Record(_) => None,
    };
    items.iter().filter_map(id).collect()
}

/// A commit that is being written.
struct Commit<'a> {
    /// What it was.
    items: &'a [Item],
    begin: Mark,
    is_begun: bool,
    is_changed: bool,
    ids: Ids,
    commands: Commands,
}

impl Commit<'_> {
    /// Whether the next item is the first one.
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.is_begun, true) || failpoint!("doctor::copy_commits_apart")
    }
}

impl Copier<'_> {
    fn frame(&mut self, frame: &Frame) -> Result<()> {
        let mut next = frame.header.first_position;
        for entry in frame.entries() {
            let (offset, _, entry) = entry.map_err(|what| unreadable(self.log, frame, what))?;
            if frame.begins_commit(offset) {
                self.end_commit(frame)?;
            }
            match entry {
                Entry::Event { stream, version, envelope } => {
                    self.read.push(Item::Event { stream, version, position: next, envelope });
                    next += 1;
                }
                Entry::Record(bytes) => match Record::decode(&bytes) {
                    Ok(record) if stays(&record) => self.read.push(Item::Record(bytes)),
                    // The newest ones follow the events.
                    Ok(_) => {}
                    Err(what) => return Err(unreadable(self.log, frame, what)),
                },
            }
        }
        self.end_commit(frame)?;
        let kind = match failpoint!("doctor::copy_without_closings") {
            true => Kind::Group,
            false => frame.header.kind,
        };
        self.journal.end_frame(kind, frame.header.time)
    }

    /// Writes the commit of `frame` that was read.
    fn end_commit(&mut self, frame: &Frame) -> Result<()> {
        if self.read.is_empty() {
            return Ok(());
        }
        let mut items = std::mem::take(&mut self.read);
        let mut commit = Commit {
            items: &items,
            begin: self.journal.mark(),
            is_begun: false,
            is_changed: false,
            ids: Ids::default(),
            commands: Commands::default(),
        };
        for item in &items {
            match item {
                Item::Record(bytes) => self.journal.record(bytes, commit.begins()),
                Item::Event { stream, version, position, envelope } => {
                    let time = frame.header.time;
                    let event = recorded(stream, *version, *position, time, envelope);
                    let event = event.map_err(|what| unreadable(self.log, frame, what))?;
                    let written = self.event(&event, envelope, &mut commit)?;
                    self.moves.pass(*position, self.journal.next_position() - 1);
                    commit.commands.see(&event, written > 0);
                }
            }
        }
        let begin = commit.begin;
        self.copy.forgotten_commands += commit.commands.forgotten();
        items.clear();
        self.read = items;
        self.journal.end_long_frame(begin, GROUP_BYTES_MAX, frame.header.time)
    }

    /// Writes what is in the copy in the place of `event`, which has `envelope`. Returns how many events that is.
    fn event(
        &mut self,
        event: &RecordedEvent,
        envelope: &Bytes,
        commit: &mut Commit<'_>,
    ) -> Result<u64> {
        let (stream, version) = (event.stream.as_str(), event.version.get());
        let first = self.versions.first(stream, version);
        let written = match (self.change)(event)? {
            Instead::Itself => {
                let write = |out: &mut Vec<u8>| out.extend_from_slice(envelope);
                self.journal.event(stream, first, commit.begins(), write);
                self.copy.unchanged += 1;
                1
            }
            Instead::Others(others) => {
                commit.is_changed = true;
                let written = others.len() as u64;
                let count = match written {
                    0 => &mut self.copy.left_out,
                    _ => &mut self.copy.replaced,
                };
                *count += 1;
                self.versions.moved(stream, written)?;
                for (version, other) in (first..).zip(others) {
                    let id = commit.ids.next(event.id, version - first, || ids_of(commit.items));
                    let put = self.put(in_place_of(event, id, other), event, version, commit);
                    put.map_err(|error| cannot_copy(event, &error))?;
                }
                written
            }
        };
        if commit.is_changed {
            self.check_commit(commit).map_err(|error| cannot_copy(event, &error))?;
        }
        Ok(written)
    }

    /// Puts `new` at `version` into the stream of `event`.
    fn put(
        &mut self,
        new: NewEvent,
        event: &RecordedEvent,
        version: u64,
        commit: &mut Commit<'_>,
    ) -> Result<()> {
        check(&new)?;
        self.groups.check(event, &new.event_type)?;
        self.moves.put(event, &new.event_type, self.journal.next_position())?;
        let write = |out: &mut Vec<u8>| envelope::encode(&new, out);
        let stream = event.stream.as_str();
        let bytes = self.journal.event(stream, version, commit.begins(), write);
        check_event_bytes(&new, bytes)?;
        self.check_commit(commit)
    }

    /// Refuses a commit that is longer than one may be.
    fn check_commit(&self, commit: &Commit<'_>) -> Result<()> {
        let events = self.journal.events_since(commit.begin) as usize;
        if events > COMMIT_EVENTS_MAX {
            return Err(Error::too_large(
                "its commit",
                events,
                COMMIT_EVENTS_MAX,
                "events or more",
            ));
        }
        let bytes = self.journal.bytes_since(commit.begin);
        if bytes > COMMIT_BYTES_MAX {
            return Err(Error::too_large("its commit", bytes, COMMIT_BYTES_MAX, "bytes or more"));
        }
        Ok(())
    }

    fn finish(mut self, state: KeptState) -> Result<Copy> {
        self.copy.events = self.journal.next_position() - 1;
        let time = self.journal.time();
        for (key, value) in state.moved(&self.moves, &self.versions)? {
            let begin = self.journal.mark();
            self.journal.record(&Record::State { key, value }.encode(), true);
            self.journal.end_long_frame(begin, GROUP_BYTES_MAX, time)?;
        }
        self.journal.end_frame(Kind::Group, time)?;
        self.journal.close()?;
        if !failpoint!("doctor::copy_without_finish") {
            self.journal.finish()?;
        }
        Ok(self.copy)
    }
}

/// The event with `envelope`, as a reader of the log gets it.
fn recorded(
    stream: &Bytes,
    version: u64,
    position: u64,
    time: Micros,
    envelope: &Bytes,
) -> Result<RecordedEvent, Corruption> {
    let stream = StreamId::from_stored(stream.clone()).ok_or(Corruption::StreamName)?;
    let place = Place {
        position: Position::new(position),
        stream,
        version: Version::new(version),
        recorded_at: time.to_utc(),
    };
    envelope::decode(envelope.clone(), place)
}

/// `new` with this id, and with everything that it has from the event whose place it takes.
fn in_place_of(event: &RecordedEvent, id: Uuid, new: NewEvent) -> NewEvent {
    let occurred_at = (event.occurred_at != event.recorded_at).then_some(event.occurred_at);
    let metadata = Metadata::clone(&event.metadata);
    let tags = match failpoint!("doctor::lose_tags_of_parts") {
        true => Vec::new(),
        false => event.tags().map(str::to_owned).collect(),
    };
    NewEvent { id, metadata, tags, occurred_at, ..new }
}

/// Whether the new event may be recorded. Others would be read as JSON, and could not be.
fn check(new: &NewEvent) -> Result<()> {
    check_event(new)?;
    match new.format {
        PayloadFormat::Bytes => Ok(()),
        #[cfg(feature = "erasure")]
        PayloadFormat::Sealed | PayloadFormat::Erased => {
            let message = "it is private: it can stay as it is or be left out, and nothing can take its place";
            Err(Error::invalid(message))
        }
        PayloadFormat::Json => readable::check(&new.payload).map_err(|what| {
            let what = Told::from(what);
            let message =
                format!("the payload of {} does not read as JSON: {what}", new.event_type);
            Error::with_source(ErrorKind::InvalidInput, message, what)
        }),
    }
}

/// The error for `event`, which cannot be copied because of `error`.
fn cannot_copy(event: &RecordedEvent, error: &Error) -> Error {
    let (position, version, stream) = (event.position, event.version, &event.stream);
    let message = format!(
        "the event at position {position}, version {version} of {stream}, cannot be copied: {error}"
    );
    Error::with_source(error.kind(), message, error.clone())
}
