//! Exports the readable part of a damaged log into a new one.
//!
//! * The damaged log is only read.
//! * Nothing is left out silently: everything left out is counted, named, and written to a file.
//! * Positions are dense in every store. So events after a lost one move up, and keep their order, their ids, versions
//!   and times; their former positions are reported.
//! * Versions are dense in every stream. A stream that lacks a version is cut there, and the rest of it goes to the
//!   file.
//! * The engine's keyed state holds positions, which have another meaning after a loss. It is exported as of before
//!   the first damage. Positions of other logs that consumers have tracked are exported as of the end.

mod plan;
mod readable;
mod reject_log;

#[cfg(feature = "erasure")]
use crate::codec::record::FORGOTTEN;
use crate::codec::record::Record;
use crate::doctor::audit::Site;
use crate::doctor::new_journal::NewJournal;
use crate::index::flush_batch::EventToIndex;
use crate::log::core::journal_directory;
use crate::storage::disk::Disk;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use plan::Plan;
use readable::Readable;
pub(crate) use reject_log::RejectLog;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// The result of an export.
#[derive(Debug, Default)]
pub(crate) struct Export {
    pub(crate) events: u64,
    pub(crate) from_index: u64,
    pub(crate) lost: Vec<(u64, u64)>,
    /// Each stream that was cut, and the version that it was cut after.
    pub(crate) cuts: Vec<(String, u64)>,
    pub(crate) left_out: u64,
    pub(crate) states_left_out: u64,
    /// The old first and last position, and the new first position.
    pub(crate) renumbered: Vec<(u64, u64, u64)>,
}

/// Writes the readable part of `site` as the journal of the store `store` in the directory `to`, and what is left out,
/// if anything, to the file `aside`, which must not exist.
pub(crate) fn export(
    site: &Site<'_>,
    disk: &Arc<dyn Disk>,
    to: &Path,
    store: Uuid,
    aside: RejectLog,
) -> Result<Export> {
    let plan = Plan::of(site)?;
    let mut exporter = Exporter {
        plan: &plan,
        journal: NewJournal::create(disk, &journal_directory(to), store)?,
        aside,
        export: Export::default(),
        is_before_damage: true,
        begins_commit: false,
    };
    exporter.say_what_is_gone()?;
    readable::each(site, &plan.recovered, |item| exporter.take(item))?;
    exporter.finish()
}

struct Exporter<'a> {
    plan: &'a Plan,
    journal: NewJournal,
    aside: RejectLog,
    export: Export,
    is_before_damage: bool,
    /// Whether the first item of a commit was left out, so that the next item begins the commit.
    begins_commit: bool,
}

impl Exporter<'_> {
    fn say_what_is_gone(&mut self) -> Result<()> {
        for (first, last) in &self.plan.lost {
            self.aside.lost(*first, *last)?;
        }
        let cuts = self.plan.cuts.iter().map(|(stream, last)| (stream.as_str().to_owned(), *last));
        let mut cuts: Vec<_> = cuts.collect();
        cuts.sort();
        for (stream, last) in &cuts {
            self.aside.cut(stream, *last)?;
        }
        self.export.lost = self.plan.lost.clone();
        self.export.cuts = cuts;
        Ok(())
    }

    fn take(&mut self, item: Readable) -> Result<()> {
        match item {
            Readable::Damage => self.is_before_damage = false,
            Readable::Doubtful(event) => self.aside.doubtful(&event)?,
            Readable::FrameEnds { kind, time } => {
                self.begins_commit = false;
                self.journal.end_frame(kind, time)?;
            }
            Readable::Event { event, begins_commit } => {
                self.begins_commit |= begins_commit;
                if self.plan.leaves_out(&event) {
                    self.is_before_damage = false;
                    self.export.left_out += 1;
                    return self.aside.event(&event);
                }
                self.count(&event)?;
                let begins_commit = std::mem::take(&mut self.begins_commit);
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&event.envelope);
                let stream = event.stream.as_str();
                self.journal.event(stream, event.version, begins_commit, write);
            }
            Readable::Record { bytes, begins_commit } => {
                self.begins_commit |= begins_commit;
                if let Some((key, value)) = self.state_left_out(&bytes) {
                    self.export.states_left_out += 1;
                    return self.aside.state(&key, &value);
                }
                let begins_commit = std::mem::take(&mut self.begins_commit);
                self.journal.record(&bytes, begins_commit);
            }
        }
        Ok(())
    }

    fn state_left_out(&self, bytes: &[u8]) -> Option<(String, Vec<u8>)> {
        match Record::decode(bytes) {
            // It names no event, and who was forgotten is so for good.
            #[cfg(feature = "erasure")]
            Ok(Record::State { key, .. }) if key.starts_with(FORGOTTEN) => None,
            Ok(Record::State { key, value }) if !self.is_before_damage => Some((key, value)),
            _ => None,
        }
    }

    /// Counts the next event.
    fn count(&mut self, event: &EventToIndex) -> Result<()> {
        let position = self.journal.next_position();
        self.export.events += 1;
        if self.plan.recovered.contains_key(&event.position) {
            self.export.from_index += 1;
        }
        if event.position == position {
            return Ok(());
        }
        if let Some((first, last, now)) = self.export.renumbered.last_mut() {
            if event.position == *last + 1 && position == *now + (event.position - *first) {
                *last = event.position;
                return Ok(());
            }
            let (first, last, now) = (*first, *last, *now);
            self.aside.renumbered(first, last, now)?;
        }
        self.export.renumbered.push((event.position, event.position, position));
        Ok(())
    }

    fn finish(mut self) -> Result<Export> {
        if let Some((first, last, now)) = self.export.renumbered.last().copied() {
            self.aside.renumbered(first, last, now)?;
        }
        self.journal.close()?;
        if !failpoint!("doctor::export_without_finish") {
            self.journal.finish()?;
        }
        self.aside.finish()?;
        Ok(self.export)
    }
}
