//! Taking in a window of the journal, and merging what earlier windows brought.
//!
//! The order carries the guarantees: a pack, its tree, marks and records are durable before the
//! checkpoint covers them, and readers are shown a pack after that. So what a crash cuts short is, but for
//! records, as if it had never begun.

use crate::codec::checkpoint::{Checkpoint, StoredCheckpoint};
use crate::codec::keys;
use crate::codec::sparse_index::Mark;
use crate::codec::sst::PackId;
use crate::codec::sst::event::{IndexedEvent, body_of};
use crate::codec::sst::footer::NameHash;
use crate::codec::state::{Content, Stamp, StoredRecord, StreamState};
use crate::index::core::{Index, Progress};
use crate::index::flush_batch::{ByStream, Window, WindowEvent};
use crate::index::overflow;
use crate::index::trees::Garbage;
use crate::index::verify::record_contribution;
use crate::kv::database::Database;
use crate::sst::compaction::{self, MergeDue, Merging};
use crate::sst::cursor::Walk;
use crate::sst::reader::{self, Pack};
use crate::sst::set::Packs;
use crate::sst::writer::PackWriter;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{MERGE_STEP_BYTES, PACKS_MAX, PACKS_MERGED_BUSY, PACKS_MERGED_IDLE};
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Index {
    /// Takes `window` in. When it returns, all of it is durable, and so is the checkpoint.
    ///
    /// # Errors
    /// What is already in the index can still be read. If the window's pack could not be written, it may be
    /// tried again; behind that, it may have been taken in in part, which harms nothing, but this handle
    /// takes in no more.
    pub(crate) fn insert(&self, window: Window) -> Result<()> {
        let mut progress = self.progress.lock();
        if progress.broken {
            let message =
                "the index takes nothing in after an earlier failure, until it is opened again";
            return Err(Error::new(ErrorKind::Refusing, message));
        }
        let taken = self.take_in(&mut progress, window);
        if taken.is_err() {
            // It gives back at once what a full disk needs most.
            progress.merging = None;
        }
        taken
    }

    fn take_in(&self, progress: &mut Progress, window: Window) -> Result<()> {
        let Window { events, marks, records, end } = window;
        self.remove_retired(progress)?;
        let pack = self.put_pack(&self.packs.live(), &events)?;
        drop(events);
        let number = pack.as_ref().map(|pack| pack.listed.number);
        progress.broken = true;
        let listed = self.put_beside(progress, pack, marks, records, end);
        listed.inspect_err(|_| number.into_iter().for_each(|number| self.give_up(number)))?;
        self.sweep(std::mem::take(&mut progress.garbage))?;
        progress.broken = false;
        Ok(())
    }

    /// Writes what else a window brings, and the checkpoint that covers it and its pack.
    fn put_beside(
        &self,
        progress: &mut Progress,
        pack: Option<Pack>,
        marks: Vec<Mark>,
        records: Vec<(String, Vec<u8>)>,
        end: Checkpoint,
    ) -> Result<()> {
        let before = self.stored.lock().clone();
        let epoch = before.epoch + 1;
        for mark in marks {
            let (key, value) = mark.encode();
            self.db.insert(&self.trees.global, &key, value.to_vec())?;
        }
        for (key, content) in records {
            self.put_record(progress, key.as_bytes(), &content, epoch)?;
        }
        // The checkpoint covers all of this: it is durable first.
        self.sync_what_the_checkpoint_covers()?;
        let mut packs = self.packs.live().to_vec();
        packs.extend(pack.map(Arc::new));
        let records = progress.records;
        self.show(StoredCheckpoint { epoch, records, checkpoint: end, ..before }, packs)
    }

    /// Lists `packs` in the checkpoint, and shows them to readers after that.
    fn show(&self, stored: StoredCheckpoint, packs: Vec<Arc<Pack>>) -> Result<()> {
        let stored = StoredCheckpoint { packs: Packs::listed(&packs), ..stored };
        self.db.held().check_before("write the checkpoint of")?;
        self.checkpoint_file.replace(&stored)?;
        *self.stored.lock() = stored;
        self.packs.set(packs);
        Ok(())
    }

    /// Writes a pack of `events`, which go on where `packs` end.
    fn put_pack(&self, packs: &[Arc<Pack>], events: &[WindowEvent]) -> Result<Option<Pack>> {
        if events.is_empty() {
            return Ok(None);
        }
        let sorted = ByStream::sort(events);
        let (id, directory) = (self.next_pack(), self.packs_directory());
        let streams = sorted.streams() as u64;
        let mut writer = PackWriter::create(&self.db, &directory, id, streams, &self.blocks)?;
        let mut held = Held { db: &self.db, walks: packs.iter().map(Walk::anywhere).collect() };
        for events in sorted.iter() {
            self.steps.fetch_add(1, Ordering::Relaxed);
            // The event's name shares the journal's buffer, which must not outlive the window.
            let first = events.clone().next().expect("a stream of a window has an event");
            let stream = first.stream.detached();
            let hash = NameHash::of(&stream);
            let before = held.state(&stream, hash)?.unwrap_or_else(StreamState::absent);
            self.check_contiguous(before.version.get(), events.clone())?;
            writer.begin_stream(&stream, hash, before);
            for event in events {
                let body = body_of(&event.envelope, event.location);
                writer.put(&self.db, event.position, event.recorded_at, &body)?;
            }
        }
        writer.finish(&self.db, 0)
    }

    /// Whether packs are to be merged.
    pub(crate) fn merge_due(&self) -> MergeDue {
        let (progress, packs) = (self.progress.lock(), self.packs.live());
        let is_due = progress.merging.is_some()
            || compaction::due(&packs, PACKS_MERGED_IDLE).is_some()
            || progress.retired.iter().any(|pack| Arc::strong_count(pack) == 1);
        match is_due && !progress.broken {
            false => MergeDue::Not,
            true if packs.len() >= PACKS_MAX => MergeDue::First,
            true if compaction::due(&packs, PACKS_MERGED_BUSY).is_some() => MergeDue::Soon,
            true => MergeDue::WhenIdle,
        }
    }

    /// Merges packs for a moment, if any are to be merged.
    ///
    /// # Errors
    /// What was there is there still.
    pub(crate) fn merge(&self) -> Result<()> {
        let mut progress = self.progress.lock();
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.remove_retired(&mut progress)?;
        let mut merging = match progress.merging.take() {
            Some(merging) => merging,
            None => match self.begin_merge()? {
                Some(merging) => merging,
                None => return Ok(()),
            },
        };
        if merging.step(&self.db, MERGE_STEP_BYTES)? {
            progress.merging = Some(merging);
            return Ok(());
        }
        let inputs: Vec<_> = merging.inputs().cloned().collect();
        let merged = merging.finish(&self.db)?;
        let merged = merged.ok_or_else(|| self.damaged(None, "no pack holds an event"))?;
        let number = merged.listed.number;
        self.replace(&inputs, merged).inspect_err(|_| self.give_up(number))?;
        progress.retired.extend(inputs);
        self.remove_retired(&mut progress)
    }

    /// Puts the pack that was made of `inputs` in their place.
    fn replace(&self, inputs: &[Arc<Pack>], merged: Pack) -> Result<()> {
        self.db.sync()?;
        let mut packs = self.packs.live().to_vec();
        let first = packs.iter().position(|pack| Arc::ptr_eq(pack, &inputs[0]));
        let first = first.expect("what is being merged is listed");
        packs.splice(first..first + inputs.len(), [Arc::new(merged)]);
        let stored = self.stored.lock().clone();
        self.show(stored, packs)
    }

    /// Removes the file of a pack that could not be listed: a full disk needs its bytes. But replacing the
    /// checkpoint may have failed at its very end, when it lists the pack already.
    fn give_up(&self, number: u64) {
        #[cfg(test)]
        if self.db.is_dead() {
            return;
        }
        if self.db.held().check().is_err() {
            return;
        }
        let Ok(Some(stored)) = self.checkpoint_file.read() else { return };
        if stored.packs.iter().all(|listed| listed.number != number) {
            // What stays goes when the index is opened.
            let _ = reader::remove(&self.packs_directory(), number);
        }
    }

    /// The next pack. No number is given out twice, because what a failure leaves of a pack, in sled too, must
    /// be none of another.
    fn next_pack(&self) -> PackId {
        let mut stored = self.stored.lock();
        stored.next_pack += 1;
        PackId { index: stored.index, number: stored.next_pack - 1 }
    }

    fn begin_merge(&self) -> Result<Option<Merging>> {
        let packs = self.packs.live();
        // While somebody writes, only those that cannot wait.
        let pressing = compaction::due(&packs, PACKS_MERGED_BUSY);
        let Some(range) = pressing.or_else(|| compaction::due(&packs, PACKS_MERGED_IDLE)) else {
            return Ok(None);
        };
        let id = self.next_pack();
        let (directory, packs) = (self.packs_directory(), &packs[range]);
        Merging::begin(&self.db, &directory, id, packs, &self.blocks).map(Some)
    }

    /// Removes the packs that were merged and that nobody reads any more. What a failure or a crash leaves
    /// goes when the index is opened.
    pub(crate) fn remove_retired(&self, progress: &mut Progress) -> Result<()> {
        if progress.retired.is_empty() {
            return Ok(());
        }
        self.db.held().check_before("remove packs from")?;
        for retired in std::mem::take(&mut progress.retired) {
            match Arc::try_unwrap(retired) {
                Ok(pack) => {
                    let number = pack.listed.number;
                    drop(pack);
                    self.db.remove_tree(&reader::tree_name(number))?;
                    reader::remove(&self.packs_directory(), number)?;
                }
                Err(in_use) => progress.retired.push(in_use),
            }
        }
        Ok(())
    }

    fn sync_what_the_checkpoint_covers(&self) -> Result<()> {
        if failpoint!("index::checkpoint_before_index") {
            return Ok(());
        }
        self.db.sync()
    }

    /// The window must go on where the stream stands, and leave out nothing.
    fn check_contiguous<'a>(
        &self,
        version: u64,
        events: impl Iterator<Item = &'a WindowEvent>,
    ) -> Result<()> {
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
            overflow::put(&self.db, &self.trees, &keys::record_pieces(key, epoch), bytes)?;
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
        progress.records.replace(replaced, contributed);
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
                overflow::remove(&self.db, &self.trees, &keys::record_pieces(&key, epoch))?;
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

/// The states of the streams that packs hold, asked for in the order of their names.
struct Held<'a> {
    db: &'a Database,
    walks: Vec<Walk>,
}

impl Held<'_> {
    fn state(&mut self, stream: &StreamId, hash: NameHash) -> Result<Option<StreamState>> {
        for walk in self.walks.iter_mut().rev() {
            if walk.pack.may_hold(stream, || hash)
                && let Some(run) = walk.seek_behind(self.db, stream, u64::MAX)?
            {
                return Ok(Some(run.state));
            }
        }
        Ok(None)
    }
}

/// What the index holds of an event.
pub(crate) fn indexed(event: &WindowEvent) -> IndexedEvent {
    IndexedEvent {
        version: event.version,
        position: event.position,
        recorded_at: event.recorded_at,
        body: body_of(&event.envelope, event.location),
    }
}
