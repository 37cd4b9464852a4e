//! The hash of the log's history, and comparing the log with a noted one.

use crate::codec::frame::{Chain, Frame};
use crate::journal::lenient_scan::{LenientScan, Step, Until};
use crate::store::Store;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::finding::FindingKind;
use crate::value::head_hash::{HashCheck, HeadHash};
use std::sync::Arc;

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
    /// [`Corrupt`](ErrorKind::Corrupt) if the journal is damaged before the noted position;
    /// [`verify`](Store::verify) then reports more; [`Closed`](ErrorKind::Closed).
    pub fn check_hash(&self, noted: &HeadHash) -> Result<HashCheck> {
        self.log.log().refuse_if_closed()?;
        let journal = &self.log.log().journal;
        let (head, end) = self.log.log().head.visible();
        let until = noted.position.get();
        if until > head {
            return Ok(HashCheck::Shorter);
        }
        let disk = Arc::clone(journal.disk());
        let mut scan =
            LenientScan::new(disk, journal.directory(), journal.store(), Until::Visible(end))?;
        let mut chain: Chain = [0; 32];
        if until == 0 && noted.hash == chain {
            return Ok(HashCheck::Same);
        }
        while let Some(step) = scan.next()? {
            let frame = match step {
                Step::Frame { frame, .. } => frame,
                // Its checksums hold: somebody has corrected them.
                Step::Wrong(finding) if finding.kind == FindingKind::Chain => {
                    return Ok(HashCheck::Changed);
                }
                Step::Wrong(finding) => {
                    return Err(Error::new(ErrorKind::Corrupt, finding.to_string()));
                }
                Step::Broken { at, header, .. }
                | Step::Doubtful { at, frame: Frame { header, .. } } => {
                    let position = Some(header.first_position);
                    return Err(journal.corrupt(at, position, "a frame is damaged"));
                }
            };
            let header = &frame.header;
            if header.last_position() > until {
                break;
            }
            chain = frame.chain_after(&chain).map_err(|what| {
                Error::new(ErrorKind::Corrupt, format!("position {until}: {what}"))
            })?;
            // Frames without events share a position; the noted hash is that of one of them.
            if header.last_position() == until && chain == noted.hash {
                return Ok(HashCheck::Same);
            }
        }
        Ok(HashCheck::Changed)
    }
}
