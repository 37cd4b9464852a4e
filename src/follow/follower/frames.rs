//! The journal of a followed store as a source of frames for a replica.
//!
//! * Nothing is given beyond the durable watermark. So a frame that the writer had in flight when it crashed is never
//!   taken.
//! * Before the first frame, the segment in which the replica ends is walked: its source must have the same hash there.

use crate::codec::frame::Location;
use crate::follow::follower::opening::open_path;
use crate::follow::follower::watch::{Known, Shared};
use crate::journal::manifest::Manifest;
use crate::journal::read::{Frames, Journal};
use crate::journal::segment;
use crate::journal::shipped::{JournalEnd, JournalFrame, diverged, diverged_at};
use crate::log::core::journal_directory;
use crate::log::replica::source::{FrameSource, Heard, SourceStore};
use crate::storage::files::resolve;
use crate::value::clock::deadline_after;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::head_hash::HeadHash;
use crate::value::limits::{FOLLOWER_POLL, REPLICA_BATCH_BYTES};
use crate::value::position::Position;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The directory of a store, or of another replica, as the source of a replica's frames: on the same machine, or on a
/// volume of another one that both have mounted.
///
/// It is read like a [`Follower`](crate::Follower) reads it: no lock is taken, and the process that has the store open
/// notices nothing. It is opened when it is first needed and again after an error, so it need not be there before. A
/// [`Heard`] head says what the directory holds, not that a process has the store open.
///
/// ```
/// use filmstrip::replica::{FrameSource, JournalEnd, StoreDirectory};
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// use std::time::Duration;
/// # let directory = tempfile::tempdir()?;
/// let store = Store::open(directory.path())?;
/// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
///
/// // What carries frames elsewhere reads them in the same way, and goes on after the last one that it has carried.
/// let mut source = StoreDirectory::at(directory.path());
/// let heard = source.read(&JournalEnd::start(), Duration::ZERO)?;
/// assert_eq!((heard.frames.len(), heard.head.get()), (1, 1));
/// assert_eq!(heard.frames[0].end().hash(), store.head_hash());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StoreDirectory {
    path: PathBuf,
    poll: Duration,
    connected: Option<Connected>,
}

/// A store that is being read.
struct Connected {
    shared: Shared,
    manifest: Manifest,
    /// A scan, and the end of the journal up to which it has come.
    reading: Option<(Frames, JournalEnd)>,
}

impl StoreDirectory {
    /// The store in the directory `path`.
    #[must_use]
    pub fn at(path: impl AsRef<Path>) -> StoreDirectory {
        StoreDirectory { path: path.as_ref().to_owned(), poll: FOLLOWER_POLL, connected: None }
    }

    /// Sets how long it waits between two looks at the store. The default is 10 ms. Each look reads 60 bytes.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> StoreDirectory {
        self.poll = interval;
        self
    }

    fn connected(&mut self) -> Result<&mut Connected> {
        if self.connected.is_none() {
            let (path, disk, manifest) = open_path(&self.path)?;
            let shared = Shared::new(path, disk, manifest.store);
            shared.look_until_whole()?;
            self.connected = Some(Connected { shared, manifest, reading: None });
        }
        Ok(self.connected.as_mut().expect("it is connected by now"))
    }
}

impl FrameSource for StoreDirectory {
    fn store(&mut self) -> Result<SourceStore> {
        let manifest = &self.connected()?.manifest;
        Ok(SourceStore::new(manifest.store, manifest.created))
    }

    fn reads_from(&self, directory: &Path) -> bool {
        // Links may lead from one to the other.
        let journal = |store: &Path| resolve(&journal_directory(store)).ok();
        journal(directory).is_some_and(|there| journal(&self.path) == Some(there))
    }

    fn read(&mut self, after: &JournalEnd, wait: Duration) -> Result<Heard> {
        let deadline = deadline_after(wait);
        loop {
            let heard = self.connected().and_then(|connected| connected.read(after));
            // Other files may be at the path by then.
            let heard = heard.inspect_err(|_| self.connected = None)?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if !heard.frames.is_empty() || left == Some(Duration::ZERO) {
                return Ok(heard);
            }
            thread::sleep(left.map_or(self.poll, |left| left.min(self.poll)));
        }
    }
}

impl Connected {
    /// The frames after `after` that are durable now.
    fn read(&mut self, after: &JournalEnd) -> Result<Heard> {
        let nothing = |head| Heard { frames: Vec::new(), head: Position::new(head), hash: None };
        let Some(known) = self.shared.look()? else { return Ok(nothing(0)) };
        let head = known.watermark.position;
        let reading = self.reading.take();
        let reading = reading.filter(|(it, end)| end == after && it.are_of(&known.journal));
        if known.end() <= after.next() {
            // Looked at again and again, so it is compared only once.
            self.reading = match reading {
                Some(reading) => Some(reading),
                None => compare_ends(&known, after)?.map(|frames| (frames, *after)),
            };
            let hash = self.reading.is_none().then(|| known.head_hash()).transpose()?;
            return Ok(Heard { hash, ..nothing(head) });
        }
        let mut frames = match reading {
            Some((frames, _)) => frames,
            None => begin(&known, after)?,
        };
        frames.extend(known.end());
        let shipped = batch(&mut frames, &known.journal)?;
        // Only now: what is read while other files take the places of these may be of either.
        self.shared.look()?;
        let last = shipped.last().map(|last| (last.place(), last.frame().header.clone()));
        if !self.shared.note(&known.journal, last.as_ref()) {
            return Ok(nothing(head));
        }
        let end = shipped.last().map_or(*after, JournalFrame::end);
        self.reading = Some((frames, end));
        Ok(Heard { frames: shipped, head: Position::new(head), hash: None })
    }
}

/// Some frames of a scan.
fn batch(frames: &mut Frames, journal: &Arc<Journal>) -> Result<Vec<JournalFrame>> {
    let (mut shipped, mut bytes) = (Vec::new(), 0);
    while bytes < REPLICA_BATCH_BYTES
        && let Some((at, frame)) = frames.next().transpose()?
    {
        if failpoint!("replica::skip_frame") && frame.header.last_position() % 50 == 7 {
            continue;
        }
        bytes += frame.bytes().len();
        let length = journal.segment(at.segment).map_or(0, |segment| segment.length);
        shipped.push(JournalFrame::new(frame, length));
    }
    Ok(shipped)
}

/// Compares the source, which has no more bytes than its replica, with the replica's end. Returns a scan that goes on
/// there, if they have the same history up to there; `None` if the source is shorter.
fn compare_ends(known: &Known, after: &JournalEnd) -> Result<Option<Frames>> {
    let (head, end) = (known.watermark.position, known.end());
    if end == after.next() {
        let there = known.head_hash()?;
        return match there == after.hash() || failpoint!("replica::believe_any_source") {
            true => Ok(Some(known.journal.frames(end, head + 1, end))),
            false => Err(diverged_at(after, there)),
        };
    }
    // With the same beginning, as many events take as many bytes.
    match head > after.position().get() {
        true => Err(diverged_at(after, known.head_hash()?)),
        false => Ok(None),
    }
}

/// A scan of the frames after `after`, in a journal that has the same hash there.
fn begin(known: &Known, after: &JournalEnd) -> Result<Frames> {
    let (journal, number) = (&known.journal, after.next().segment);
    let Some(header) = journal.segment(number) else {
        return Err(diverged(&format!(
            "the replica ends in segment {number}, which the source lacks"
        )));
    };
    let start = Location { segment: number, offset: segment::HEADER_BYTES };
    let mut frames = journal.frames(start, header.first_position, known.end());
    let (mut position, mut chain) = (header.first_position - 1, header.chain);
    while frames.at() < after.next() {
        let Some((_, frame)) = frames.next().transpose()? else { break };
        (position, chain) = (frame.header.last_position(), frame.header.chain);
    }
    let there = HeadHash::new(position, chain);
    match frames.at() == after.next() && there == after.hash() {
        true => Ok(frames),
        false => Err(diverged_at(after, there)),
    }
}

impl std::fmt::Debug for StoreDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreDirectory").field("path", &self.path).finish()
    }
}
