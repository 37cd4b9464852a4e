//! Looks up each event of the journal in the index.

use crate::codec::sst::event::LocatedEvent;
use crate::doctor::audit::audited::Audited;
use crate::index::flush_batch::EventToIndex;
use crate::index::ingest::indexed;
use crate::value::error::Result;
use crate::value::finding::{Finding, FindingKind, Findings};
use crate::value::limits::VERIFY_FLUSH_BATCH_BYTES_MAX;
use crate::value::stream::StreamId;
use std::collections::VecDeque;

/// Bytes of memory that an event takes besides its envelope.
const EVENT_BYTES: u64 = 160;

/// Gathers events and compares them batch by batch, in the index's order.
pub(super) struct Comparison<'a> {
    index: &'a Audited<'a>,
    batch: Vec<EventToIndex>,
    bytes: u64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(index: &'a Audited<'a>) -> Comparison<'a> {
        Comparison { index, batch: Vec::new(), bytes: 0 }
    }

    pub(super) fn take(&mut self, event: EventToIndex, findings: &mut Findings) -> Result<()> {
        self.bytes += event.envelope.len() as u64 + EVENT_BYTES;
        self.batch.push(event);
        match self.bytes >= VERIFY_FLUSH_BATCH_BYTES_MAX {
            true => self.flush(findings),
            false => Ok(()),
        }
    }

    /// Compares the gathered events.
    pub(super) fn flush(&mut self, findings: &mut Findings) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        // Blocks in the cache may have been damaged on disk since they were read.
        self.index.ask(|index| {
            index.forget_blocks();
            Ok(())
        })?;
        batch.sort_unstable_by(|a, b| (&a.stream, a.version).cmp(&(&b.stream, b.version)));
        for events in batch.chunk_by(|a, b| a.stream == b.stream) {
            self.compare(&events[0].stream, events, findings)?;
        }
        Ok(())
    }

    /// Compares the index's key runs of one stream with its events.
    fn compare(
        &self,
        stream: &StreamId,
        events: &[EventToIndex],
        findings: &mut Findings,
    ) -> Result<()> {
        let mut run: VecDeque<LocatedEvent> = VecDeque::new();
        for event in events {
            if run.back().is_none_or(|last| last.version < event.version) {
                run = match self.index.ask(|index| index.run_holding(stream, event.version)) {
                    Ok(run) => run.into(),
                    Err(error) if error.is_unreadable() => {
                        findings.add(self.finding(event, error.to_string()));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
            }
            while run.front().is_some_and(|first| first.version < event.version) {
                run.pop_front();
            }
            let what = match run.front() {
                Some(found) if *found == indexed(event) => continue,
                Some(found) if found.version == event.version => "has other content for",
                _ => "lacks",
            };
            let what = format!("the index {what} version {} of {stream}", event.version);
            findings.add(self.finding(event, what));
        }
        Ok(())
    }

    fn finding(&self, event: &EventToIndex, what: String) -> Finding {
        let finding = self.index.finding(FindingKind::IndexEvent, what);
        finding.positions(event.position, event.position).stream(&event.stream)
    }
}
