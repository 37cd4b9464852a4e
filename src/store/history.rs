//! The hash of the log's history, and comparing the log with a noted one.

use crate::store::Store;
use crate::value::error::Result;
use crate::value::head_hash::{HashCheck, HeadHash};
use crate::value::progress::Progress;

impl Store {
    /// Returns the hash of everything up to the head. Note it, one line of text, where nobody who
    /// can write this store can change it. The call costs nothing; see [`HeadHash`].
    #[must_use]
    pub fn head_hash(&self) -> HeadHash {
        let (position, _, chain) = self.log.log().head.visible_with_chain();
        HeadHash::new(position, chain)
    }

    /// Checks whether the log still has the noted history. The chain is computed again from the
    /// beginning of the log up to there, which takes as long as reading it.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the journal is damaged before the noted position;
    /// [`verify`](Store::verify) then reports more; [`Closed`](crate::ErrorKind::Closed).
    pub fn check_hash(&self, noted: &HeadHash) -> Result<HashCheck> {
        self.check_hash_with(noted, |_| {})
    }

    /// Does the same as [`check_hash`](Store::check_hash), and calls `report` with how far the comparison is, about
    /// every MiB. It ends at the noted position, which is before the end of the journal if events came since.
    ///
    /// # Errors
    /// Those of [`check_hash`](Store::check_hash).
    pub fn check_hash_with(
        &self,
        noted: &HeadHash,
        report: impl Fn(Progress),
    ) -> Result<HashCheck> {
        self.log.log().refuse_if_closed()?;
        let (head, end) = self.log.log().head.visible();
        self.log.log().journal.compare(noted, head, end, &report)
    }
}
