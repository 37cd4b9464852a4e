//! The index under audit. It is read as it is and never healed.

use crate::codec::checkpoint::StoredCheckpoint;
use crate::codec::frame::Location;
use crate::codec::sst::event::LocatedEvent;
use crate::index::core::Index;
use crate::index::read_only::ReadOnlyIndex;
use crate::log::indexer::managed::IndexSlot;
use crate::sst::finder::ListedBlocks;
use crate::sst::reader::BlockFinder;
use crate::sst::set::TableSet;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::finding::{Finding, FindingKind, Findings};
use crate::value::stream::StreamId;
use std::path::PathBuf;

/// How the audit reads the index: through an open log, or directly if nobody writes to it, or only the tables of one
/// that another process has open.
pub(crate) enum IndexAccess<'a> {
    Live(&'a IndexSlot),
    Still(&'a Index),
    Tables(&'a ReadOnlyIndex),
}

/// The index under audit.
pub(crate) struct Audited<'a> {
    access: IndexAccess<'a>,
    /// The index's directory, for findings.
    pub(crate) directory: PathBuf,
    /// How far it held the journal when the audit began.
    pub(crate) stored: StoredCheckpoint,
}

impl<'a> Audited<'a> {
    pub(crate) fn new(access: IndexAccess<'a>, directory: PathBuf) -> Result<Audited<'a>> {
        let stored = match &access {
            IndexAccess::Live(slot) => slot.inspect(|index| Ok(index.stored.lock().clone()))?,
            IndexAccess::Still(index) => index.stored.lock().clone(),
            IndexAccess::Tables(index) => index.stored().clone(),
        };
        Ok(Audited { access, directory, stored })
    }

    pub(super) fn ask<T>(&self, question: impl FnOnce(&Index) -> Result<T>) -> Result<T> {
        match &self.access {
            IndexAccess::Live(slot) => slot.inspect(question),
            IndexAccess::Still(index) => question(index),
            IndexAccess::Tables(_) => {
                let what = "the index's database is open in another process";
                Err(Error::new(ErrorKind::Locked, what))
            }
        }
    }

    /// Asks the tables. What is asked is given how their index blocks are found.
    pub(super) fn ask_tables<T>(
        &self,
        question: impl FnOnce(&TableSet, &dyn BlockFinder) -> Result<T>,
    ) -> Result<T> {
        match &self.access {
            IndexAccess::Tables(index) => question(index.tables(), &ListedBlocks),
            _ => self.ask(|index| question(&index.tables, &index.db)),
        }
    }

    /// Drops what is in memory of the tables, so that the next answers come from the disk.
    pub(super) fn forget_blocks(&self) -> Result<()> {
        match &self.access {
            IndexAccess::Tables(index) => {
                index.forget_blocks();
                Ok(())
            }
            _ => self.ask(|index| {
                index.forget_blocks();
                Ok(())
            }),
        }
    }

    /// Whether there are, besides the tables, those parts that only one process can open.
    pub(super) fn has_database(&self) -> bool {
        !matches!(self.access, IndexAccess::Tables(_))
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.access, IndexAccess::Live(_))
    }

    /// Whether the index was replaced since the audit began. A new index counts its epochs from the start, so they do
    /// not show what is newer than the audit.
    pub(super) fn is_replaced(&self) -> bool {
        if !self.has_database() || failpoint!("doctor::overlook_rebuilt_index") {
            return false;
        }
        let began_with = self.stored.index;
        self.ask(|index| Ok(index.stored.lock().index != began_with)).unwrap_or(true)
    }

    /// Whether the index held the frame at `at` when the audit began.
    pub(super) fn holds(&self, at: Location) -> bool {
        self.stored.epoch > 0 && at < self.stored.checkpoint.next
    }

    pub(super) fn finding(&self, kind: FindingKind, what: impl Into<String>) -> Finding {
        Finding::new(kind, &self.directory, what)
    }

    /// An answer, or `None` with a finding if the index is damaged there.
    pub(super) fn unless_damaged<T>(
        &self,
        findings: &mut Findings,
        answer: Result<T>,
    ) -> Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_unreadable() => {
                findings.add(self.finding(FindingKind::Index, error.to_string()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The position up to which the index holds every event.
    pub(crate) fn newest_position(&self) -> Result<u64> {
        self.ask(|index| Ok(index.checkpoint().map_or(0, |checkpoint| checkpoint.position)))
    }

    /// Calls `take` with each readable key run.
    pub(crate) fn each_run(&self, take: impl FnMut(&StreamId, Vec<LocatedEvent>)) -> Result<()> {
        self.ask(|index| {
            index.each_run(take);
            Ok(())
        })
    }
}
