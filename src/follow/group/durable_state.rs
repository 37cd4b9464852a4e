//! How a group is kept in the journal: as a whole record, or, where that would be long, with parts that say what has
//! changed since.
//!
//! * A whole record is written in one commit with the removal of all parts before it, so what is kept is
//!   always one history.
//! * A part is as long as what it adds, and a whole record is written again when the parts are as long as it
//!   is: so an answer writes in proportion to itself, however much is unfinished.

use crate::codec::bin;
use crate::codec::group::{group_key, part_key};
use crate::follow::group::ledger::Ledger;
use crate::follow::group::standing::Now;
use crate::value::limits::{GROUP_PARTS_MAX, GROUP_WHOLE_BYTES_MAX};

/// What is kept of a group beside its whole record.
#[derive(Debug, Clone, Copy)]
pub(super) struct DurableState {
    /// How many parts there may be: their numbers are below it.
    parts: u64,
    /// Bytes that they take, and that their removal will.
    bytes: usize,
    /// What has changed is not known in full, so that the next record must be whole.
    must_be_whole: bool,
}

impl DurableState {
    /// A group that was read from a whole record and so many parts.
    pub(super) fn read(parts: u64) -> DurableState {
        DurableState { parts, bytes: 0, must_be_whole: parts > 0 }
    }

    /// The keys and values to write so that the group `name` is kept as it is now, and what is then kept. An empty
    /// value removes a key.
    pub(super) fn write(
        self,
        name: &str,
        ledger: &mut Ledger,
        now: Now,
    ) -> (Vec<(String, Vec<u8>)>, DurableState) {
        let whole_bytes = ledger.kept_bytes();
        let is_whole = self.must_be_whole
            || whole_bytes <= GROUP_WHOLE_BYTES_MAX
            || self.bytes >= whole_bytes
            || self.parts >= GROUP_PARTS_MAX;
        let changes = ledger.take_changes(now);
        if is_whole {
            let record = (group_key(name), bin::encode(&ledger.record(now)));
            let removed = (0..self.parts).map(|number| (part_key(name, number), Vec::new()));
            return (std::iter::once(record).chain(removed).collect(), DurableState::read(0));
        }
        let (key, part) = (part_key(name, self.parts), bin::encode(&changes));
        let bytes = self.bytes + 2 * key.len() + part.len();
        (vec![(key, part)], DurableState { parts: self.parts + 1, bytes, must_be_whole: false })
    }

    /// What may be kept when the write that was to lead to `intended` has failed.
    pub(super) fn unless(self, intended: DurableState) -> DurableState {
        DurableState { parts: self.parts.max(intended.parts), bytes: 0, must_be_whole: true }
    }
}
