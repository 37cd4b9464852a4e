//! Writes a new journal, frame by frame, from what another one holds.
//!
//! Nobody relies on it before `finish` has returned: nothing is durable until then.

use crate::codec::digest::{DIGESTED_TOGETHER, digest_each};
use crate::codec::entry;
use crate::codec::frame::{ChainHasher, HEADER_BYTES, Kind, Meaning};
use crate::journal::recover;
use crate::journal::write::{WriteError, Writer};
use crate::storage::disk::Disk;
use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// A journal that is being written.
pub(super) struct NewJournal {
    writer: Writer,
    /// Room for the header, and the entries of the frame that is being gathered.
    frame: Vec<u8>,
    entries: Vec<Put>,
    events: u64,
}

/// An entry of the frame that is being gathered. The ranges are of its bytes.
enum Put {
    Event { version: u64, stream: Range<usize>, envelope: Range<usize> },
    Record(Range<usize>),
}

/// A place in the frame that is being gathered.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    bytes: usize,
    entries: usize,
    events: u64,
}

impl NewJournal {
    /// Creates the journal of the store `store` in `directory`.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        store: Uuid,
    ) -> Result<NewJournal> {
        recover::create(disk, directory, store)?;
        let writer = recover::open(Arc::clone(disk), directory, store)?.writer.unhurried();
        Ok(NewJournal { writer, frame: vec![0; HEADER_BYTES], entries: Vec::new(), events: 0 })
    }

    /// The position of the next event.
    pub(super) fn next_position(&self) -> u64 {
        self.writer.end().position + 1 + self.events
    }

    /// The time of the last frame.
    pub(super) fn time(&self) -> Micros {
        self.writer.end().time
    }

    /// Puts an event into the frame; `envelope` appends its envelope. Returns the bytes of the envelope.
    pub(super) fn event(
        &mut self,
        stream: &str,
        version: u64,
        begins_commit: bool,
        envelope: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let start = self.frame.len();
        let envelope = entry::begin_event(stream, begins_commit, envelope, &mut self.frame);
        entry::seal_event(&mut self.frame[start..], version);
        let bytes = envelope.len();
        let stream = envelope.start - stream.len()..envelope.start;
        self.entries.push(Put::Event { version, stream, envelope });
        self.events += 1;
        bytes
    }

    /// Puts a record into the frame.
    pub(super) fn record(&mut self, record: &[u8], begins_commit: bool) {
        entry::put_record(record, begins_commit, &mut self.frame);
        let end = self.frame.len();
        self.entries.push(Put::Record(end - record.len()..end));
    }

    /// The end of the frame, as far as it is gathered.
    pub(super) fn mark(&self) -> Mark {
        let (bytes, entries) = (self.frame.len(), self.entries.len());
        Mark { bytes, entries, events: self.events }
    }

    /// Bytes that were put into the frame since `mark`.
    pub(super) fn bytes_since(&self, mark: Mark) -> usize {
        self.frame.len() - mark.bytes
    }

    /// Events that were put into the frame since `mark`.
    pub(super) fn events_since(&self, mark: Mark) -> u64 {
        self.events - mark.events
    }

    /// Writes the frame, which may be empty only if it says that the store was closed.
    pub(super) fn end_frame(&mut self, kind: Kind, time: Micros) -> Result<()> {
        if self.entries.is_empty() && kind == Kind::Group {
            return Ok(());
        }
        let frame = std::mem::replace(&mut self.frame, vec![0; HEADER_BYTES]);
        self.write(frame, kind, time)?;
        self.entries.clear();
        self.events = 0;
        Ok(())
    }

    /// Writes what came before `mark` as a frame, if the whole frame has more than `bytes`.
    pub(super) fn end_long_frame(&mut self, mark: Mark, bytes: usize, time: Micros) -> Result<()> {
        if self.frame.len() - HEADER_BYTES <= bytes || mark.entries == 0 {
            return Ok(());
        }
        let rest = self.entries.split_off(mark.entries);
        let (kept, moved) = (&self.frame[mark.bytes..], mark.bytes - HEADER_BYTES);
        let next = [&[0; HEADER_BYTES][..], kept].concat();
        let mut frame = std::mem::replace(&mut self.frame, next);
        frame.truncate(mark.bytes);
        let events = std::mem::replace(&mut self.events, mark.events);
        self.write(frame, Kind::Group, time)?;
        let moved = |range: Range<usize>| range.start - moved..range.end - moved;
        let rest = rest.into_iter().map(|put| match put {
            Put::Event { version, stream, envelope } => {
                Put::Event { version, stream: moved(stream), envelope: moved(envelope) }
            }
            Put::Record(record) => Put::Record(moved(record)),
        });
        self.entries = rest.collect();
        self.events = events - mark.events;
        Ok(())
    }

    /// Writes `frame`, which holds `entries`.
    fn write(&mut self, frame: Vec<u8>, kind: Kind, time: Micros) -> Result<()> {
        let end = self.writer.end();
        let (first_position, time) = (end.position + 1, time.max(end.time));
        let events = u32::try_from(self.events).expect("a frame has fewer bytes than that");
        let mut chain = ChainHasher::new(&end.chain, kind, first_position, time, events);
        for together in self.entries.chunks(DIGESTED_TOGETHER) {
            let envelope = |put: &Put| match put {
                Put::Event { envelope, .. } => Some(envelope.clone()),
                Put::Record(_) => None,
            };
            let envelopes = together.iter().filter_map(envelope).map(|range| &frame[range]);
            let mut digests = digest_each(&envelopes.collect::<Vec<_>>()).into_iter();
            for put in together {
                match put {
                    Put::Event { version, stream, .. } => {
                        let digest = digests.next().expect("each event has one");
                        chain.event(&frame[stream.clone()], *version, &digest);
                    }
                    Put::Record(record) => chain.record(&frame[record.clone()]),
                }
            }
        }
        let meaning = Meaning { kind, events, first_position, time, chain: chain.finish() };
        self.writer.write(frame, &meaning).map(drop).map_err(failed)
    }

    /// Ends the journal as that of a store that was closed.
    pub(super) fn close(&mut self) -> Result<()> {
        self.writer.close().map_err(failed)
    }

    /// Makes all of it durable.
    pub(super) fn finish(mut self) -> Result<()> {
        self.writer.finish()
    }
}

fn failed(error: WriteError) -> Error {
    match error {
        WriteError::NotWritten(error) | WriteError::Stopped(error) | WriteError::Unknown(error) => {
            error
        }
    }
}
