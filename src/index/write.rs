//! Taking in a window of the journal.
//!
//! The order carries the guarantees: runs and marks are durable before a state promises them, and
//! everything is durable before the checkpoint covers it. A window may hold what the index has
//! already, whole or in part, after a crash: what a state promises is left alone; runs that no state
//! promised may stay beside new ones that overlap them, and readers find the one that holds a
//! version.

use crate::codec::checkpoint::StoredCheckpoint;
use crate::codec::keys;
use crate::codec::run::{self, IndexedEvent, Packer};
use crate::codec::state::{Content, Stamp, StoredRecord, StoredState, StreamState, contribution};
use crate::error::{Error, ErrorKind, Result};
use crate::index::core::{Index, Progress};
use crate::index::pieces;
use crate::index::trees::Garbage;
use crate::index::verify::record_contribution;
use crate::index::window::{Window, WindowEvent, by_stream};
use crate::position::Version;
#[cfg(test)]
use crate::proof::bugs::{self, Bug};
use crate::stream::StreamId;
use bytes::Bytes;

impl Index {
    /// Takes `window` in. When it returns, all of it is durable, and so is the checkpoint. Returns the
    /// streams that it touched.
    ///
    /// # Errors
    /// The window may have been taken in in part, which harms nothing; but this handle takes in no
    /// more. What is already in the index can still be read.
    pub(crate) fn insert(&self, window: Window) -> Result<Vec<StreamId>> {
        let mut progress = self.progress.lock();
        if progress.broken {
            let message = "the index takes nothing in after an earlier failure; reopen the store";
            return Err(Error::new(ErrorKind::Refusing, message));
        }
        progress.broken = true;
        let streams = self.take_in(&mut progress, window)?;
        progress.broken = false;
        Ok(streams)
    }

    fn take_in(&self, progress: &mut Progress, window: Window) -> Result<Vec<StreamId>> {
        let Window { events, marks, records, end } = window;
        let before = *self.stored.lock();
        let epoch = before.epoch + 1;
        let mut streams = Vec::new();
        let mut states = Vec::new();
        let mut packer = Packer::default();
        for events in by_stream(&events) {
            // The event's name shares the journal's buffer, which must not outlive the window.
            let stream = events[0].stream.detached();
            states.extend(self.put_runs(&mut packer, &stream, &events, epoch)?);
            streams.push(stream);
        }
        drop(events);
        for mark in marks {
            let (key, value) = mark.encode();
            self.db.insert(&self.trees.global, &key, value.to_vec())?;
        }
        // A state promises runs: they are durable first. sled's log keeps the order of writes, too,
        // but that is a promise of sled's.
        self.db.sync()?;
        for (stream, state, replaced) in states {
            let key = stream.as_str().as_bytes();
            let value = state.encode(key);
            let contributed = contribution(key, &value);
            self.db.insert(&self.trees.streams, key, value)?;
            progress.now.streams.replace(replaced, contributed);
            progress.now.newest_position = progress.now.newest_position.max(state.position);
        }
        for (key, content) in records {
            self.put_record(progress, key.as_bytes(), &content, epoch)?;
        }
        // The checkpoint covers states and records: they are durable first.
        self.sync_what_the_checkpoint_covers()?;
        let stored = StoredCheckpoint {
            store: before.store,
            epoch,
            streams: progress.now.streams,
            records: progress.now.records,
            checkpoint: end,
        };
        self.checkpoint_file.replace(&stored)?;
        *self.stored.lock() = stored;
        self.sweep(std::mem::take(&mut progress.garbage))?;
        Ok(streams)
    }

    fn sync_what_the_checkpoint_covers(&self) -> Result<()> {
        #[cfg(test)]
        if bugs::has(Bug::CheckpointBeforeIndex) {
            return Ok(());
        }
        self.db.sync()
    }

    /// Writes what the index lacks of one stream's `events`. Returns the state that then holds, and
    /// what the one that it replaces contributes.
    fn put_runs(
        &self,
        packer: &mut Packer,
        stream: &StreamId,
        events: &[&WindowEvent],
        epoch: u64,
    ) -> Result<Option<(StreamId, StoredState, u64)>> {
        let held = self.stored_state(stream)?;
        let version = held.as_ref().map_or(0, |(state, _)| state.state.version.get());
        let new = events.partition_point(|event| event.version <= version);
        let (Some(first), Some(last)) = (events.get(new), events.last()) else {
            return Ok(None);
        };
        self.check_contiguous(version, &events[new..])?;
        for event in &events[new..] {
            let event = indexed(event);
            if !packer.push(&event) {
                self.put_packed(stream, packer)?;
                let taken = packer.push(&event);
                assert!(taken, "an empty packer takes whatever `body_of` gives");
            }
        }
        self.put_packed(stream, packer)?;
        let (stamp, replaced) = match &held {
            Some((held, contributed)) => {
                (next_stamp(held.stamp, *contributed, epoch), *contributed)
            }
            None => (Stamp { epoch, previous: 0 }, 0),
        };
        let held = held.map(|(held, _)| held.state);
        let state = StreamState {
            version: Version::new(last.version),
            written: last.recorded_at,
            first_readable: held.map_or(Version::new(1), |held| held.first_readable),
            created: held.map_or(first.recorded_at, |held| held.created),
            deleted: held.is_some_and(|held| held.deleted),
        };
        Ok(Some((stream.clone(), StoredState { stamp, state, position: last.position }, replaced)))
    }

    /// Writes the runs of what `packer` holds of `stream`.
    pub(crate) fn put_packed(&self, stream: &StreamId, packer: &mut Packer) -> Result<()> {
        packer.finish(
            |version| keys::event_key(stream, version),
            |key, run| self.db.insert(&self.trees.events, &key, run),
        )
    }

    /// The window must go on where the stream stands, and leave out nothing.
    fn check_contiguous(&self, version: u64, events: &[&WindowEvent]) -> Result<()> {
        for (expected, event) in (version + 1..).zip(events) {
            if event.version != expected {
                let (stream, met) = (&event.stream, event.version);
                let what = format!("{stream} should go on with version {expected}, not {met}");
                return Err(self.damaged(Some(event.position), what));
            }
        }
        Ok(())
    }

    fn put_record(
        &self,
        progress: &mut Progress,
        key: &[u8],
        bytes: &[u8],
        epoch: u64,
    ) -> Result<()> {
        let content = Content::of(bytes);
        let held = self.stored_record(key)?;
        let is_same = match &held {
            Some((held, _)) => held.content == content,
            None => content == Content::Removed,
        };
        if is_same {
            return Ok(());
        }
        let old_pieces = held.as_ref().and_then(|(held, _)| epoch_of_pieces(held));
        if let Content::Pieces { .. } = content {
            if old_pieces == Some(epoch) {
                // A window of this epoch that a crash cut short has left them, under the very keys
                // that are about to be written again: what refers to them goes first.
                self.put_content(progress, key, Content::Removed, epoch)?;
                self.db.sync()?;
            }
            // Before what refers to them.
            pieces::put(&self.db, &self.trees, &keys::record_pieces(key, epoch), bytes)?;
        }
        let removed = content == Content::Removed;
        self.put_content(progress, key, content, epoch)?;
        if removed {
            progress.garbage.removed.push(key.to_vec());
        }
        if let Some(old) = old_pieces.filter(|old| *old != epoch) {
            progress.garbage.pieces.push((key.to_vec(), old));
        }
        Ok(())
    }

    fn put_content(
        &self,
        progress: &mut Progress,
        key: &[u8],
        content: Content,
        epoch: u64,
    ) -> Result<()> {
        let (stamp, replaced) = match self.stored_record(key)? {
            Some((held, contributed)) => (next_stamp(held.stamp, contributed, epoch), contributed),
            None => (Stamp { epoch, previous: 0 }, 0),
        };
        let record = StoredRecord { stamp, content };
        let value = Bytes::from(record.encode(key));
        let contributed = record_contribution(key, &value, &record);
        self.db.insert(&self.trees.records, key, value.to_vec())?;
        progress.now.records.replace(replaced, contributed);
        Ok(())
    }

    /// Removes what the checkpoint just written no longer needs.
    fn sweep(&self, garbage: Garbage) -> Result<()> {
        for key in garbage.removed {
            // The window may have given it a value again.
            let held = self.stored_record(&key)?;
            if held.is_some_and(|(held, _)| held.content == Content::Removed) {
                self.db.remove(&self.trees.records, &key)?;
            }
        }
        for (key, epoch) in garbage.pieces {
            // The window may have written them again, if a crash had left them to its epoch.
            let held = self.stored_record(&key)?;
            if held.and_then(|(held, _)| epoch_of_pieces(&held)) != Some(epoch) {
                pieces::remove(&self.db, &self.trees, &keys::record_pieces(&key, epoch))?;
            }
        }
        Ok(())
    }
}

/// Of which epoch the pieces are that `record` refers to, if it does.
fn epoch_of_pieces(record: &StoredRecord) -> Option<u64> {
    match record.content {
        Content::Pieces { .. } => Some(record.stamp.epoch),
        Content::Removed | Content::Inline(_) => None,
    }
}

/// The stamp of what `epoch` writes over a value with the stamp `held`. What the last checkpoint
/// covers stays known however often one epoch writes.
fn next_stamp(held: Stamp, contributed: u64, epoch: u64) -> Stamp {
    let previous = if held.epoch == epoch { held.previous } else { contributed };
    Stamp { epoch, previous }
}

pub(crate) fn indexed(event: &WindowEvent) -> IndexedEvent {
    IndexedEvent {
        version: event.version,
        position: event.position,
        recorded_at: event.recorded_at,
        body: run::body_of(event.envelope.clone(), event.location),
    }
}
