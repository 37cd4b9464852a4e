//! Reads a damaged log in order: from the journal, and from the index where the journal is damaged.

use crate::codec::entry::{self, Entry};
use crate::codec::frame::{Frame, Kind, Location};
use crate::doctor::audit::{Site, salvage};
use crate::index::flush_batch::EventToIndex;
use crate::journal::lenient_scan::{LenientScan, Step};
use crate::log::read::located::{Located, each_located};
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::finding::FindingKind;
use crate::value::progress::Reporter;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One item of the damaged log.
pub(super) enum Readable {
    Event {
        event: EventToIndex,
        begins_commit: bool,
    },
    Record {
        bytes: Bytes,
        begins_commit: bool,
    },
    /// Ends a frame: all items since the last `FrameEnds` were in it.
    FrameEnds {
        kind: Kind,
        time: Micros,
    },
    /// An event of a frame that may be a payload that looks like a frame.
    Doubtful(EventToIndex),
    /// Something is missing here. Besides events, it may have been a record.
    Damage,
}

/// Reads the log that `site` names. Events of `recovered`, by position, replace those that the journal lacks. Returns
/// the position after the end.
pub(super) fn each(
    site: &Site<'_>,
    recovered: &BTreeMap<u64, EventToIndex>,
    mut visit: impl FnMut(Readable) -> Result<()>,
) -> Result<u64> {
    let mut scan = LenientScan::new(Arc::clone(&site.disk), &site.journal, site.store, site.until)?;
    let mut progress = Reporter::new(site.report, "exported", scan.total_bytes());
    let mut walk = Walk { recovered, next: 1, visit: &mut visit };
    let mut doubtful = Vec::new();
    while let Some(step) = scan.next()? {
        match step {
            Step::Wrong(finding) => match finding.kind {
                FindingKind::Unused | FindingKind::TornWrite => {}
                _ => (walk.visit)(Readable::Damage)?,
            },
            Step::Frame { at, frame } => walk.frame(at, &frame)?,
            Step::Doubtful { at, frame } => {
                let _ = each_located(at, &frame, |item| {
                    if let Located::Event(event) = item {
                        doubtful.push(event);
                    }
                });
                for event in doubtful.drain(..) {
                    (walk.visit)(Readable::Doubtful(event))?;
                }
            }
            Step::Broken { at, header, bytes } => {
                for event in salvage::events(at, &header, &bytes) {
                    let offset = u64::from(event.location.offset) - at.offset;
                    let begins_commit = entry::begins_commit(bytes[offset as usize]);
                    walk.event(event, begins_commit)?;
                }
                walk.fill(header.next_position())?;
                walk.end_frame(Kind::Group, header.time)?;
            }
        }
        progress.reached(scan.next_position() - 1, scan.bytes);
    }
    progress.ended(scan.next_position() - 1);
    // An index that is ahead of the journal shows the loss of events that the journal does not show.
    let newest = match &site.index {
        Some(index) => index.newest_position()?,
        None => 0,
    };
    let end = scan.next_position().max(newest + 1);
    walk.fill(end)?;
    Ok(end)
}

struct Walk<'a, V> {
    recovered: &'a BTreeMap<u64, EventToIndex>,
    /// The next position.
    next: u64,
    visit: &'a mut V,
}

impl<V: FnMut(Readable) -> Result<()>> Walk<'_, V> {
    fn frame(&mut self, at: Location, frame: &Frame) -> Result<()> {
        self.fill(frame.header.first_position)?;
        let entries: Vec<_> = frame.entries().flatten().collect();
        let mut located = Vec::with_capacity(entries.len());
        // This engine never writes a frame with a right checksum and unreadable content; take what can be read.
        let _ = each_located(at, frame, |item| located.push(item));
        for ((offset, _, entry), item) in entries.into_iter().zip(located) {
            let begins_commit = frame.begins_commit(offset);
            match (entry, item) {
                (_, Located::Event(event)) => self.event(event, begins_commit)?,
                (Entry::Record(bytes), _) => {
                    (self.visit)(Readable::Record { bytes, begins_commit })?;
                }
                (Entry::Event { .. }, Located::Record { .. }) => {}
            }
        }
        self.end_frame(frame.header.kind, frame.header.time)
    }

    fn event(&mut self, event: EventToIndex, begins_commit: bool) -> Result<()> {
        self.fill(event.position)?;
        self.next = self.next.max(event.position + 1);
        (self.visit)(Readable::Event { event, begins_commit })
    }

    fn end_frame(&mut self, kind: Kind, time: Micros) -> Result<()> {
        (self.visit)(Readable::FrameEnds { kind, time })
    }

    /// Inserts the recovered events before `position`. Events of one frame have the same time.
    fn fill(&mut self, position: u64) -> Result<()> {
        if self.next >= position {
            return Ok(());
        }
        let mut time: Option<Micros> = None;
        for (_, event) in self.recovered.range(self.next..position) {
            let begins_commit = time != Some(event.recorded_at);
            if let Some(before) = time.filter(|_| begins_commit) {
                self.end_frame(Kind::Group, before)?;
            }
            time = Some(event.recorded_at);
            (self.visit)(Readable::Event { event: event.clone(), begins_commit })?;
        }
        self.next = position;
        time.map_or(Ok(()), |time| self.end_frame(Kind::Group, time))
    }
}
