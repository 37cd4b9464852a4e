//! Comparing a journal that may be written meanwhile with a noted hash.

use crate::codec::frame::{Chain, Frame, Location};
use crate::journal::lenient_scan::{LenientScan, Step, Until};
use crate::journal::read::Journal;
use crate::journal::segment;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::finding::FindingKind;
use crate::value::head_hash::{HashCheck, HeadHash};
use crate::value::progress::{Progress, Reporter};
use std::cmp::Ordering;
use std::sync::Arc;

impl Journal {
    /// Whether what is visible up to `end`, which is at position `head`, begins with the noted history. The chain is
    /// computed again from the first frame on.
    pub(crate) fn compare(
        &self,
        noted: &HeadHash,
        head: u64,
        end: Location,
        report: &dyn Fn(Progress),
    ) -> Result<HashCheck> {
        let until = noted.position.get();
        if until > head {
            return Ok(HashCheck::Shorter);
        }
        let mut chain: Chain = [0; 32];
        if until == 0 && noted.hash == chain {
            return Ok(HashCheck::Same);
        }
        let disk = Arc::clone(self.disk());
        let mut scan = LenientScan::new(disk, self.directory(), self.store(), Until::Visible(end))?;
        let mut progress = Reporter::new(report, "compared", scan.total_bytes());
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
                    return Err(self.corrupt(at, position, "a frame is damaged"));
                }
            };
            let header = &frame.header;
            if header.last_position() > until {
                break;
            }
            chain = frame.chain_after(&chain).map_err(|what| {
                Error::new(ErrorKind::Corrupt, format!("position {until}: {what}"))
            })?;
            progress.reached(header.last_position(), scan.bytes);
            // Frames without events share a position; the noted hash is that of one of them.
            if header.last_position() == until && chain == noted.hash {
                return Ok(HashCheck::Same);
            }
        }
        Ok(HashCheck::Changed)
    }

    /// Whether the journal, which is visible up to `end`, once ended with `hash`. It trusts the chain that frames name,
    /// and reads one segment, or a little more.
    pub(crate) fn has_had(self: &Arc<Journal>, hash: &HeadHash, end: Location) -> Result<bool> {
        let position = hash.position.get();
        let Some(segment) = self.segment_at(position.max(1)) else { return Ok(false) };
        if (position, hash.hash) == (segment.first_position - 1, segment.chain) {
            return Ok(true);
        }
        let start = Location { segment: segment.number, offset: segment::HEADER_BYTES };
        for item in self.frames(start, segment.first_position, end) {
            let (_, Frame { header, .. }) = item?;
            match header.last_position().cmp(&position) {
                Ordering::Greater => break,
                Ordering::Equal if header.chain == hash.hash => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }
}
