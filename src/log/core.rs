//! The log as a whole: its parts, opened in the order in which they depend on each other.

use crate::clock::Clock;
use crate::codec::frame::Location;
use crate::codec::state::StreamState;
use crate::error::{Error, ErrorKind, Result};
use crate::index::Checkpoint;
use crate::journal::disk::Disk;
use crate::journal::read::Journal;
use crate::journal::recover::{self, Torn};
use crate::journal::segment;
use crate::journal::write::End;
use crate::log::group::Sequencer;
use crate::log::head::Head;
use crate::log::indexer::{self, Control};
use crate::log::indexing::{IndexSite, IndexSlot};
use crate::log::tail::Tail;
use crate::position::{Position, Version};
use crate::stream::StreamId;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use uuid::Uuid;

/// The journal, its index, the tail between them, and the commit path. Threads of the engine hold
/// it; what a user holds keeps it open.
pub(crate) struct Log {
    pub(crate) journal: Arc<Journal>,
    pub(crate) index: IndexSlot,
    pub(crate) tail: Tail,
    pub(crate) head: Head,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) sequencer: Sequencer,
    pub(crate) indexer: Control,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closing: (Mutex<Option<Sender<()>>>, Receiver<()>),
    torn: Option<Torn>,
}

/// What a log is opened with.
pub(crate) struct LogOptions {
    pub(crate) directory: PathBuf,
    pub(crate) store: Uuid,
    pub(crate) cache_bytes: u64,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
}

/// Where the journal lies in a store's directory.
pub(crate) fn journal_directory(store_directory: &Path) -> PathBuf {
    store_directory.join("journal")
}

impl Log {
    /// Opens the log, finishing what a crash left undone.
    pub(crate) fn open(options: LogOptions) -> Result<Arc<Log>> {
        let LogOptions { directory, store, cache_bytes, clock, disk } = options;
        let opened = recover::open(disk, &journal_directory(&directory), store)?;
        let (journal, end) = (opened.journal, opened.writer.end());
        let site = IndexSite { directory, cache_bytes, journal: Arc::clone(&journal) };
        let (index, mut indexed) = IndexSlot::open(site)?;
        refuse_index_ahead(&journal, &indexed, &end)?;
        // What lies in sealed segments goes to the index at once; the last one fits the tail.
        let sealed = Location { segment: end.next.segment, offset: segment::HEADER_BYTES };
        index.advance(sealed, |advanced| indexed = advanced.checkpoint)?;
        let tail = Tail::new(indexed);
        fill(&tail, &index, &journal, &indexed, end.next)?;
        let (closing, closed) = bounded(0);
        let log = Arc::new(Log {
            journal,
            index,
            tail,
            head: Head::new(end.position, end.next),
            clock,
            sequencer: Sequencer::new(opened.writer),
            indexer: Control::default(),
            threads: Mutex::new(Vec::new()),
            closing: (Mutex::new(Some(closing)), closed),
            torn: opened.torn,
        });
        let its_log = Arc::clone(&log);
        log.spawn("filmstrip-indexer", move || indexer::run(&its_log))?;
        Ok(log)
    }

    /// Ends everything in order: no more commits, no more waiting, the index as far as it is worth
    /// it, the closing frame. Only the first call does anything.
    pub(crate) fn close(&self) -> Result<()> {
        if !self.sequencer.close() {
            return Ok(());
        }
        self.head.close();
        self.closing.0.lock().take();
        self.indexer.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        let here = std::thread::current().id();
        // The last handle may go on one of the engine's own threads, which cannot wait for itself.
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != here) {
            // A panic in there has been told where it happened.
            let _ = thread.join();
        }
        let closed = self.sequencer.close_journal();
        self.index.close().and(closed)
    }

    /// Runs `work` on a thread of the engine, which is joined when the log closes.
    pub(crate) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = thread.map_err(|e| {
            Error::with_source(ErrorKind::Io, format!("cannot start the thread {name}: {e}"), e)
        })?;
        threads.push(thread);
        Ok(())
    }

    /// A channel that is disconnected when the log closes, for threads that wait in a `select!`.
    pub(crate) fn closing(&self) -> Receiver<()> {
        self.closing.1.clone()
    }

    /// What opening found of a write that a crash cut short.
    pub(crate) fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    pub(crate) fn head_position(&self) -> Position {
        Position::new(self.head.position())
    }

    /// The state of a stream, or `None` if it was never written.
    pub(crate) fn stream_state(&self, stream: &StreamId) -> Result<Option<StreamState>> {
        match self.tail.stream_state(stream) {
            Some(state) => Ok(Some(state)),
            None => self.index.ask(|index| index.stream_state(stream)),
        }
    }

    /// The newest record under `key`.
    pub(crate) fn record(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.tail.record(key) {
            Some(value) => Ok(Some(value)),
            None => self.index.ask(|index| index.record(key)),
        }
    }

    pub(crate) fn refuse_if_closed(&self) -> Result<()> {
        match self.head.is_closed() {
            true => Err(Error::new(ErrorKind::Closed, "the store is closed")),
            false => Ok(()),
        }
    }
}

/// An index that is ahead of the journal proves that the journal lost what had been durable.
fn refuse_index_ahead(journal: &Journal, indexed: &Checkpoint, end: &End) -> Result<()> {
    if indexed.position <= end.position && indexed.next <= end.next {
        return Ok(());
    }
    let what = format!(
        "it ends at position {}, but the index holds events up to position {}",
        end.position, indexed.position
    );
    Err(journal.corrupt(end.next, Some(end.position + 1), what))
}

/// Brings what the index lacks into the tail.
fn fill(
    tail: &Tail,
    index: &IndexSlot,
    journal: &Arc<Journal>,
    indexed: &Checkpoint,
    end: Location,
) -> Result<()> {
    for item in journal.frames(indexed.next, indexed.position + 1, end) {
        let (at, frame) = item?;
        let mut failed = None;
        let pushed = tail.push(at, &frame, |stream, version| {
            let state = index.ask(|index| index.stream_state(stream)).map_err(|error| {
                let what = error.to_string();
                failed = Some(error);
                what
            })?;
            Ok(before(state, version))
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let position = Some(frame.header.first_position);
        pushed.map_err(|what| journal.corrupt(at, position, what))?;
    }
    Ok(())
}

/// The state of a stream before the event of `version`. After a crash the index may hold a part of
/// what its checkpoint does not name yet, and so be ahead.
fn before(state: Option<StreamState>, version: u64) -> StreamState {
    match state {
        Some(state) if version > 1 && state.version.get() >= version => {
            StreamState { version: Version::new(version - 1), ..state }
        }
        Some(state) if version > 1 => state,
        _ => StreamState::absent(),
    }
}
