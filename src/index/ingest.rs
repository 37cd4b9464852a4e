//! Ingests flush batches of the journal, and compacts the tables of earlier ones.
//!
//! The order of the writes gives the guarantees: a table, its tree, sparse index entries and records are durable
//! before the checkpoint covers them, and readers see a table only after that. So a crash undoes an unfinished flush
//! batch, except for its records and sparse index entries, which may stay.

use crate::codec::checkpoint::{Checkpoint, StoredCheckpoint};
use crate::codec::overflow::Content;
use crate::codec::sparse_index::SparseEntry;
use crate::codec::sst::TableId;
use crate::codec::sst::event::{LocatedEvent, body_of};
use crate::codec::sst::event_types::EventTypes;
use crate::codec::sst::footer::NameHash;
use crate::codec::sst::posting::{body_of_posting, name_of_tag, tag_of_name};
use crate::codec::state::{Stamp, StoredRecord, StreamState};
use crate::codec::{envelope, keys};
use crate::index::core::{Index, Progress};
use crate::index::flush_batch::{ByName, EventToIndex, FlushBatch};
use crate::index::trees::Garbage;
use crate::index::verify::record_contribution;
use crate::kv::database::Database;
use crate::kv::overflow;
use crate::sst::compaction::{self, Compaction, CompactionPriority};
use crate::sst::cursor::TableCursor;
use crate::sst::reader::{self, Table};
use crate::sst::set::TableSet;
use crate::sst::writer::TableWriter;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{
    COMPACT_STEP_BYTES, TABLES_COMPACTED_BUSY, TABLES_COMPACTED_IDLE, TABLES_MAX,
};
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Index {
    /// Ingests `batch`. On return it is durable, and so is the checkpoint that covers it.
    ///
    /// # Errors
    /// The index can still be read. If the table of the flush batch could not be written, the caller may retry. After
    /// a later failure the flush batch may be ingested in part, which does no harm, but this handle ingests nothing
    /// more.
    pub(crate) fn insert(&self, batch: FlushBatch) -> Result<()> {
        let mut progress = self.progress.lock();
        if progress.broken {
            let message =
                "the index ingests nothing after an earlier failure, until it is opened again";
            return Err(Error::new(ErrorKind::ReadOnly, message));
        }
        let taken = self.take_in(&mut progress, batch);
        if taken.is_err() {
            // Free the space of the unfinished compaction at once, in case the disk is full.
            progress.compaction = None;
        }
        taken
    }

    fn take_in(&self, progress: &mut Progress, batch: FlushBatch) -> Result<()> {
        let FlushBatch { events, sparse_entries, records, end } = batch;
        self.remove_obsolete(progress)?;
        let table = self.put_table(&self.tables.live(), &events)?;
        drop(events);
        let number = table.as_ref().map(|table| table.listed.number);
        progress.broken = true;
        let listed = self.put_beside(progress, table, sparse_entries, records, end);
        listed.inspect_err(|_| number.into_iter().for_each(|number| self.give_up(number)))?;
        self.sweep(std::mem::take(&mut progress.garbage))?;
        progress.broken = false;
        Ok(())
    }

    /// Writes the rest of a flush batch, and the checkpoint that covers it and its table.
    fn put_beside(
        &self,
        progress: &mut Progress,
        table: Option<Table>,
        sparse_entries: Vec<SparseEntry>,
        records: Vec<(String, Vec<u8>)>,
        end: Checkpoint,
    ) -> Result<()> {
        let before = self.stored.lock().clone();
        let epoch = before.epoch + 1;
        for sparse_entry in sparse_entries {
            let (key, value) = sparse_entry.encode();
            self.db.insert(&self.trees.global, &key, value.to_vec())?;
        }
        for (key, content) in records {
            self.put_record(progress, key.as_bytes(), &content, epoch)?;
        }
        // The checkpoint covers all of this, so sync it first.
        self.sync_what_the_checkpoint_covers()?;
        let mut tables = self.tables.live().to_vec();
        tables.extend(table.map(Arc::new));
        let records = progress.records;
        self.show(StoredCheckpoint { epoch, records, checkpoint: end, ..before }, tables)
    }

    /// Lists `tables` in the checkpoint, and then shows them to readers.
    fn show(&self, stored: StoredCheckpoint, tables: Vec<Arc<Table>>) -> Result<()> {
        let stored = StoredCheckpoint { tables: TableSet::listed(&tables), ..stored };
        self.checkpoint_file.replace(&stored, self.db.held())?;
        *self.stored.lock() = stored;
        self.tables.set(tables);
        Ok(())
    }

    /// Writes a table of `events`, which continue the streams of `tables`, and of the postings of their tags.
    fn put_table(&self, tables: &[Arc<Table>], events: &[EventToIndex]) -> Result<Option<Table>> {
        if events.is_empty() {
            return Ok(None);
        }
        let (sorted, tags) = (ByName::streams(events), ByName::tags(events));
        let (id, directory) = (self.next_table(), self.tables_directory());
        let names = (sorted.names() + tags.names()) as u64;
        let mut writer = TableWriter::create(&self.db, &directory, id, names, &self.blocks)?;
        for (tag, tagged) in tags.iter() {
            self.put_postings(&mut writer, tag, tagged)?;
        }
        drop(tags);
        let mut types = EventTypes::default();
        let mut heads = StreamHeads {
            db: &self.db,
            cursors: tables.iter().map(TableCursor::anywhere).collect(),
        };
        for (_, events) in sorted.iter() {
            self.signs_of_life.fetch_add(1, Ordering::Relaxed);
            // Copy the name: the event's own shares the journal's buffer, which must not outlive the flush batch.
            let first = events.clone().next().expect("a stream of a flush batch has an event");
            let stream = first.stream.detached();
            if tag_of_name(&stream).is_some() {
                let what = format!("{stream:?} cannot be the name of a stream");
                return Err(self.damaged(Some(first.position), what));
            }
            let hash = NameHash::of(&stream);
            let before = heads.state(&stream, hash)?.unwrap_or_else(StreamState::absent);
            self.check_contiguous(before.version.get(), events.clone())?;
            writer.begin_stream(&stream, hash, before);
            for event in events {
                let body = body_of(&event.envelope, event.location);
                types.note(envelope::event_type(&event.envelope), event.position);
                writer.put(&self.db, event.position, event.recorded_at, &body)?;
            }
        }
        writer.finish(&self.db, 0, types)
    }

    /// Writes the postings of the events with `tag`.
    fn put_postings<'a>(
        &self,
        writer: &mut TableWriter,
        tag: &str,
        tagged: impl Iterator<Item = &'a EventToIndex>,
    ) -> Result<()> {
        self.signs_of_life.fetch_add(1, Ordering::Relaxed);
        let name = name_of_tag(tag);
        writer.begin_stream(&name, NameHash::of(&name), StreamState::absent());
        let mut last = 0;
        for event in tagged {
            // The tags of an event are each once, unless it was forged.
            if std::mem::replace(&mut last, event.position) == event.position {
                continue;
            }
            if event.position.is_multiple_of(5) && failpoint!("index::skip_posting") {
                continue;
            }
            let event_type = envelope::event_type(&event.envelope).unwrap_or_default();
            let body = body_of_posting(event.location, event_type);
            writer.put(&self.db, event.position, event.recorded_at, &body)?;
        }
        Ok(())
    }

    /// How urgently tables should be compacted.
    pub(crate) fn compaction_priority(&self) -> CompactionPriority {
        let (progress, tables) = (self.progress.lock(), self.tables.live());
        let is_due = progress.compaction.is_some()
            || compaction::due(&tables, TABLES_COMPACTED_IDLE).is_some()
            || progress.obsolete.iter().any(|table| Arc::strong_count(table) == 1);
        match is_due && !progress.broken {
            false => CompactionPriority::None,
            true if tables.len() >= TABLES_MAX => CompactionPriority::Urgent,
            true if compaction::due(&tables, TABLES_COMPACTED_BUSY).is_some() => {
                CompactionPriority::Normal
            }
            true => CompactionPriority::Idle,
        }
    }

    /// Does one step of compaction, if one is due.
    ///
    /// # Errors
    /// The index is unchanged.
    pub(crate) fn compact(&self) -> Result<()> {
        let mut progress = self.progress.lock();
        self.signs_of_life.fetch_add(1, Ordering::Relaxed);
        self.remove_obsolete(&mut progress)?;
        let mut compaction = match progress.compaction.take() {
            Some(compaction) => compaction,
            None => match self.begin_compaction()? {
                Some(compaction) => compaction,
                None => return Ok(()),
            },
        };
        if compaction.step(&self.db, COMPACT_STEP_BYTES)? {
            progress.compaction = Some(compaction);
            return Ok(());
        }
        let inputs: Vec<_> = compaction.inputs().cloned().collect();
        let compacted = compaction.finish(&self.db)?;
        let compacted = compacted.ok_or_else(|| self.damaged(None, "no table holds an event"))?;
        let number = compacted.listed.number;
        if failpoint!("index::remove_obsolete_tables_first") {
            for table in &inputs {
                let directory = self.tables_directory();
                reader::remove(&**self.db.disk(), &directory, table.listed.number)?;
            }
        }
        self.replace(&inputs, compacted).inspect_err(|_| self.give_up(number))?;
        progress.obsolete.extend(inputs);
        self.remove_obsolete(&mut progress)
    }

    /// Replaces `inputs` by the table that was made from them.
    fn replace(&self, inputs: &[Arc<Table>], compacted: Table) -> Result<()> {
        self.db.sync()?;
        let mut tables = self.tables.live().to_vec();
        let first = tables.iter().position(|table| Arc::ptr_eq(table, &inputs[0]));
        let first = first.expect("what is being compacted is listed");
        tables.splice(first..first + inputs.len(), [Arc::new(compacted)]);
        let stored = self.stored.lock().clone();
        self.show(stored, tables)
    }

    /// Removes the file of a table that could not be listed, because a full disk needs its space. Keeps the file if
    /// the checkpoint lists the table: replacing the checkpoint may have failed at its very end.
    fn give_up(&self, number: u64) {
        #[cfg(test)]
        if self.db.is_dead() {
            return;
        }
        if self.db.held().check().is_err() {
            return;
        }
        let Ok(Some(stored)) = self.checkpoint_file.read() else { return };
        if stored.tables.iter().all(|listed| listed.number != number) {
            // If this fails, opening the index removes it.
            let _ = reader::remove(&**self.db.disk(), &self.tables_directory(), number);
        }
    }

    /// The id of the next table. No number is used twice, so that the remains of a failed table, also in sled, never
    /// become part of another table.
    fn next_table(&self) -> TableId {
        let mut stored = self.stored.lock();
        stored.next_table += 1;
        TableId { index: stored.index, number: stored.next_table - 1 }
    }

    fn begin_compaction(&self) -> Result<Option<Compaction>> {
        let tables = self.tables.live();
        // Tables that are due even while writers are busy come first.
        let pressing = compaction::due(&tables, TABLES_COMPACTED_BUSY);
        let Some(range) = pressing.or_else(|| compaction::due(&tables, TABLES_COMPACTED_IDLE))
        else {
            return Ok(None);
        };
        let id = self.next_table();
        let (directory, tables) = (self.tables_directory(), &tables[range]);
        Compaction::begin(&self.db, &directory, id, tables, &self.blocks).map(Some)
    }

    /// Removes the obsolete tables that nobody reads any more. Opening the index removes those that a failure or a
    /// crash leaves.
    pub(crate) fn remove_obsolete(&self, progress: &mut Progress) -> Result<()> {
        if progress.obsolete.is_empty() {
            return Ok(());
        }
        self.db.held().check_before("remove tables from")?;
        for obsolete in std::mem::take(&mut progress.obsolete) {
            match Arc::try_unwrap(obsolete) {
                Ok(table) => {
                    let number = table.listed.number;
                    drop(table);
                    self.db.remove_tree(&reader::tree_name(number))?;
                    reader::remove(&**self.db.disk(), &self.tables_directory(), number)?;
                }
                Err(in_use) => progress.obsolete.push(in_use),
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

    /// Checks that the flush batch continues the stream without a gap.
    fn check_contiguous<'a>(
        &self,
        version: u64,
        events: impl Iterator<Item = &'a EventToIndex>,
    ) -> Result<()> {
        for (expected, event) in (version + 1..).zip(events) {
            if event.version != expected {
                let (stream, met) = (&event.stream, event.version);
                let what = format!("{stream} should continue with version {expected}, not {met}");
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
        let last = self.stored_record(key)?;
        let is_same = match &last {
            Some((last, _)) => last.content == content,
            None => content.is_empty(),
        };
        if is_same {
            return Ok(());
        }
        let old_pieces = last.as_ref().and_then(|(last, _)| epoch_of_pieces(last));
        if let Content::Overflow(_) = content {
            if old_pieces == Some(epoch) {
                // An interrupted flush batch of this epoch has left pieces under the same keys that are about to be
                // written. Remove the record that refers to them first.
                self.put_content(progress, key, Content::of(&[]), epoch)?;
                self.db.sync()?;
            }
            // Write the pieces before the record that refers to them.
            self.put_overflow(&keys::record_pieces(key, epoch), bytes)?;
        }
        let removed = content.is_empty();
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
            Some((last, contributed)) => (next_stamp(last.stamp, contributed, epoch), contributed),
            None => (Stamp { epoch, previous: 0 }, 0),
        };
        let record = StoredRecord { stamp, content };
        let value = Bytes::from(record.encode(key));
        let contributed = record_contribution(key, &value, &record);
        self.db.insert(&self.trees.records, key, value.to_vec())?;
        progress.records.replace(replaced, contributed);
        Ok(())
    }

    /// Removes what the new checkpoint no longer needs.
    fn sweep(&self, garbage: Garbage) -> Result<()> {
        for key in garbage.removed {
            // The flush batch may have set the key again.
            let last = self.stored_record(&key)?;
            if last.is_some_and(|(last, _)| last.is_removed()) {
                self.db.remove(&self.trees.records, &key)?;
            }
        }
        for (key, epoch) in garbage.pieces {
            // The flush batch may have written these pieces again, if a crash had left them in its own epoch.
            let last = self.stored_record(&key)?;
            if last.and_then(|(last, _)| epoch_of_pieces(&last)) != Some(epoch) {
                overflow::remove(&self.db, &self.trees.pieces, &keys::record_pieces(&key, epoch))?;
            }
        }
        Ok(())
    }
}

/// The epoch of the pieces that `record` refers to, if it refers to any.
fn epoch_of_pieces(record: &StoredRecord) -> Option<u64> {
    matches!(record.content, Content::Overflow(_)).then_some(record.stamp.epoch)
}

/// The stamp of a value that `epoch` writes over a value with the stamp `last`. The contribution as of the last
/// checkpoint stays known, however often one epoch writes.
fn next_stamp(last: Stamp, contributed: u64, epoch: u64) -> Stamp {
    let previous = if last.epoch == epoch { last.previous } else { contributed };
    Stamp { epoch, previous }
}

/// The states of the streams in tables. They must be requested in the order of their names.
struct StreamHeads<'a> {
    db: &'a Database,
    cursors: Vec<TableCursor>,
}

impl StreamHeads<'_> {
    fn state(&mut self, stream: &StreamId, hash: NameHash) -> Result<Option<StreamState>> {
        for cursor in self.cursors.iter_mut().rev() {
            if cursor.table.may_hold(stream, || hash)
                && let Some(run) = cursor.seek_behind(self.db, stream, u64::MAX)?
            {
                return Ok(Some(run.state));
            }
        }
        Ok(None)
    }
}

/// An event in the form that the index holds.
pub(crate) fn indexed(event: &EventToIndex) -> LocatedEvent {
    LocatedEvent {
        version: event.version,
        position: event.position,
        recorded_at: event.recorded_at,
        body: body_of(&event.envelope, event.location),
    }
}
