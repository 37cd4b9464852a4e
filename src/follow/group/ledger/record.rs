//! What is written of a ledger: its record, what has changed since that was written, and the events that move to a
//! shelf or away from it.

use super::{Changes, Ledger, Move, Unfinished};
use crate::codec::group::{FilterRecord, GroupRecord, TriedRecord};
use crate::follow::group::standing::Now;

impl Ledger {
    /// What a later run needs to go on.
    pub(crate) fn record(&self, now: Now) -> GroupRecord {
        let here = self.begun.iter().map(|position| self.tried_record(*position, now));
        let before = self.tried.iter().map(|(position, (attempts, standing))| TriedRecord {
            position: *position,
            attempts: *attempts,
            due: standing.due(now),
        });
        GroupRecord {
            filter: self.filter.clone(),
            cursor: self.cursor(),
            finished: self.finished.ranges().collect(),
            tried: here.chain(before).collect(),
        }
    }

    /// What must be added to a record of the last time that this was asked.
    pub(crate) fn take_changes(&mut self, now: Now) -> GroupRecord {
        let Changes { finished, tried } = std::mem::take(&mut self.changes);
        let cursor = self.cursor();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for position in finished.range(cursor + 1..).copied() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == position => *last = position,
                _ => ranges.push((position, position)),
            }
        }
        let tried = tried.intersection(&self.begun);
        GroupRecord {
            filter: FilterRecord::default(),
            cursor,
            finished: ranges,
            tried: tried.map(|position| self.tried_record(*position, now)).collect(),
        }
    }

    /// About how many bytes `record` takes, at most.
    pub(crate) fn kept_bytes(&self) -> usize {
        let tried = self.begun.len() + self.tried.len();
        self.filter_bytes + 18 * self.finished.len() + 23 * tried
    }

    fn tried_record(&self, position: u64, now: Now) -> TriedRecord {
        let Unfinished { attempts, standing, .. } = &self.unfinished[&position];
        TriedRecord { position, attempts: *attempts, due: standing.due(now) }
    }

    /// What has moved since this was last asked.
    pub(crate) fn take_moves(&mut self) -> Vec<Move> {
        std::mem::take(&mut self.moves)
    }

    /// These moves could not be written.
    pub(crate) fn put_back_moves(&mut self, moves: Vec<Move>) {
        let newer = std::mem::replace(&mut self.moves, moves);
        self.moves.extend(newer);
    }

    pub(crate) fn has_moves(&self) -> bool {
        !self.moves.is_empty()
    }
}
