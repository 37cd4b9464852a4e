//! How far a followed store is durable, and whether it is still the one that was opened.

use crate::codec::frame::{HEADER_BYTES, Header, Location};
use crate::journal::manifest;
use crate::journal::read::Journal;
use crate::journal::recover::read_header;
use crate::journal::segment;
use crate::journal::watermark::{self, DurableWatermark, Look};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::stat::FileIdentity;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// What a follower and its reads share.
pub(super) struct Shared {
    pub(super) owner: Owner,
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store: Uuid,
    pub(super) journal: Arc<Journal>,
    /// How far the journal is known to be durable.
    pub(super) seen: Mutex<Seen>,
}

pub(super) struct Seen {
    pub(super) watermark: Option<DurableWatermark>,
    /// The last segment that the journal's reader knows; 0: none.
    pub(super) segment: u64,
    /// The file that the watermark was read from. While it is held, no other file can pass for it.
    pub(super) file: Option<(Arc<dyn DiskFile>, FileIdentity)>,
    /// The last frame that any reader has read, and where it is.
    pub(super) read: Option<(Location, Header)>,
}

impl Shared {
    /// How far the journal is durable, as the watermark says now. A watermark that is just being written says nothing;
    /// then what is known still holds.
    pub(super) fn look(&self, attempts: u32) -> Result<Option<DurableWatermark>> {
        self.owner.check()?;
        // Held over the reading: of two threads, one must not come with an older watermark than the other did.
        let mut seen = self.seen.lock();
        for _ in 0..attempts {
            let look = || watermark::look(&*self.disk, self.journal.directory());
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

    /// What the watermark that was looked at says, if it says anything. A watermark in another file is the sign that
    /// all files may be others: a writer has opened the store, a backup was taken into its directory, or something
    /// else was put in its place.
    fn take(&self, seen: &mut Seen, look: Look) -> Result<Option<DurableWatermark>> {
        let Look::Found { file, identity, watermark } = look else {
            self.check_manifest()?;
            self.check_unwritten(seen)?;
            return Ok(None);
        };
        let is_the_same = identity.is_none_or(|identity| {
            seen.file.as_ref().is_some_and(|(_, before)| *before == identity)
        });
        let Some((store, watermark)) = watermark else {
            // Torn: it is just being written.
            self.check_manifest()?;
            return Ok(None);
        };
        if store != self.store {
            self.check_manifest()?;
            return self.refuse_another_store(store);
        }
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
            let what = "the durable watermark has gone back to before what was shown";
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

    /// Makes sure that a journal without a watermark has not been written yet. A writer sets the watermark when it
    /// opens the store, before it writes anything, and replaces it in one step.
    fn check_unwritten(&self, seen: &Seen) -> Result<()> {
        if failpoint!("follow::wait_without_watermark") {
            return Ok(());
        }
        let directory = self.journal.directory();
        read_header(&*self.disk, directory, self.store, 1, true)?;
        let mut first = [0; HEADER_BYTES];
        let path = self.journal.path(1);
        let read = self.disk.open(&path);
        let read = read.and_then(|file| file.read_at(&mut first, segment::HEADER_BYTES));
        read.map_err(|e| Error::io("read", &path, e))?;
        let is_written = seen.watermark.is_some() || first.iter().any(|byte| *byte != 0);
        // A writer may have begun in between.
        if !is_written || !matches!(watermark::look(&*self.disk, directory)?, Look::Missing) {
            return Ok(());
        }
        let what =
            "it is missing, although the journal was written; opening the store creates it again";
        Err(Error::corrupt(&watermark::path(directory), 0, None, what))
    }

    fn refuse_another_store(&self, met: Uuid) -> Result<Option<DurableWatermark>> {
        if failpoint!("follow::wait_without_watermark") {
            return Ok(None);
        }
        let (directory, store) = (self.journal.directory().display(), self.store);
        let message = format!("{directory} holds the journal of the store {met}, not of {store}");
        Err(Error::new(ErrorKind::Replaced, message))
    }

    /// Whether the current files hold what was read from the earlier ones. The chain in a frame covers everything up to
    /// it.
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

    /// Records that the frame with this header, at `at`, was read.
    pub(super) fn note(&self, at: Location, header: &Header) {
        let read = &mut self.seen.lock().read;
        if read.as_ref().is_none_or(|(before, _)| *before < at) {
            *read = Some((at, header.clone()));
        }
    }
}
