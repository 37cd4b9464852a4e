//! Where a replica's frames come from.

use crate::journal::shipped::{JournalEnd, JournalFrame};
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::head_hash::HeadHash;
use crate::value::position::Position;
use chrono::{DateTime, Utc};
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// Where a replica takes its frames from: the directory of another store
/// ([`StoreDirectory`](crate::replica::StoreDirectory)), or whatever carries them from there.
///
/// The replica calls it on a thread of its own, and trusts nothing of it: each frame is checked before it is written.
/// A source must not return a frame before it is durable where it was made: otherwise, after a crash there, the replica
/// has a history that its source has not.
pub trait FrameSource: Send + 'static {
    /// Returns which store it has the frames of. The replica asks only if its directory is empty.
    ///
    /// # Errors
    /// Opening the replica fails with them.
    fn store(&mut self) -> Result<SourceStore>;

    /// Returns whether it reads the journal of the store in `directory`. Opening a replica there is refused then: it
    /// would wait for itself.
    fn reads_from(&self, _directory: &Path) -> bool {
        false
    }

    /// Returns frames that follow `after`, in order and without a gap. There should be no more than 4 MiB of them, or
    /// one. If there are none yet, waits for some, about as long as `wait` and not much longer: closing the replica
    /// waits for this call.
    ///
    /// # Errors
    /// [`Diverged`](crate::ErrorKind::Diverged) if the source has another history than the one that ends at `after`,
    /// and [`UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat): both stop the replica. After any other error it
    /// calls again, with pauses of up to 5 s.
    fn read(&mut self, after: &JournalEnd, wait: Duration) -> Result<Heard>;
}

/// What a source has returned.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The frames that follow.
    pub frames: Vec<JournalFrame>,
    /// The last position that is durable at the store where they come from, as far as the source knows.
    pub head: Position,
    /// The hash of the history there, if the source has less than was asked for and knows it: it tells a source that
    /// was restored from an older backup from one that went another way since.
    pub hash: Option<HeadHash>,
}

/// Which store a source has the frames of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceStore {
    /// The store's id.
    pub id: Uuid,
    /// When the store was created.
    pub created: DateTime<Utc>,
}

impl SourceStore {
    pub(crate) fn new(id: Uuid, created: Micros) -> SourceStore {
        SourceStore { id, created: created.to_utc() }
    }
}
