//! The history of a followed store: its hash, comparing it with a noted one, and the files that it is in.

use crate::follow::follower::Follower;
use crate::journal::extent::SegmentInfo;
use crate::value::error::Result;
use crate::value::head_hash::{HashCheck, HeadHash};
use crate::value::progress::Progress;

impl Follower {
    /// Returns the hash of everything that is durable now: what [`Store::head_hash`](crate::Store::head_hash) returns
    /// in the process that writes the store. It reads one header.
    ///
    /// ```
    /// use filmstrip::repair::HashCheck;
    /// use filmstrip::{ExpectedVersion, Follower, NewEvent, Store};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path();
    /// let store = Store::open(path)?; // in one process
    /// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
    ///
    /// let follower = Follower::open(path)?; // in another
    /// let noted = follower.head_hash()?;
    /// assert_eq!(noted, store.head_hash());
    /// assert_eq!(follower.check_hash(&noted)?, HashCheck::Same);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`head`](Follower::head); [`Corrupt`](crate::ErrorKind::Corrupt) if the last frame is damaged.
    pub fn head_hash(&self) -> Result<HeadHash> {
        let Some(known) = self.shared.look()? else { return Ok(HeadHash::new(0, [0; 32])) };
        known.head_hash()
    }

    /// Checks whether what is durable now still begins with the noted history, as
    /// [`Store::check_hash`](crate::Store::check_hash) does in the process that writes the store. It reads the log from
    /// its beginning up to there.
    ///
    /// # Errors
    /// Those of [`head`](Follower::head); [`Corrupt`](crate::ErrorKind::Corrupt) if the journal is damaged before the
    /// noted position.
    pub fn check_hash(&self, noted: &HeadHash) -> Result<HashCheck> {
        self.check_hash_with(noted, |_| {})
    }

    /// Does the same as [`check_hash`](Follower::check_hash), and calls `report` with how far the comparison is, about
    /// every MiB. It ends at the noted position, which is before the end of the journal if events came since.
    ///
    /// # Errors
    /// Those of [`check_hash`](Follower::check_hash).
    pub fn check_hash_with(
        &self,
        noted: &HeadHash,
        report: impl Fn(Progress),
    ) -> Result<HashCheck> {
        match self.shared.look()? {
            Some(known) => {
                let end = known.end();
                known.journal.compare(noted, known.watermark.position, end, &report)
            }
            None if *noted == HeadHash::new(0, [0; 32]) => Ok(HashCheck::Same),
            None if noted.position.get() == 0 => Ok(HashCheck::Changed),
            None => Ok(HashCheck::Shorter),
        }
    }

    /// Returns the files of the journal up to what is durable now, as [`Store::segments`](crate::Store::segments) does
    /// in the process that writes the store. It reads the headers of the files that it has not seen before, a page of
    /// each.
    ///
    /// # Errors
    /// Those of [`head`](Follower::head).
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let known = self.shared.look()?;
        Ok(known.map_or_else(Vec::new, |known| known.journal.extents(known.end())))
    }
}
