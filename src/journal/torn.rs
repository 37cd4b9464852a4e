//! Saves a torn write: its bytes are durably copied to a file of their own before they are cleared.
//!
//! The newest `TORN_COPIES_MAX` of these files are kept.

use crate::codec::frame::Location;
use crate::codec::length::in_memory;
use crate::journal::names::{self, TornPlace};
use crate::journal::read::Journal;
use crate::journal::watermark::DurableWatermark;
use crate::storage::disk::DiskFile;
use crate::storage::replace::{self, TEMPORARY};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::TORN_COPIES_MAX;
use crate::value::shown;
use serde::Serialize;
use std::path::PathBuf;

/// An incomplete last frame, nearly always cut by a crash, as opening the store found and kept it; see
/// [`Store::torn_write`](crate::Store::torn_write).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TornWrite {
    /// The journal segment that it was in.
    #[serde(serialize_with = "shown::path")]
    pub file: PathBuf,
    /// Where in the segment it began.
    pub offset: u64,
    /// How many bytes it left.
    pub bytes: u64,
    /// The file that its bytes were copied to before their place was cleared.
    #[serde(serialize_with = "shown::path")]
    pub copy: PathBuf,
    /// It had been durable: the disk lost what it had confirmed, and no crash cut it.
    pub acknowledged: bool,
}

/// Copies the torn bytes to a file of their own, then zeroes them in the segment.
pub(super) fn set_aside(
    journal: &Journal,
    file: &dyn DiskFile,
    at: Location,
    bytes: u64,
    watermark: Option<DurableWatermark>,
) -> Result<TornWrite> {
    let torn = journal.read(at, in_memory(bytes))?;
    let clear = || {
        let zero = || {
            file.write_all_at(&vec![0; torn.len()], at.offset)?;
            file.sync_data()
        };
        zero().map_err(|e| Error::io("clear a torn write in", &journal.path(at.segment), e))
    };
    if failpoint!("journal::clear_torn_before_copy") {
        clear()?;
    }
    let copy = keep_copy(journal, at, &torn)?;
    clear()?;
    let acknowledged =
        watermark.is_some_and(|watermark| watermark.frame == at && watermark.end > at.offset);
    if acknowledged {
        tracing::error!(
            segment = at.segment,
            offset = at.offset,
            bytes,
            copy = %copy.display(),
            "the journal's last frame is damaged although it was durable; its bytes were saved"
        );
    } else {
        tracing::warn!(
            segment = at.segment,
            offset = at.offset,
            bytes,
            copy = %copy.display(),
            "a write was cut short by a crash; its bytes were saved"
        );
    }
    let file = journal.path(at.segment);
    Ok(TornWrite { file, offset: at.offset, bytes, copy, acknowledged })
}

/// Saves `torn`, which was at `at`, in a file of its own. Removes the oldest such files if there are too many.
fn keep_copy(journal: &Journal, at: Location, torn: &[u8]) -> Result<PathBuf> {
    let disk = &**journal.disk();
    let mut kept: Vec<(TornPlace, String)> = names::list(disk, journal.directory())?
        .into_iter()
        .filter_map(|name| Some((names::torn_place(&name)?, name)))
        .collect();
    // The journal only grows, so a torn write further on is newer. At one place, a higher number is newer.
    kept.sort_unstable();
    let here = kept.iter().map(|(place, _)| place);
    let newest_here = here.filter(|place| (place.segment, place.offset) == (at.segment, at.offset));
    let again = newest_here.max().map_or(0, |place| place.again.saturating_add(1));
    let name = TornPlace { segment: at.segment, offset: at.offset, again }.name();
    let copy = journal.directory().join(name);
    replace::replace(disk, &copy, TEMPORARY, torn)?;
    let max = if failpoint!("journal::keep_every_torn") { usize::MAX } else { TORN_COPIES_MAX };
    let excess = (kept.len() + 1).saturating_sub(max);
    for (_, name) in kept.iter().take(excess) {
        let path = journal.directory().join(name);
        match disk.remove(&path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "the copy of an old torn write was removed");
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the copy of an old torn write could not be removed");
            }
        }
    }
    Ok(copy)
}
