//! Reading a store's journal from another process than the one that writes it.
//!
//! * Read-only: no lock is taken, and nothing is ever written.
//! * Nothing is shown beyond the durable watermark, `journal/durable`, which the writer moves after each
//!   `fdatasync`. So what is shown is durable, and stays.
//! * There is no wake-up across processes: a waiting reader polls the watermark, with a bounded interval.

pub(crate) mod durable;
mod following;
mod frames;
mod history;
mod indexed;
mod opening;
mod read_stream;
mod streams;
mod watch;

pub use following::Following;
pub use frames::StoreDirectory;
pub use read_stream::FollowerReadStream;
pub use streams::FollowerStreams;

use crate::journal::manifest::Role;
use crate::log::read::options::{ReadOptions, filter_methods, range_methods, stream_method};
use crate::log::read::stream_info::StreamInfo;
use crate::value::error::{Error, Result};
use crate::value::event::RecordedEvent;
use crate::value::limits::FOLLOWER_POLL;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use indexed::{Indexed, never_written, with_index};
use opening::open_path;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use watch::Shared;

/// A read-only view of a store that another process writes.
///
/// It reads what is durable, by position and through filters, and one stream by the index that the writer keeps. Any
/// number of followers may be open; the writer notices none of them. A backup can be followed like any store.
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

impl Follower {
    /// Opens the store in the directory `path` for following, whether or not a process has it open.
    ///
    /// # Errors
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): there is no store, or its journal is not a directory.
    /// * [`UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat): a newer version wrote it.
    /// * [`Corrupt`](crate::ErrorKind::Corrupt): the manifest or a segment's header is damaged, the journal or its
    ///   watermark is missing, or the watermark is empty or torn for good.
    /// * [`Replaced`](crate::ErrorKind::Replaced): the journal is another store's.
    pub fn open(path: impl AsRef<Path>) -> Result<Follower> {
        let (path, disk, manifest) = open_path(path.as_ref())?;
        let follower = Follower { shared: Arc::new(Shared::new(path, disk, manifest.store)) };
        follower.shared.look_until_whole()?;
        Ok(follower)
    }

    /// The directory of the store: an absolute path, whose symbolic links were resolved when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns whether the store is a [replica](crate::replica) now, which accepts no commits.
    ///
    /// # Errors
    /// [`Replaced`](crate::ErrorKind::Replaced) if another store is at the path, or none; errors of reading the
    /// manifest.
    pub fn is_replica(&self) -> Result<bool> {
        Ok(self.shared.manifest()?.role == Role::Replica)
    }

    /// Returns the last position that is durable now. It is the start if there is no event yet, or no watermark yet; a
    /// writer sets the watermark when it opens the store.
    ///
    /// # Errors
    /// * [`Replaced`](crate::ErrorKind::Replaced): what is at the path now is not what was opened.
    /// * [`Corrupt`](crate::ErrorKind::Corrupt): the journal or its watermark is missing, or the watermark is empty
    ///   or torn for good.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): the path, or the journal in it, is not a directory any more.
    ///   Each read fails with any of these as well.
    /// * Errors of reading the watermark, or the header of a new segment.
    pub fn head(&self) -> Result<Position> {
        let known = self.shared.look()?;
        Ok(Position::new(known.map_or(0, |known| known.watermark.position)))
    }

    /// Begins a read of one stream, in the order of its versions.
    ///
    /// It finds the events by the index that the writing process keeps, and reads of the journal only what that lacks:
    /// at most a few hundred MiB, after a burst of writes. Where there is no such index, as in a backup, it reads the
    /// whole journal.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, Follower, NewEvent, Store, Version};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("orders");
    /// let store = Store::open(&path)?; // in one process
    /// let events = ["Placed", "Paid", "Shipped"].map(|name| NewEvent::bytes(name, ""));
    /// store.append("Order-1", ExpectedVersion::NoStream, events)?;
    ///
    /// let follower = Follower::open(&path)?; // in another
    /// let events = follower.read_stream("Order-1").after(Version::new(1)).collect()?;
    /// assert_eq!(events.iter().map(|e| e.event_type.as_str()).collect::<Vec<_>>(), ["Paid", "Shipped"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_stream<S>(&self, stream: S) -> FollowerReadStream
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        FollowerReadStream::new(Arc::clone(&self.shared), stream.try_into().map_err(Error::from))
    }

    /// Returns what is known of one stream.
    ///
    /// # Errors
    /// [`StreamNotFound`](crate::ErrorKind::StreamNotFound) if it was never written;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if its name is invalid; those of [`head`](Follower::head) and
    /// of reading.
    pub fn stream_info<S>(&self, stream: S) -> Result<StreamInfo>
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        let stream = stream.try_into()?;
        let Some(indexed) = Indexed::now(&self.shared)? else { return Err(never_written(&stream)) };
        let (_, state) = with_index(indexed, |it| it.stream_state(&self.shared, &stream))?;
        match state.version {
            Version::NONE => Err(never_written(&stream)),
            _ => Ok(StreamInfo::new(stream, &state)),
        }
    }

    /// Begins a listing of streams, in the order of their names' bytes.
    pub fn streams(&self) -> FollowerStreams {
        FollowerStreams::new(Arc::clone(&self.shared))
    }

    /// Begins a read of the global sequence: what is durable now, or that and everything that follows.
    pub fn read(&self) -> FollowerRead {
        FollowerRead {
            shared: Arc::clone(&self.shared),
            options: ReadOptions::everything(),
            poll: FOLLOWER_POLL,
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("path", &self.shared.path).finish()
    }
}

/// A read through a [`Follower`]; see [`Follower::read`].
///
/// Filters of one kind add up, filters of different kinds must all hold; `limit` counts what is left.
#[must_use = "a read begins with `iter`, `collect` or `follow`"]
pub struct FollowerRead {
    shared: Arc<Shared>,
    options: ReadOptions,
    poll: Duration,
}

impl FollowerRead {
    range_methods!();
    stream_method!();
    filter_methods!();

    /// Sets how long [`follow`](FollowerRead::follow) waits between two looks at the watermark. The default is 10 ms.
    /// Each look reads 60 bytes.
    pub fn poll_interval(mut self, interval: Duration) -> FollowerRead {
        self.poll = interval;
        self
    }

    /// Reads what is durable now.
    ///
    /// # Errors
    /// Invalid settings of the builder; errors of reading the watermark.
    pub fn iter(mut self) -> Result<impl Iterator<Item = Result<RecordedEvent>> + Send + use<>> {
        let head = self.shared.look()?.map_or(0, |known| known.watermark.position);
        self.options.until = self.options.until.min(head);
        self.options.check()?;
        Ok(self.follow())
    }

    /// Reads all of it at once.
    ///
    /// # Errors
    /// Those of [`iter`](FollowerRead::iter) and of reading.
    pub fn collect(self) -> Result<Vec<RecordedEvent>> {
        self.iter()?.collect()
    }

    /// Reads what is durable, and then what the other process makes durable.
    pub fn follow(self) -> Following {
        let FollowerRead { shared, options, poll } = self;
        Following::new(shared, options, poll)
    }
}
