//! How far a followed store is durable, and whether it is still the one that was opened.

use crate::codec::frame::{HEADER_BYTES, Header, Location};
use crate::index::read_only::IndexReader;
use crate::journal::manifest::{self, Manifest};
use crate::journal::read::Journal;
use crate::journal::recover::read_header;
use crate::journal::segment::{self, SegmentHeader};
use crate::journal::watermark::{self, DurableWatermark, Look};
use crate::log::core::journal_directory;
#[cfg(feature = "erasure")]
use crate::log::privacy::list::ForgottenList;
use crate::storage::disk::{Disk, DiskFile, unless_no_directory};
use crate::storage::stat::FileIdentity;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::head_hash::HeadHash;
use crate::value::limits::{TORN_WATERMARK_MAX, TORN_WATERMARK_PAUSE};
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// What a follower and its reads share.
pub(super) struct Shared {
    pub(super) owner: Owner,
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) store: Uuid,
    /// The directory of the journal.
    pub(super) directory: PathBuf,
    seen: Mutex<Seen>,
    pub(super) index: IndexReader,
}

struct Seen {
    /// How far the journal is known to be durable.
    watermark: Option<DurableWatermark>,
    files: Files,
    /// The last frame that any reader has read, and where it is.
    read: Option<(Location, Header)>,
    /// The bytes of the torn watermark that the last look has met, and when they were met first.
    torn: Option<([u8; watermark::BYTES], Instant)>,
}

/// The files of one journal. Others that take their places get a reader of their own, so that no segment's header and
/// no open file of theirs is taken for one of the others.
#[derive(Clone)]
struct Files {
    journal: Arc<Journal>,
    /// The last segment that the journal's reader knows; 0: none.
    segment: u64,
    /// The file that the watermark was read from. While it is held, no other file can pass for it.
    watermark: Option<(Arc<dyn DiskFile>, FileIdentity)>,
}

/// What a look has found: the journal's reader, and how far the journal is durable.
pub(super) struct Known {
    pub(super) journal: Arc<Journal>,
    pub(super) watermark: DurableWatermark,
}

impl Known {
    /// Where the next frame will begin.
    pub(super) fn end(&self) -> Location {
        Location { segment: self.watermark.frame.segment, offset: self.watermark.end }
    }

    /// The hash of everything that is durable. It reads one header.
    pub(super) fn head_hash(&self) -> Result<HeadHash> {
        let (at, position) = (self.watermark.frame, self.watermark.position);
        // A segment in which there is no frame yet says itself what came before.
        if self.watermark.end == at.offset
            && let Some(segment) = self.journal.segment(at.segment)
        {
            return Ok(HeadHash::new(position, segment.chain));
        }
        let mut bytes = [0; HEADER_BYTES];
        let path = self.journal.path(at.segment);
        let file = self.journal.disk().open(&path).map_err(|e| Error::io("open", &path, e))?;
        file.read_at(&mut bytes, at.offset).map_err(|e| Error::io("read", &path, e))?;
        let header = Header::parse(&bytes).filter(|header| header.last_position() == position);
        let header = header.ok_or_else(|| {
            let what = "there is no frame where the last one must be";
            self.journal.corrupt(at, Some(position), what)
        })?;
        Ok(HeadHash::new(position, header.chain))
    }
}

/// The journal of the store in `path`. A follower has no keys; who was forgotten it finds in a list.
fn new_journal(
    disk: &Arc<dyn Disk>,
    path: &Path,
    store: Uuid,
    headers: Vec<SegmentHeader>,
) -> Journal {
    let journal = Journal::new(Arc::clone(disk), journal_directory(path), store, headers);
    #[cfg(feature = "erasure")]
    journal.open_private_by(Box::new(ForgottenList::new(Arc::clone(disk), path)));
    journal
}

impl Shared {
    pub(super) fn new(path: PathBuf, disk: Arc<dyn Disk>, store: Uuid) -> Shared {
        let directory = journal_directory(&path);
        let journal = new_journal(&disk, &path, store, Vec::new());
        let files = Files { journal: Arc::new(journal), segment: 0, watermark: None };
        let seen = Mutex::new(Seen { watermark: None, files, read: None, torn: None });
        let index = IndexReader::new(&disk, &path, store);
        Shared { owner: Owner::this_process(), path, disk, store, directory, seen, index }
    }

    /// How far the journal is durable, by a watermark that is not torn: at least as far as the writer has acknowledged
    /// when this is called.
    pub(super) fn look_until_whole(&self) -> Result<Option<Known>> {
        loop {
            let (known, is_torn) = self.look_now()?;
            if !is_torn {
                return Ok(known);
            }
            std::thread::sleep(TORN_WATERMARK_PAUSE);
        }
    }

    /// How far the journal is durable, as the watermark says now. A watermark that is just being written says nothing;
    /// then what is known still holds.
    pub(super) fn look(&self) -> Result<Option<Known>> {
        Ok(self.look_now()?.0)
    }

    /// How far the journal is known to be durable, and whether the watermark is torn now.
    fn look_now(&self) -> Result<(Option<Known>, bool)> {
        self.owner.check()?;
        // Held over the reading: of two threads, one must not come with an older watermark than the other did.
        let mut seen = self.seen.lock();
        let look = || self.look_at_watermark();
        let look = match failpoint!("follow::look_out_of_order") {
            true => MutexGuard::unlocked(&mut seen, look)?,
            false => look()?,
        };
        let seen = &mut *seen;
        if let Some((watermark, files)) = self.take(seen, look)? {
            self.advance(seen, watermark, files)?;
        }
        let known = |watermark| Known { journal: Arc::clone(&seen.files.journal), watermark };
        Ok((seen.watermark.map(known), seen.torn.is_some()))
    }

    fn look_at_watermark(&self) -> Result<Look> {
        let look = watermark::look(&*self.disk, &self.directory);
        look.map_err(|error| unless_no_directory(&*self.disk, &self.path, error))
    }

    /// What the watermark that was looked at says, if it says anything, and of which files. A watermark in another file
    /// is the sign that all files may be others: a writer has opened the store, a backup was taken into its directory,
    /// or something else was put in its place.
    fn take(&self, seen: &mut Seen, look: Look) -> Result<Option<(DurableWatermark, Files)>> {
        let torn_before = seen.torn.take();
        let (file, identity, store, watermark) = match look {
            Look::Found { file, identity, store, watermark } => (file, identity, store, watermark),
            Look::Torn(bytes) => {
                self.check_manifest()?;
                return self.take_torn(seen, bytes, torn_before);
            }
            Look::Empty if !failpoint!("follow::wait_for_empty_watermark") => {
                self.check_manifest()?;
                return Err(self.no_watermark("it is empty"));
            }
            Look::Empty | Look::Missing => {
                self.check_manifest()?;
                self.check_unwritten(seen)?;
                return Ok(None);
            }
        };
        let is_the_same = identity.is_none_or(|identity| {
            seen.files.watermark.as_ref().is_some_and(|(_, before)| *before == identity)
        });
        if store != self.store {
            self.check_manifest()?;
            return self.refuse_another_store(store);
        }
        if is_the_same {
            return Ok(Some((watermark, seen.files.clone())));
        }
        self.check_manifest()?;
        self.check_history(seen, &watermark)?;
        let watermark_file = identity.map(|identity| (file, identity));
        if failpoint!("follow::keep_replaced_files") {
            return Ok(Some((
                watermark,
                Files { watermark: watermark_file, ..seen.files.clone() },
            )));
        }
        // Of the headers, those before what was read may be others too: the chain does not cover where a frame is.
        let kept = if failpoint!("follow::keep_replaced_headers") { seen.files.segment } else { 0 };
        let headers = (1..=kept).filter_map(|number| seen.files.journal.segment(number)).collect();
        let journal = Arc::new(new_journal(&self.disk, &self.path, self.store, headers));
        Ok(Some((watermark, Files { journal, segment: kept, watermark: watermark_file })))
    }

    /// Shows what `watermark` says is durable in `files`.
    fn advance(
        &self,
        seen: &mut Seen,
        watermark: DurableWatermark,
        mut files: Files,
    ) -> Result<()> {
        if seen.watermark.is_some_and(|before| watermark.position < before.position) {
            let what = "the durable watermark has gone back to before what was shown";
            let path = watermark::path(&self.directory);
            return Err(Error::corrupt(&path, 48, Some(watermark.position + 1), what));
        }
        // A segment that the watermark names has its name and its header for good.
        while files.segment < watermark.frame.segment {
            let number = files.segment + 1;
            let header = read_header(&*self.disk, &self.directory, self.store, number, true)
                .or_else(|error| self.check_manifest().and(Err(error)))?;
            files.journal.add_segment(header);
            files.segment = number;
        }
        (seen.watermark, seen.files) = (Some(watermark), files);
        Ok(())
    }

    /// Whether the store that was opened is still the one at its path.
    fn check_manifest(&self) -> Result<()> {
        match failpoint!("follow::overlook_another_store") {
            true => Ok(()),
            false => self.manifest().map(drop),
        }
    }

    /// The manifest of the store that was opened, as it is now.
    pub(super) fn manifest(&self) -> Result<Manifest> {
        let is_now = match manifest::read(&*self.disk, &self.path)? {
            Some(manifest) if manifest.store == self.store => return Ok(manifest),
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
        let directory = &*self.directory;
        read_header(&*self.disk, directory, self.store, 1, true)?;
        let mut first = [0; HEADER_BYTES];
        let path = segment::path(directory, 1);
        let read = self.disk.open(&path);
        let read = read.and_then(|file| file.read_at(&mut first, segment::HEADER_BYTES));
        read.map_err(|e| Error::io("read", &path, e))?;
        let is_written = seen.watermark.is_some() || first.iter().any(|byte| *byte != 0);
        // A writer may have begun in between.
        if !is_written || !matches!(watermark::look(&*self.disk, directory)?, Look::Missing) {
            return Ok(());
        }
        Err(self.no_watermark("it is missing, although the journal was written"))
    }

    /// Takes a torn watermark for one that is just being written, unless it stays as it is.
    fn take_torn(
        &self,
        seen: &mut Seen,
        bytes: [u8; watermark::BYTES],
        before: Option<([u8; watermark::BYTES], Instant)>,
    ) -> Result<Option<(DurableWatermark, Files)>> {
        let same = before.filter(|(before, _)| *before == bytes);
        let since = same.map_or_else(Instant::now, |(_, since)| since);
        seen.torn = Some((bytes, since));
        if since.elapsed() >= TORN_WATERMARK_MAX && !failpoint!("follow::wait_for_torn_watermark") {
            return Err(self.no_watermark(&format!("it has been torn for {TORN_WATERMARK_MAX:?}")));
        }
        Ok(None)
    }

    fn no_watermark(&self, what: &str) -> Error {
        let what = format!("{what}; opening the store creates it again");
        Error::corrupt(&watermark::path(&self.directory), 0, None, what)
    }

    fn refuse_another_store(&self, met: Uuid) -> Result<Option<(DurableWatermark, Files)>> {
        if failpoint!("follow::wait_without_watermark") {
            return Ok(None);
        }
        let (directory, store) = (self.directory.display(), self.store);
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
        match &seen.read {
            Some(read) if !self.holds(read)? => {
                let position = read.1.last_position();
                Err(self.other_history(&format!("it differs up to position {position}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the current files hold this frame at its place.
    pub(super) fn holds(&self, (at, read): &(Location, Header)) -> Result<bool> {
        let mut bytes = [0; HEADER_BYTES];
        let path = segment::path(&self.directory, at.segment);
        let filled =
            match self.disk.open(&path).and_then(|file| file.read_at(&mut bytes, at.offset)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("read", &path, error));
                }
                filled => filled.unwrap_or(0),
            };
        let header = Header::parse(&bytes[..filled]);
        let position = read.last_position();
        Ok(header.is_some_and(|it| it.chain == read.chain && it.last_position() == position))
    }

    fn other_history(&self, what: &str) -> Error {
        let (path, store) = (self.path.display(), self.store);
        let message = format!("{path} holds another history of the store {store} now: {what}");
        Error::new(ErrorKind::Replaced, message)
    }

    /// Records that `frame` was read in the files of `journal`. False if others have taken their places since: then it
    /// may be of another history.
    pub(super) fn note(&self, journal: &Arc<Journal>, frame: Option<&(Location, Header)>) -> bool {
        let seen = &mut *self.seen.lock();
        let is_now = Arc::ptr_eq(journal, &seen.files.journal);
        if let Some(frame) = frame.filter(|_| is_now)
            && seen.read.as_ref().is_none_or(|(before, _)| *before < frame.0)
        {
            seen.read = Some(frame.clone());
        }
        is_now
    }
}
