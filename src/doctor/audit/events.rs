//! Looks up each event of the journal in the index: in its stream, and under each of its tags.

use crate::codec::envelope;
use crate::codec::sst::event::LocatedEvent;
use crate::codec::sst::posting::{Posting, name_of_tag};
use crate::doctor::audit::audited::Audited;
use crate::index::flush_batch::{ByName, EventToIndex, POSTING_BYTES};
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
    /// How many postings were looked for.
    postings: u64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(index: &'a Audited<'a>) -> Comparison<'a> {
        Comparison { index, batch: Vec::new(), bytes: 0, postings: 0 }
    }

    pub(super) fn take(&mut self, event: EventToIndex, findings: &mut Findings) -> Result<()> {
        let tags = envelope::tags(&event.envelope).count() as u64;
        self.bytes += event.envelope.len() as u64 + EVENT_BYTES + POSTING_BYTES * tags;
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
        self.index.forget_blocks()?;
        self.compare_tags(&batch, findings)?;
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
                let holding = self
                    .index
                    .ask_tables(|tables, finder| tables.run_holding(finder, stream, event.version));
                run = match holding {
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

    /// Compares the index's postings with the tags of `batch`, which is in the order of the journal.
    fn compare_tags(&mut self, batch: &[EventToIndex], findings: &mut Findings) -> Result<()> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
        let range = (first.position - 1, last.position);
        let tags = ByName::tags(batch);
        self.postings += tags.len() as u64;
        for (tag, mut tagged) in tags.iter() {
            let name = name_of_tag(tag);
            let page = self
                .index
                .ask_tables(|tables, finder| tables.postings(finder, &name, range, usize::MAX));
            let held = match page {
                Ok(page) => page.postings,
                Err(error) if error.is_unreadable() => {
                    let finding = self.index.finding(FindingKind::IndexTag, error.to_string());
                    let position = tagged.next().map_or(first.position, |event| event.position);
                    findings.add(finding.positions(position, position));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut held = held.into_iter().peekable();
            let mut add = |what: &str, position: u64| {
                let what = format!("the index {what} position {position} for tag {tag:?}");
                let finding = self.index.finding(FindingKind::IndexTag, what);
                findings.add(finding.positions(position, position));
            };
            let is_read = |position: u64| {
                batch.binary_search_by_key(&position, |event| event.position).is_ok()
            };
            let untrue = "refers to an event that has it not:";
            for event in tagged {
                while let Some(other) = held.next_if(|held| held.position < event.position) {
                    // An event that the journal has lost may have had the tag.
                    if is_read(other.position) {
                        add(untrue, other.position);
                    }
                }
                match held.next_if(|held| held.position == event.position) {
                    Some(posting) if posting == posting_of(event) => {}
                    Some(_) => add("has another type, time or place of", event.position),
                    None => add("lacks", event.position),
                }
            }
            held.filter(|held| is_read(held.position)).for_each(|held| add(untrue, held.position));
        }
        Ok(())
    }

    /// Notes if the index has postings of tags that no event has. Call it after all events were compared, and only if
    /// the journal is whole.
    pub(super) fn end(&self, findings: &mut Findings) -> Result<()> {
        let reached = self.index.stored.checkpoint.position;
        let held = self.index.ask_tables(|tables, finder| tables.count_postings(finder, reached));
        let held = self.index.unless_damaged(findings, held)?;
        if let Some(held) = held.filter(|held| *held != self.postings && !self.index.is_replaced())
        {
            let what = format!(
                "the index holds {held} events for their tags, but the events up to position {reached} have {} tags",
                self.postings
            );
            findings.add(self.index.finding(FindingKind::IndexTag, what));
        }
        Ok(())
    }

    fn finding(&self, event: &EventToIndex, what: String) -> Finding {
        let finding = self.index.finding(FindingKind::IndexEvent, what);
        finding.positions(event.position, event.position).stream(&event.stream)
    }
}

/// The posting of `event` under each of its tags.
fn posting_of(event: &EventToIndex) -> Posting {
    let event_type = envelope::event_type(&event.envelope).unwrap_or_default();
    Posting {
        position: event.position,
        recorded_at: event.recorded_at,
        location: event.location,
        event_type: bytes::Bytes::copy_from_slice(event_type.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::sst::TableId;
    use crate::codec::sst::event_types::EventTypes;
    use crate::codec::sst::footer::NameHash;
    use crate::codec::sst::posting::body_of_posting;
    use crate::codec::state::StreamState;
    use crate::index::core::Index;
    use crate::log::indexer::index_up_to;
    use crate::sst::writer::TableWriter;
    use crate::store::Store;
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
    use std::sync::Arc;

    /// A posting: its position, its type, and how many bytes after the right one its entry is.
    type Written = (u64, &'static str, u32);
    /// The postings of some tags.
    type Postings<'a> = &'a [(&'a str, &'a [Written])];

    /// Puts a table in the place of the only one of `index`: with the same events, and these postings.
    fn replace_postings(index: &Index, postings: Postings<'_>) -> Result<()> {
        let tables = index.tables.live();
        let [table] = &tables[..] else { panic!("{} tables", tables.len()) };
        let id = TableId { index: index.stored.lock().index, number: 1_000 };
        let directory = index.tables_directory();
        let mut writer = TableWriter::create(&index.db, &directory, id, 10, &index.blocks).unwrap();
        let right = index.postings(&name_of_tag("every"), (0, u64::MAX), usize::MAX).unwrap();
        for (tag, written) in postings {
            let name = name_of_tag(tag);
            writer.begin_stream(&name, NameHash::of(&name), StreamState::absent());
            for (position, event_type, shift) in *written {
                let right = &right.postings[*position as usize - 1];
                let mut location = right.location;
                location.offset += shift;
                let body = body_of_posting(location, event_type);
                writer.put(&index.db, *position, right.recorded_at, &body).unwrap();
            }
        }
        index.each_run(|stream, events| {
            writer.begin_stream(stream, NameHash::of(stream), StreamState::absent());
            for event in events {
                writer.put(&index.db, event.position, event.recorded_at, &event.body).unwrap();
            }
        });
        let written = writer.finish(&index.db, table.listed.level, EventTypes::default()).unwrap();
        index.tables.set(vec![Arc::new(written.unwrap())]);
        Ok(())
    }

    #[test]
    fn postings_are_compared_with_the_tags_of_the_journal_both_ways() {
        let store = Store::temporary().unwrap();
        for n in 1..=4 {
            let event = NewEvent::bytes("T", &b"x"[..]).tag("every");
            let event = if n == 2 { event.tag("one") } else { event };
            store.append("S-1", ExpectedVersion::Any, [event]).unwrap();
        }
        let log = store.log.log();
        assert!(index_up_to(log, log.head.visible().1));
        assert!(store.verify().unwrap().is_whole());
        let every: [Written; 4] = [(1, "T", 0), (2, "T", 0), (3, "T", 0), (4, "T", 0)];
        let [one, two, three, four] = every;
        let one_event: (&str, &[Written]) = ("one", &[two]);
        let cases: [(Postings<'_>, Option<u64>, &str); 6] = [
            (&[("every", &every), one_event], None, "nothing"),
            (
                &[("every", &[one, two, four]), one_event],
                Some(3),
                "lacks position 3 for tag \"every\"",
            ),
            (&[("every", &every), ("one", &[two, three])], Some(3), "that has it not: position 3"),
            (&[("every", &[one, two, (3, "U", 0), four]), one_event], Some(3), "has another type"),
            (
                &[("every", &[one, two, (3, "T", 8), four]), one_event],
                Some(3),
                "or place of position 3",
            ),
            (
                &[("every", &every), ("none", &[two]), one_event],
                None,
                "holds 6 events for their tags",
            ),
        ];
        // The first table has all postings; later ones are made from the first.
        for (postings, position, what) in cases {
            let first = log.index.inspect(|index| Ok(index.tables.live().to_vec())).unwrap();
            log.index.inspect(|index| replace_postings(index, postings)).unwrap();
            let findings = store.verify().unwrap().findings;
            let restore = |index: &Index| {
                index.tables.set(first.clone());
                Ok(())
            };
            log.index.inspect(restore).unwrap();
            let table = log.index.inspect(|index| Ok(index.tables_directory())).unwrap();
            std::fs::remove_file(table.join(format!("{:020}", 1_000))).unwrap();
            if what == "nothing" {
                assert!(findings.is_empty(), "{findings:#?}");
                continue;
            }
            let [finding] = &findings[..] else { panic!("{what}: {findings:#?}") };
            assert_eq!(finding.kind, FindingKind::IndexTag);
            assert!(finding.message.contains(what), "{what}: {finding}");
            let met = finding.positions.as_ref().map(|range| range.start().get());
            assert_eq!(met, position, "{finding}");
        }
    }
}
