//! Everything that can still be read of a damaged log, in order: from the journal, and where it is
//! damaged from the index.

use crate::codec::entry::Entry;
use crate::codec::frame::{Frame, Kind, Location};
use crate::doctor::audit::{Site, salvage};
use crate::index::flush_batch::EventToIndex;
use crate::journal::lenient_scan::{LenientScan, Step};
use crate::log::read::located::{Located, each_located};
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::finding::FindingKind;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The highest bit of an entry's first byte: it is the first of its commit.
const BEGINS_COMMIT: u8 = 0x80;

/// One thing that can be read.
pub(super) enum Readable {
    Event {
        event: EventToIndex,
        begins_commit: bool,
    },
    Record {
        bytes: Bytes,
        begins_commit: bool,
    },
    /// What came since the last one stood in one frame.
    FrameEnds {
        kind: Kind,
        time: Micros,
    },
    /// An event of a frame that may be something that a user stored.
    Doubtful(EventToIndex),
    /// Something is missing here that may have been a record, whether or not it was events.
    Damage,
}

/// Walks over the log that `site` names. What `recovered` holds by position replaces what the journal lacks. Returns
/// the position after the end.
pub(super) fn each(
    site: &Site<'_>,
    recovered: &BTreeMap<u64, EventToIndex>,
    mut visit: impl FnMut(Readable) -> Result<()>,
) -> Result<u64> {
    let mut scan = LenientScan::new(Arc::clone(&site.disk), &site.journal, site.store, site.until)?;
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
                    let begins_commit = bytes[offset as usize] & BEGINS_COMMIT != 0;
                    walk.event(event, begins_commit)?;
                }
                walk.fill(header.next_position())?;
                walk.end_frame(Kind::Group, header.time)?;
            }
        }
    }
    // An index that is ahead knows of events whose loss the journal does not show.
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
    /// The position that is to come next.
    next: u64,
    visit: &'a mut V,
}

impl<V: FnMut(Readable) -> Result<()>> Walk<'_, V> {
    fn frame(&mut self, at: Location, frame: &Frame) -> Result<()> {
        self.fill(frame.header.first_position)?;
        let entries: Vec<_> = frame.entries().flatten().collect();
        let mut located = Vec::with_capacity(entries.len());
        // A frame whose content is not what its checksum covers was never written by us; what can be
        // read of it is taken.
        let _ = each_located(at, frame, |item| located.push(item));
        for ((offset, _, entry), item) in entries.into_iter().zip(located) {
            let begins_commit = frame.bytes()[offset as usize] & BEGINS_COMMIT != 0;
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

    /// Puts in what was recovered before `position`. What was of one frame has one time.
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
