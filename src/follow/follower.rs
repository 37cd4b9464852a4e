//! Reading a store's journal from another process, beside the one that writes it.
//!
//! * Read-only: no lock is taken, and nothing is ever written.
//! * Nothing is shown beyond the durable watermark, `journal/durable`, which the writer moves after each
//!   `fdatasync`. So what is shown is durable, and stays.
//! * There is no wake-up across processes: who waits for more looks at the watermark again and again, with
//!   a bounded interval.

use crate::codec::frame::{HEADER_BYTES, Header, Location};
use crate::journal::read::{Frames, Journal};
use crate::journal::recover::read_header;
use crate::journal::watermark::{self, DurableWatermark, Look};
use crate::journal::{manifest, segment};
use crate::log::core::journal_directory;
use crate::log::read::all::FrameEvents;
use crate::storage::disk::{Disk, DiskFile, RealDisk};
use crate::storage::held::{FileIdentity, absolute};
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::fork::Owner;
use crate::value::limits::FOLLOWER_POLL;
use crate::value::position::Position;
use crate::value::stream::StreamId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often a watermark is read again that may just have been written, until it counts as missing.
const MARK_ATTEMPTS: u32 = 16;

/// A store that another process writes, as a reader sees it.
///
/// It sees what is durable, by position and through filters; it has no index, so reading one stream
/// walks over the journal. Any number of followers may be open, and none of them is noticed by the
/// writer. A backup can be followed like any store.
///
/// ```
/// use filmstrip::{ExpectedVersion, Follower, NewEvent, Position, Store};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("orders");
/// let store = Store::open(&path)?; // in one process
/// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
///
/// let follower = Follower::open(&path)?; // in another
/// assert_eq!(follower.head()?, Position::new(1));
/// let mut following = follower.read().category("Order").follow();
/// assert_eq!(following.next().expect("one event")?.event_type, "Placed");
///
/// store.append("Order-2", ExpectedVersion::NoStream, [NewEvent::json("Placed", &9)?])?;
/// assert_eq!(following.next().expect("it waits")?.position.get(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Follower {
    shared: Arc<Shared>,
}

struct Shared {
    owner: Owner,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    store: Uuid,
    journal: Arc<Journal>,
    /// How far the journal is known to be durable.
    seen: Mutex<Seen>,
}

struct Seen {
    watermark: Option<DurableWatermark>,
    /// The last segment that the journal's reader knows; 0: none.
    segment: u64,
    /// The file that the watermark was read from. While it is held, no other file can pass for it.
    file: Option<(Arc<dyn DiskFile>, FileIdentity)>,
    /// The last frame that anybody has read, and where it is.
    read: Option<(Location, Header)>,
}

impl Follower {
    /// Begins to follow the store in the directory `path`, whether or not a process has it open.
    ///
    /// # Errors
    /// * [`InvalidInput`](ErrorKind::InvalidInput): there is no store.
    /// * [`UnsupportedFormat`](ErrorKind::UnsupportedFormat): a newer version wrote it.
    /// * [`Corrupt`](ErrorKind::Corrupt): the manifest or a segment's header is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Follower> {
        let path = absolute(path.as_ref())?;
        let path = match path.canonicalize() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::invalid(format!(
                    "{} is no store: it is not there",
                    path.display()
                )));
            }
            resolved => resolved.map_err(|e| Error::io("find", &path, e))?,
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let manifest = manifest::read(&*disk, &path)?.ok_or_else(|| {
            let message = format!("{} is no store: it has no MANIFEST", path.display());
            Error::invalid(message)
        })?;
        let (store, directory) = (manifest.store, journal_directory(&path));
        let journal = Arc::new(Journal::new(Arc::clone(&disk), directory, store, Vec::new()));
        let seen = Seen { watermark: None, segment: 0, file: None, read: None };
        let (owner, seen) = (Owner::this_process(), Mutex::new(seen));
        let shared = Shared { owner, path, disk, store, journal, seen };
        let follower = Follower { shared: Arc::new(shared) };
        follower.shared.look(MARK_ATTEMPTS)?;
        Ok(follower)
    }

    /// The last position that is durable now; the start if there is no event yet, or no watermark that
    /// says so: a writer sets it when it opens the store.
    ///
    /// # Errors
    /// * [`Replaced`](ErrorKind::Replaced): what is at the path now is not what was opened. Each read says
    ///   so as well.
    /// * What reading the watermark, or the header of a new segment, met.
    pub fn head(&self) -> Result<Position> {
        let watermark = self.shared.look(1)?;
        Ok(Position::new(watermark.map_or(0, |watermark| watermark.position)))
    }

    /// Reads the global sequence: what is durable at the time, or that and all that follows.
    pub fn read(&self) -> FollowerRead {
        FollowerRead {
            shared: Arc::clone(&self.shared),
            after: Position::START,
            until: Position::new(u64::MAX),
            filter: Filter::all(),
            limit: u64::MAX,
            poll: FOLLOWER_POLL,
            fault: None,
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("path", &self.shared.path).finish()
    }
}

impl Shared {
    /// How far the journal is durable, as the watermark says now. One that is just being written says
    /// nothing, and then what is known holds.
    fn look(&self, attempts: u32) -> Result<Option<DurableWatermark>> {
        self.owner.check()?;
        // Held over the reading: of two threads, one must not come with an older watermark than the other did.
        let mut seen = self.seen.lock();
        for _ in 0..attempts {
            let look = || watermark::look(&*self.disk, self.journal.directory(), self.store);
            let look = match failpoint!("follow::look_out_of_order") {
                true => MutexGuard::unlocked(&mut seen, look)?,
                false => look()?,
            };
            let seen = &mut *seen;
            if let Some(watermark) = self.take(seen, look)? {
                self.advance(seen, watermark)?;
                break;
            }
        }
        Ok(seen.watermark)
    }

    /// What the watermark that was looked at says, if it says anything. A watermark in another file is the sign that all
    /// files may be others: a writer has opened the store, a backup was taken into its directory, or something
    /// else was put in its place.
    fn take(&self, seen: &mut Seen, look: Look) -> Result<Option<DurableWatermark>> {
        let Look::Found { file, identity, watermark } = look else {
            self.check_manifest()?;
            return Ok(None);
        };
        let is_the_same = identity.is_none_or(|identity| {
            seen.file.as_ref().is_some_and(|(_, before)| *before == identity)
        });
        let Some(watermark) = watermark else {
            // Torn, or of another store.
            self.check_manifest()?;
            return Ok(None);
        };
        if !is_the_same {
            self.check_manifest()?;
            self.check_history(seen, &watermark)?;
            if !failpoint!("follow::keep_replaced_files") {
                self.journal.forget_handles();
            }
            seen.file = identity.map(|identity| (file, identity));
        }
        Ok(Some(watermark))
    }

    /// Shows what `watermark` says is durable.
    fn advance(&self, seen: &mut Seen, watermark: DurableWatermark) -> Result<()> {
        if seen.watermark.is_some_and(|before| watermark.position < before.position) {
            let what = "the durable watermark has gone back behind what was shown";
            let (path, position) =
                (watermark::path(self.journal.directory()), watermark.position + 1);
            return Err(Error::corrupt(&path, 48, Some(position), what));
        }
        // A segment that the watermark names has its name and its header for good.
        while seen.segment < watermark.frame.segment {
            let number = seen.segment + 1;
            let directory = self.journal.directory();
            let header = read_header(&*self.disk, directory, self.store, number, true)
                .or_else(|error| self.check_manifest().and(Err(error)))?;
            self.journal.add_segment(header);
            seen.segment = number;
        }
        seen.watermark = Some(watermark);
        Ok(())
    }

    /// Whether the store that was opened is still the one at its path.
    fn check_manifest(&self) -> Result<()> {
        let is_now = match manifest::read(&*self.disk, &self.path)? {
            _ if failpoint!("follow::overlook_another_store") => return Ok(()),
            Some(manifest) if manifest.store == self.store => return Ok(()),
            Some(manifest) => format!("holds the store {}", manifest.store),
            None => "holds no store".to_owned(),
        };
        let (path, store) = (self.path.display(), self.store);
        let message = format!("{path} {is_now} now; this follower was opened on the store {store}");
        Err(Error::new(ErrorKind::Replaced, message))
    }

    /// Whether the files that are there now hold what was read from the ones before. The chain in a frame
    /// covers everything up to it.
    fn check_history(&self, seen: &Seen, watermark: &DurableWatermark) -> Result<()> {
        let shown = seen.watermark.map_or(0, |before| before.position);
        if watermark.position < shown {
            let what = format!(
                "it ends at position {}, and position {shown} was shown",
                watermark.position
            );
            return Err(self.other_history(&what));
        }
        if failpoint!("follow::overlook_another_history") {
            return Ok(());
        }
        let Some((at, read)) = &seen.read else { return Ok(()) };
        let mut bytes = [0; HEADER_BYTES];
        let path = self.journal.path(at.segment);
        let filled =
            match self.disk.open(&path).and_then(|file| file.read_at(&mut bytes, at.offset)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("read", &path, error));
                }
                filled => filled.unwrap_or(0),
            };
        let position = read.last_position();
        let header = Header::parse(&bytes[..filled]);
        match header.is_some_and(|it| it.chain == read.chain && it.last_position() == position) {
            true => Ok(()),
            false => Err(self.other_history(&format!("it differs up to position {position}"))),
        }
    }

    fn other_history(&self, what: &str) -> Error {
        let (path, store) = (self.path.display(), self.store);
        let message = format!("{path} holds another history of the store {store} now: {what}");
        Error::new(ErrorKind::Replaced, message)
    }

    /// Notes that the frame with this header, at `at`, was read.
    fn note(&self, at: Location, header: &Header) {
        let read = &mut self.seen.lock().read;
        if read.as_ref().is_none_or(|(before, _)| *before < at) {
            *read = Some((at, header.clone()));
        }
    }
}

/// A read through a [`Follower`]; see [`Follower::read`].
///
/// Filters of one kind add up, filters of different kinds must all hold; `limit` counts what is left.
#[must_use = "a read begins with `iter`, `collect` or `follow`"]
pub struct FollowerRead {
    shared: Arc<Shared>,
    after: Position,
    until: Position,
    filter: Filter,
    limit: u64,
    poll: Duration,
    fault: Option<Error>,
}

impl FollowerRead {
    /// Only events behind this position: where an earlier read has come to.
    pub fn after(mut self, position: Position) -> FollowerRead {
        self.after = position;
        self
    }

    /// Only events up to this position, which is included.
    pub fn until(mut self, position: Position) -> FollowerRead {
        self.until = position;
        self
    }

    /// Only events of this stream, or of the others named so.
    pub fn stream<S>(mut self, stream: S) -> FollowerRead
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        match stream.try_into() {
            Ok(stream) => self.filter = self.filter.and_stream(stream),
            Err(error) => {
                self.fault.get_or_insert(error.into());
            }
        }
        self
    }

    /// Only events of this category, or of the others named so.
    pub fn category(mut self, category: impl Into<String>) -> FollowerRead {
        self.filter = self.filter.and_category(category);
        self
    }

    /// Only events of this type, or of the others named so.
    pub fn event_type(mut self, event_type: impl Into<String>) -> FollowerRead {
        self.filter = self.filter.and_event_type(event_type);
        self
    }

    /// Only events that this filter wants, in place of what was named before.
    pub fn filter(mut self, filter: Filter) -> FollowerRead {
        self.filter = filter;
        self
    }

    /// At most so many events, of those that the filters leave.
    pub fn limit(mut self, events: u64) -> FollowerRead {
        self.limit = events;
        self
    }

    /// How long [`follow`](FollowerRead::follow) waits between two looks at the watermark: 10 ms unless said
    /// otherwise. Each look reads 60 bytes.
    pub fn poll_interval(mut self, interval: Duration) -> FollowerRead {
        self.poll = interval;
        self
    }

    /// Reads what is durable now.
    ///
    /// # Errors
    /// What the builder was given and cannot be; what looking at the watermark met.
    pub fn iter(mut self) -> Result<impl Iterator<Item = Result<RecordedEvent>> + Send + use<>> {
        let head = self.shared.look(1)?.map_or(0, |watermark| watermark.position);
        self.until = self.until.min(Position::new(head));
        let mut following = self.follow();
        following.check()?;
        Ok(following)
    }

    /// All of it at once.
    ///
    /// # Errors
    /// Those of [`iter`](FollowerRead::iter) and of reading.
    pub fn collect(self) -> Result<Vec<RecordedEvent>> {
        self.iter()?.collect()
    }

    /// Reads what is durable, and then, as the other process goes on, what becomes so.
    pub fn follow(self) -> Following {
        let FollowerRead { shared, after, until, filter, limit, poll, fault } = self;
        let fault = fault.or_else(|| filter.check().err());
        Following {
            shared,
            position: after.get(),
            until: until.get(),
            filter,
            limit,
            poll,
            fault,
            frames: None,
            page: VecDeque::new(),
            stop: Arc::new(Stop::default()),
        }
    }
}

/// The events of a followed store, in order, and for ever: blocks for the next one on the caller's own
/// thread, unless the read has an end. An error is its last item. See [`FollowerRead::follow`].
///
/// ```
/// use filmstrip::{ErrorKind, ExpectedVersion, Follower, NewEvent, Store};
/// use std::time::Duration;
/// # let directory = tempfile::tempdir()?;
/// # let store = Store::open(directory.path())?;
/// # store.append("Door-1", ExpectedVersion::NoStream, [NewEvent::json("Opened", &())?])?;
/// let mut following = Follower::open(directory.path())?.read().follow();
/// assert_eq!(following.recv_timeout(Duration::from_secs(5))?.event_type, "Opened");
/// let nothing_yet = following.recv_timeout(Duration::from_millis(1));
/// assert_eq!(nothing_yet.unwrap_err().kind(), ErrorKind::Timeout);
/// assert_eq!(following.position().get(), 1); // where to go on another time
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Following {
    shared: Arc<Shared>,
    /// The last position that was read.
    position: u64,
    until: u64,
    filter: Filter,
    limit: u64,
    poll: Duration,
    fault: Option<Error>,
    frames: Option<Frames>,
    page: VecDeque<RecordedEvent>,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// Ends a [`Following`] from another thread. Holding it keeps nothing open.
#[derive(Clone)]
pub struct FollowingStopper(Arc<Stop>);

impl FollowingStopper {
    /// Ends it: its iterator yields nothing more.
    pub fn stop(&self) {
        *self.0.stopped.lock() = true;
        self.0.changed.notify_all();
    }
}

impl Following {
    /// Everything up to here has been read, or was not wanted: where to go on another time.
    #[must_use]
    pub fn position(&self) -> Position {
        let unread = self.page.front().map(|event| event.position.get() - 1);
        Position::new(unread.unwrap_or(self.position))
    }

    /// Something that ends it from another thread.
    #[must_use]
    pub fn stopper(&self) -> FollowingStopper {
        FollowingStopper(Arc::clone(&self.stop))
    }

    /// Waits for the next event, but no longer than this.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if none came; [`Closed`](ErrorKind::Closed) if none will come;
    /// what reading met.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<RecordedEvent> {
        let deadline = deadline_after(timeout);
        match self.read_next(deadline)? {
            Next::Event(event) => Ok(*event),
            Next::TimedOut => {
                let message = format!("no event came within {timeout:?}");
                Err(Error::new(ErrorKind::Timeout, message))
            }
            Next::Ended => Err(Error::new(ErrorKind::Closed, "the reading has ended")),
        }
    }

    fn check(&mut self) -> Result<()> {
        self.fault.take().map_or(Ok(()), Err)
    }

    fn read_next(&mut self, deadline: Option<Instant>) -> Result<Next> {
        self.check()?;
        loop {
            if self.limit == 0 || *self.stop.stopped.lock() {
                return Ok(Next::Ended);
            }
            if let Some(event) = self.page.pop_front() {
                self.limit -= 1;
                return Ok(Next::Event(Box::new(event)));
            }
            if self.position >= self.until {
                return Ok(Next::Ended);
            }
            match self.shared.look(1)?.filter(|watermark| watermark.position > self.position) {
                Some(watermark) => self.read_frame(&watermark)?,
                None if !self.wait(deadline) => return Ok(Next::TimedOut),
                None => {}
            }
        }
    }

    /// Waits for the time of another look; false if the deadline has passed.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return false;
        }
        let look = deadline_after(self.poll);
        let until = [look, deadline].into_iter().flatten().min();
        let mut stopped = self.stop.stopped.lock();
        if !*stopped {
            // Only stopping notifies; otherwise the interval passes, which is the bound.
            match until {
                Some(until) => drop(self.stop.changed.wait_until(&mut stopped, until)),
                None => self.stop.changed.wait(&mut stopped),
            }
        }
        true
    }

    /// Reads the next frame that is not past `watermark`, which names more than was read.
    fn read_frame(&mut self, watermark: &DurableWatermark) -> Result<()> {
        let end = Location { segment: watermark.frame.segment, offset: watermark.end };
        let mut frames = match self.frames.take() {
            Some(frames) => frames,
            None => self.begin(end)?,
        };
        frames.extend(end);
        let (first, last) = (self.position + 1, self.until);
        let next = frames.next().transpose()?;
        let (at, frame) = next.ok_or_else(|| {
            let what =
                format!("the mark names position {}, which is not there", watermark.position);
            self.shared.journal.corrupt(frames.at(), Some(first), what)
        })?;
        self.shared.note(at, &frame.header);
        let read_up_to = frame.header.last_position();
        if failpoint!("follow::pass_before_reading") {
            self.position = self.position.max(read_up_to);
        }
        let mut page = Vec::new();
        let events = FrameEvents::new(frame, first..=last);
        events.take_all(&self.shared.journal, &self.filter, &mut page)?;
        // Not before: what could not be read was not passed, and comes again if it is asked for again.
        self.position = self.position.max(read_up_to);
        self.page = page.into();
        self.frames = Some(frames);
        Ok(())
    }

    /// A scan from the segment on that holds the next position.
    fn begin(&self, end: Location) -> Result<Frames> {
        let journal = &self.shared.journal;
        let header = journal.segment_at(self.position + 1).ok_or_else(|| {
            journal.corrupt(end, Some(self.position + 1), "no segment holds the position")
        })?;
        let from = Location { segment: header.number, offset: segment::HEADER_BYTES };
        Ok(journal.frames(from, header.first_position, end))
    }
}

enum Next {
    Event(Box<RecordedEvent>),
    TimedOut,
    Ended,
}

impl Iterator for Following {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read_next(None) {
            Ok(Next::Event(event)) => Some(Ok(*event)),
            Ok(Next::Ended | Next::TimedOut) => None,
            Err(error) => {
                self.limit = 0;
                Some(Err(error))
            }
        }
    }
}
