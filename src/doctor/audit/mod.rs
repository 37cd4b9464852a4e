//! An audit: it reads the whole journal and compares the index with it.
//!
//! * It is read-only and heals nothing: each fault is a finding, and the walk continues.
//! * Each event of the journal must be found through the index with the same bytes. Each stream state, record, sparse
//!   index entry and snapshot in the index must agree with the journal.
//! * Memory is bounded for a store of any size: events are compared batch by batch; names are held as far as they
//!   fit, and the journal is read again for the rest.
//! * A log that is written to meanwhile is audited as of the start of the audit. Later changes are not findings.

pub(crate) mod audited;
mod events;
pub(crate) mod names;
pub(crate) mod salvage;
mod sparse_index;

use crate::codec::entry;
use crate::codec::envelope::{self, Place};
use crate::codec::frame::{Chain, Frame, Location};
use crate::doctor::audit::audited::Audited;
use crate::index::flush_batch::EventToIndex;
use crate::journal::lenient_scan::{LenientScan, Step, Until};
use crate::journal::segment;
use crate::journal::watermark;
use crate::log::read::located::{Located, each_located};
use crate::storage::disk::Disk;
use crate::value::error::Result;
use crate::value::finding::{Finding, FindingKind, Findings};
use crate::value::position::{Position, Version};
use crate::value::progress::{Progress, Reporter};
use events::Comparison;
use names::Names;
use sparse_index::SparseEntries;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// The store to audit.
pub(crate) struct Site<'a> {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) journal: PathBuf,
    pub(crate) store: Uuid,
    pub(crate) until: Until,
    pub(crate) index: Option<Audited<'a>>,
    /// Positions for which the caller wants the journal's chain.
    pub(crate) chains_at: BTreeSet<u64>,
    /// Is called from time to time and at the end of each walk over the journal.
    pub(crate) report: &'a dyn Fn(Progress),
}

/// The amounts that an audit has read.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) events: u64,
    pub(crate) frames: u64,
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
    /// The last position of the journal, including lost ones.
    pub(crate) head: u64,
    /// For each position in `chains_at` whose frame can be read, the chain after that frame.
    pub(crate) chains: BTreeMap<u64, Chain>,
}

/// Audits `site`.
///
/// # Errors
/// `UnsupportedFormat`, or an error that stopped the audit itself. Damage is not an error.
pub(crate) fn audit(site: &Site<'_>, findings: &mut Findings) -> Result<Walked> {
    let mut walk = Walk {
        site,
        findings,
        walked: Walked::default(),
        comparison: site.index.as_ref().map(Comparison::new),
        sparse_entries: site.index.as_ref().filter(|it| it.has_database()).map(SparseEntries::new),
        checkpoint: Checkpoint::NotMet,
        // The watermark of a journal without a frame names the place where the first one will be.
        mark_found: site.until.watermark().is_none_or(|it| it.end == it.frame.offset),
        is_first: true,
    };
    let mut names = Names::first();
    loop {
        walk.pass(&mut names)?;
        if let Some(index) = &site.index {
            names.check_index(index, walk.walked.head, walk.findings)?;
        }
        match names.rest() {
            None => break,
            Some(rest) => names = rest,
        }
        tracing::info!(
            "there are more streams than fit into memory at once; the journal is read again"
        );
        walk.is_first = false;
    }
    Ok(walk.walked)
}

/// Whether the index's checkpoint agrees with the journal.
#[derive(PartialEq)]
enum Checkpoint {
    NotMet,
    Right,
    Wrong,
}

struct Walk<'a> {
    site: &'a Site<'a>,
    findings: &'a mut Findings,
    walked: Walked,
    comparison: Option<Comparison<'a>>,
    sparse_entries: Option<SparseEntries<'a>>,
    checkpoint: Checkpoint,
    mark_found: bool,
    /// Later passes handle only names.
    is_first: bool,
}

impl Walk<'_> {
    fn pass(&mut self, names: &mut Names) -> Result<()> {
        let site = self.site;
        let disk = Arc::clone(&site.disk);
        let mut scan = LenientScan::new(disk, &site.journal, site.store, site.until)?;
        let mut progress = Reporter::new(site.report, "verified", scan.total_bytes());
        while let Some(step) = scan.next()? {
            match step {
                Step::Wrong(finding) if self.is_first => self.findings.add(finding),
                // The finding says all that is known.
                Step::Wrong(_) | Step::Doubtful { .. } => {}
                Step::Frame { at, frame } => self.frame(names, at, &frame)?,
                Step::Broken { at, header, bytes } => {
                    for event in salvage::events(at, &header, &bytes) {
                        self.event(names, event)?;
                    }
                }
            }
            progress.reached(scan.next_position() - 1, scan.bytes);
        }
        progress.ended(scan.next_position() - 1);
        if self.is_first {
            self.walked.head = scan.next_position() - 1;
            self.walked.segments = scan.segments;
            self.walked.bytes = scan.bytes;
            self.end_of_first()?;
        }
        Ok(())
    }

    fn end_of_first(&mut self) -> Result<()> {
        if !self.mark_found && self.findings.kept.is_empty() {
            let path = watermark::path(&self.site.journal);
            let what = "the durable watermark names a frame that does not exist";
            self.findings.add(Finding::new(FindingKind::DurableWatermark, &path, what).at(0));
        }
        if let Some(comparison) = &mut self.comparison {
            comparison.flush(self.findings)?;
            if self.findings.kept.is_empty()
                && self.site.index.as_ref().is_some_and(|i| i.stored.epoch > 0)
            {
                comparison.end(self.findings)?;
            }
        }
        if let Some(sparse_entries) = &mut self.sparse_entries {
            sparse_entries.end(self.findings)?;
        }
        let Some(index) = &self.site.index else { return Ok(()) };
        let (head, reached) = (self.walked.head, index.stored.checkpoint.position);
        if reached > head {
            let what = format!("it holds position {reached}; the journal ends at {head}");
            self.findings.add(index.finding(FindingKind::Index, what));
        } else if index.stored.epoch > 0 && self.checkpoint != Checkpoint::Right {
            let is_lost = self.checkpoint == Checkpoint::NotMet && !self.findings.kept.is_empty();
            let is_begin = self.walked.frames == 0 && reached == 0;
            if !is_lost && !is_begin {
                let what = "its checkpoint does not match the journal";
                self.findings.add(index.finding(FindingKind::Index, what));
            }
        }
        Ok(())
    }

    fn frame(&mut self, names: &mut Names, at: Location, frame: &Frame) -> Result<()> {
        if self.is_first {
            self.walked.frames += 1;
            let header = &frame.header;
            if header.events > 0 {
                let held = header.first_position..=header.last_position();
                let asked = self.site.chains_at.range(held);
                self.walked.chains.extend(asked.map(|position| (*position, header.chain)));
            }
            self.check_entries(at, frame);
            if let Some(sparse_entries) = &mut self.sparse_entries {
                sparse_entries.frame(at, frame, self.findings)?;
            }
            self.check_checkpoint(at, frame);
            self.check_mark(at, frame);
        }
        let mut located = Vec::new();
        // `check_entries` has reported what cannot be read.
        let _ = each_located(at, frame, |item| located.push(item));
        for item in located {
            match item {
                Located::Event(event) => self.event(names, event)?,
                Located::Record { key, value } => {
                    let held = self.site.index.as_ref().is_some_and(|index| index.holds(at));
                    names.record(&key, &value, held);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, names: &mut Names, event: EventToIndex) -> Result<()> {
        let at = Location { segment: event.location.segment, offset: event.location.offset.into() };
        let held = self.site.index.as_ref().is_some_and(|index| index.holds(at));
        if let Some(expected) = names.event(&event, held) {
            let what = format!("it continues with version {} after {expected}", event.version);
            let finding = Finding::new(FindingKind::Version, &self.path(at), what).at(at.offset);
            let finding = finding.positions(event.position, event.position);
            self.findings.add(finding.stream(&event.stream));
        }
        if !self.is_first {
            return Ok(());
        }
        self.walked.events += 1;
        self.check_envelope(at, &event);
        match &mut self.comparison {
            Some(comparison) if held => comparison.take(event, self.findings),
            _ => Ok(()),
        }
    }

    /// The frame's checksum covers the entries, but each entry's own checksum must be right too, because reads of
    /// single events rely on it.
    fn check_entries(&mut self, at: Location, frame: &Frame) {
        let mut wrong = each_located(at, frame, |_| ()).err();
        for (offset, length, _) in frame.entries().flatten() {
            let (offset, length) = (offset as usize, length as usize);
            if let Err(what) = entry::decode(&frame.bytes().slice(offset..offset + length)) {
                wrong.get_or_insert(what);
            }
        }
        if let Some(what) = wrong {
            let finding = Finding::new(FindingKind::Entry, &self.path(at), what).at(at.offset);
            let header = &frame.header;
            self.findings.add(finding.positions(header.first_position, header.last_position()));
        }
    }

    fn check_envelope(&mut self, at: Location, event: &EventToIndex) {
        let place = Place {
            position: Position::new(event.position),
            stream: event.stream.clone(),
            version: Version::new(event.version),
            recorded_at: event.recorded_at.to_utc(),
        };
        if let Err(what) = envelope::decode(event.envelope.clone(), place) {
            let finding = Finding::new(FindingKind::Entry, &self.path(at), what).at(at.offset);
            let finding = finding.positions(event.position, event.position);
            self.findings.add(finding.stream(&event.stream));
        }
    }

    /// A frame must end where the index's checkpoint says that the next one begins, with the same position, time and
    /// chain. If that is the start of a segment, it is the last frame before it.
    fn check_checkpoint(&mut self, at: Location, frame: &Frame) {
        let Some(index) = &self.site.index else { return };
        let (header, checkpoint) = (&frame.header, &index.stored.checkpoint);
        let behind = Location { offset: at.offset + header.padded_length(), ..at };
        let begins_segment = checkpoint.next.offset == segment::HEADER_BYTES;
        let is_before = begins_segment && at.segment < checkpoint.next.segment;
        if behind == checkpoint.next || is_before {
            let says = (checkpoint.position, checkpoint.time, checkpoint.chain);
            let holds = (header.last_position(), header.time, header.chain);
            self.checkpoint = if says == holds { Checkpoint::Right } else { Checkpoint::Wrong };
        }
    }

    /// Checks whether this is the frame that the durable watermark names.
    fn check_mark(&mut self, at: Location, frame: &Frame) {
        let Some(sparse_entry) = self.site.until.watermark() else { return };
        let behind = at.offset + frame.header.padded_length();
        let is_named = sparse_entry.frame == at
            && (sparse_entry.end, sparse_entry.position) == (behind, frame.header.last_position());
        self.mark_found |= is_named;
    }

    fn path(&self, at: Location) -> PathBuf {
        path_of(&self.site.journal, at)
    }
}

fn path_of(journal: &Path, at: Location) -> PathBuf {
    segment::path(journal, at.segment)
}
