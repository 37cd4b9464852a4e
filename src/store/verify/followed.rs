//! Verifying a store beside the process that writes it.

use crate::doctor::audit::audited::{Audited, IndexAccess};
use crate::doctor::audit::{Site, audit};
use crate::follow::follower::Follower;
use crate::index::quarantine::INDEX;
use crate::journal::lenient_scan::Until;
use crate::store::verify::{Unchecked, Verification, read_manifest};
use crate::value::error::Result;
use crate::value::finding::Findings;
use crate::value::progress::Progress;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Follower {
    /// Checks what can be read beside the process that writes the store, and reports everything that is wrong.
    ///
    /// It walks the journal up to the last durable event, as [`Store::verify`](crate::Store::verify) does, and compares
    /// the events, streams and tags in the index with it. What it cannot look at is in
    /// [`Verification::unchecked`]: the database of the index, and the views, which only one process can open.
    ///
    /// Nothing is locked, and nothing is changed. It takes as long as reading the store; memory is bounded, at about
    /// 150 MiB.
    ///
    /// ```
    /// use filmstrip::repair::Unchecked;
    /// use filmstrip::{ExpectedVersion, Follower, NewEvent, Store};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path();
    /// let store = Store::open(path)?; // in one process
    /// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
    ///
    /// let verified = Follower::open(path)?.verify()?; // in another
    /// assert!(verified.is_whole(), "{:?}", verified.findings);
    /// assert_eq!(verified.events, 1);
    /// assert!(verified.unchecked.contains(&Unchecked::Views));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`head`](Follower::head); [`InvalidInput`](crate::ErrorKind::InvalidInput) if no process has opened the
    /// store yet; what prevented the verification itself. Damage is a finding, not an error, but for the end of the
    /// journal: without it, it is unknown how far to read.
    pub fn verify(&self) -> Result<Verification> {
        self.verify_with(|_| {})
    }

    /// Does the same as [`verify`](Follower::verify), and calls `report` as
    /// [`Store::verify_with`](crate::Store::verify_with) does.
    ///
    /// # Errors
    /// Those of [`verify`](Follower::verify).
    pub fn verify_with(&self, report: impl Fn(Progress)) -> Result<Verification> {
        // Before the journal, which then has all that the index holds.
        let index = self.index();
        let durable = self.durable()?;
        let (path, journal) = (self.path(), &durable.journal);
        let mut findings = Findings::default();
        // What the manifest lacks is a finding, and prevents nothing.
        let _ = read_manifest(&**journal.disk(), path, &mut findings)?;
        let index = index.as_deref();
        let audited = index.map(|it| Audited::new(IndexAccess::Tables(it), path.join(INDEX)));
        let site = Site {
            disk: Arc::clone(journal.disk()),
            journal: journal.directory().to_owned(),
            store: journal.store(),
            until: Until::Visible(durable.end),
            index: audited.transpose()?,
            chains_at: BTreeSet::new(),
            report: &report,
        };
        let walked = audit(&site, &mut findings)?;
        let indexed = index.map(|index| index.checkpoint().position);
        let of_index = if index.is_some() { Unchecked::IndexDatabase } else { Unchecked::Index };
        let mut verified = Verification::new(findings, &walked, indexed, 0);
        verified.unchecked = vec![of_index, Unchecked::Views];
        Ok(verified)
    }
}
