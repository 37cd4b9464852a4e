//! Decides what an export writes and what it leaves out, before anything is written.

use crate::codec::frame::EntryLocation;
use crate::codec::sst::event::Body;
use crate::doctor::audit::Site;
use crate::doctor::audit::names::Names;
use crate::doctor::export::readable::{self, Readable};
use crate::index::flush_batch::EventToIndex;
use crate::value::error::Result;
use crate::value::limits::EXPORT_RECOVERED_BYTES_MAX;
use crate::value::stream::StreamId;
use std::collections::{BTreeMap, HashMap};

/// The location of recovered events, which are in no journal yet.
const NOWHERE: EntryLocation = EntryLocation { segment: 0, offset: 0, length: 0 };

/// The result of reading a damaged log.
pub(super) struct Plan {
    /// The positions that cannot be read, as ranges from first to last.
    pub(super) lost: Vec<(u64, u64)>,
    /// Events at positions that the journal lost and the index holds.
    pub(super) recovered: BTreeMap<u64, EventToIndex>,
    /// Streams that lack a version, with the last version before the gap.
    pub(super) cuts: HashMap<StreamId, u64>,
}

impl Plan {
    pub(super) fn of(site: &Site<'_>) -> Result<Plan> {
        let lost_in_journal = lost(site, &BTreeMap::new())?;
        let recovered = match lost_in_journal.is_empty() {
            true => BTreeMap::new(),
            false => recover(site, &lost_in_journal)?,
        };
        let lost = if recovered.is_empty() { lost_in_journal } else { lost(site, &recovered)? };
        let cuts = cuts(site, &recovered)?;
        Ok(Plan { lost, recovered, cuts })
    }

    /// Whether an event is after a gap in its stream.
    pub(super) fn leaves_out(&self, event: &EventToIndex) -> bool {
        self.cuts.get(&event.stream).is_some_and(|last| event.version > *last)
    }
}

/// The positions that cannot be read.
fn lost(site: &Site<'_>, recovered: &BTreeMap<u64, EventToIndex>) -> Result<Vec<(u64, u64)>> {
    let mut lost = Vec::new();
    let mut next = 1;
    let end = readable::each(site, recovered, |item| {
        if let Readable::Event { event, .. } = item {
            if event.position > next {
                lost.push((next, event.position - 1));
            }
            next = event.position + 1;
        }
        Ok(())
    })?;
    if end > next {
        lost.push((next, end - 1));
    }
    Ok(lost)
}

/// Events at lost positions that the index holds, as many as fit into memory.
fn recover(site: &Site<'_>, lost: &[(u64, u64)]) -> Result<BTreeMap<u64, EventToIndex>> {
    let mut recovered = BTreeMap::new();
    let Some(index) = &site.index else { return Ok(recovered) };
    let is_lost = |position: u64| {
        let behind = lost.partition_point(|(first, _)| *first <= position);
        behind > 0 && lost[behind - 1].1 >= position
    };
    let mut bytes = 0;
    index.each_run(|stream, events| {
        for event in events {
            let Body::Inline(envelope) = &event.body else { continue };
            if is_lost(event.position) && bytes + envelope.len() <= EXPORT_RECOVERED_BYTES_MAX {
                bytes += envelope.len();
                let event = EventToIndex {
                    stream: stream.clone(),
                    version: event.version,
                    position: event.position,
                    recorded_at: event.recorded_at,
                    location: NOWHERE,
                    envelope: envelope.clone(),
                };
                recovered.insert(event.position, event);
            }
        }
    })?;
    Ok(recovered)
}

/// The streams that lack a version.
fn cuts(
    site: &Site<'_>,
    recovered: &BTreeMap<u64, EventToIndex>,
) -> Result<HashMap<StreamId, u64>> {
    let mut cuts = HashMap::new();
    let mut names = Names::first();
    loop {
        readable::each(site, recovered, |item| {
            if let Readable::Event { event, .. } = item
                && let Some(before) = names.event(&event, false)
            {
                cuts.entry(event.stream.detached()).or_insert(before);
            }
            Ok(())
        })?;
        match names.rest() {
            Some(rest) => names = rest,
            None => return Ok(cuts),
        }
    }
}
