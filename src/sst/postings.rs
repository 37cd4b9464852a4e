//! Reads the postings of a tag across tables.
//!
//! The positions of a table's events follow those of the table before it, so tables that end before a position are
//! passed over without a look at their filters. In a table, a tag's runs have positions in the place of times: the run
//! that holds a position is found by a binary search.

use crate::codec::sst::block_index::KeyRun;
use crate::codec::sst::posting::{self, Posting};
use crate::sst::cursor::TableCursor;
use crate::sst::reader::{BlockFinder, Table};
use crate::sst::set::{OpenEventBlock, TableSet, may_hold};
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use crate::value::stream::StreamId;
use std::ops::RangeInclusive;

/// Some postings of a tag, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PostingsPage {
    pub(crate) postings: Vec<Posting>,
    /// Whether there may be more after the last of them, in the range that was asked for.
    pub(crate) has_more: bool,
}

impl TableSet {
    /// The postings of the tag with this `name` that are after position `after` and not after `to`: whole runs, and no
    /// further one once there are `limit`.
    pub(crate) fn postings(
        &self,
        finder: &dyn BlockFinder,
        name: &StreamId,
        (after, to): (u64, u64),
        limit: usize,
    ) -> Result<PostingsPage> {
        let tables = self.live();
        let mut page = PostingsPage::default();
        let begin = tables.partition_point(|table| table.footer.positions.1 <= after);
        let end = tables.partition_point(|table| table.footer.positions.0 <= to);
        let tables = tables.get(begin..end).unwrap_or_default();
        for table in may_hold(tables, name).rev() {
            if page.postings.len() >= limit {
                page.has_more = true;
                return Ok(page);
            }
            let Some((run, is_last)) = table.run_after(finder, name, after)? else { continue };
            table.add_postings(&run, (after, to), &mut page.postings)?;
            if is_last || posting::last_position(&run) >= to {
                continue;
            }
            let mut cursor = TableCursor::anywhere(table);
            cursor.seek_behind(finder, name, run.first_version)?;
            while let Some(run) = cursor.take_of(finder, name)? {
                if page.postings.len() >= limit {
                    page.has_more = true;
                    return Ok(page);
                }
                table.add_postings(&run, (after, to), &mut page.postings)?;
                if posting::last_position(&run) >= to {
                    break;
                }
            }
        }
        Ok(page)
    }

    /// The position of the first posting of the tag with this `name` that is after position `after` and not after `to`.
    /// If that is the first one in its table, its key run tells, and no posting is read.
    pub(crate) fn first_posting(
        &self,
        finder: &dyn BlockFinder,
        name: &StreamId,
        (after, to): (u64, u64),
    ) -> Result<Option<u64>> {
        let tables = self.live();
        let begin = tables.partition_point(|table| table.footer.positions.1 <= after);
        let end = tables.partition_point(|table| table.footer.positions.0 <= to);
        for table in may_hold(tables.get(begin..end).unwrap_or_default(), name).rev() {
            let Some((run, _)) = table.run_after(finder, name, after)? else { continue };
            let mut first = posting::first_position(&run);
            if first <= after {
                let mut postings = Vec::new();
                table.add_postings(&run, (after, u64::MAX), &mut postings)?;
                first = match postings.first() {
                    Some(posting) => posting.position,
                    None => return table.sound(Err(Corruption::Posting)),
                };
            }
            return Ok((first <= to).then_some(first));
        }
        Ok(None)
    }

    /// How many postings of the tag with this `name` there are at most after position `after`, of which no table that
    /// ends at or before it is asked.
    pub(crate) fn postings_at_most(
        &self,
        finder: &dyn BlockFinder,
        name: &StreamId,
        after: u64,
    ) -> Result<u64> {
        let tables = self.live();
        let begin = tables.partition_point(|table| table.footer.positions.1 <= after);
        let mut postings = 0_u64;
        for table in may_hold(tables.get(begin..).unwrap_or_default(), name) {
            let last = table.run_up_to(finder, name, u64::MAX)?;
            postings = postings.saturating_add(last.map_or(0, |run| run.last_version()));
        }
        Ok(postings)
    }

    /// How many postings of events up to position `reached` the tables hold.
    pub(crate) fn count_postings(&self, finder: &dyn BlockFinder, reached: u64) -> Result<u64> {
        let mut postings = 0;
        for table in self.live().iter() {
            if table.footer.positions.0 > reached || table.footer.postings == 0 {
                continue;
            }
            let mut walk = TableCursor::of(finder, table)?;
            let mut event_block = OpenEventBlock::default();
            while let Some(run) =
                walk.take(finder)?.filter(|run| posting::tag_of_name(&run.stream).is_some())
            {
                postings += match posting::last_position(&run) <= reached {
                    true => run.events,
                    false => {
                        let events = event_block.events(table, &run)?;
                        events.iter().filter(|event| event.position <= reached).count() as u64
                    }
                };
            }
        }
        Ok(postings)
    }

    /// For each table that may hold events of these `types` after position `after` and not after `to`: the positions
    /// from the first to the last that one can have. They are in order.
    pub(crate) fn ranges_of_types(
        &self,
        types: &[&str],
        after: u64,
        to: u64,
    ) -> Vec<RangeInclusive<u64>> {
        let tables = self.live();
        let ranges = tables.iter().filter_map(|table| {
            let found = types.iter().filter_map(|name| table.footer.of_type(name));
            let within = found.filter(|found| found.last > after && found.first <= to);
            within
                .map(|found| (found.first.max(after + 1), found.last.min(to)))
                .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
        });
        ranges.map(|(first, last)| first..=last).collect()
    }
}

impl Table {
    /// The first run of the tag with this `name` that has a posting after position `after`, and whether it is the
    /// tag's last run in this table.
    fn run_after(
        &self,
        finder: &dyn BlockFinder,
        name: &StreamId,
        after: u64,
    ) -> Result<Option<(KeyRun, bool)>> {
        // Nearly every tag has one run.
        let Some(last) = self.run_up_to(finder, name, u64::MAX)? else { return Ok(None) };
        if posting::last_position(&last) <= after {
            return Ok(None);
        }
        let last_begins = last.first_version;
        let mut found = last;
        let (mut low, mut high) = (1, last_begins);
        // The run that holds version `low - 1`, if any, is not after `after`; the one that begins at `high` is.
        while low < high {
            let middle = match after < posting::first_position(&found) {
                true => low,
                false => low + (high - low) / 2,
            };
            match self.run_up_to(finder, name, middle)? {
                Some(run) if posting::last_position(&run) > after => {
                    high = run.first_version;
                    found = run;
                }
                Some(run) => low = run.last_version().max(middle) + 1,
                None => return self.sound(Err(Corruption::Posting)),
            }
        }
        let is_last = found.first_version == last_begins;
        Ok(Some((found, is_last)))
    }

    /// Appends the postings of `run` that are after position `after` and not after `to`.
    fn add_postings(
        &self,
        run: &KeyRun,
        (after, to): (u64, u64),
        postings: &mut Vec<Posting>,
    ) -> Result<()> {
        let (least, greatest) = self.footer.positions;
        let mut before = None;
        for event in self.events_of(std::slice::from_ref(run))? {
            let position = event.position;
            let is_next = (least..=greatest).contains(&position) && before < Some(position);
            let posting = Posting::decode(&event).filter(|_| is_next);
            let posting = self.sound(posting.ok_or(Corruption::Posting))?;
            before = Some(position);
            if position > after && position <= to {
                postings.push(posting);
            }
        }
        self.sound(
            (before == Some(posting::last_position(run))).then_some(()).ok_or(Corruption::Posting),
        )
    }
}
