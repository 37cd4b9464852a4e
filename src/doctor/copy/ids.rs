//! The ids of events that a copy has in the place of one.
//!
//! The first one keeps the id. The id of another one is the UUID of version 5 (RFC 9562, section 5.5) whose namespace
//! is that id, and whose name is a number from 2 on, in decimal digits. Numbers are left out whose ids the commit has
//! already, which an earlier copy gave out: so the ids in a commit stay different, and copying the same log again gives
//! the same ids.

use crate::value::failpoint::failpoint;
use std::collections::HashSet;
use uuid::Uuid;

/// The ids that are given out for one commit.
#[derive(Default)]
pub(super) struct Ids {
    /// The number for the next part of an event.
    next: u64,
    /// The ids that its events had; set once they are needed.
    taken: Option<HashSet<Uuid>>,
}

impl Ids {
    /// The id of part `part` of `event`, counted from 0 and asked for in order. `ids` are those of its commit.
    pub(super) fn next(
        &mut self,
        event: Uuid,
        part: u64,
        ids: impl FnOnce() -> HashSet<Uuid>,
    ) -> Uuid {
        if part == 0 {
            self.next = 2;
            return event;
        }
        if failpoint!("doctor::copy_with_any_id") {
            return Uuid::now_v7();
        }
        let taken = self.taken.get_or_insert_with(ids);
        loop {
            let id = Uuid::new_v5(&event, self.next.to_string().as_bytes());
            self.next += 1;
            if !taken.contains(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(event: Uuid, parts: u64, commit: &[Uuid]) -> Vec<Uuid> {
        let mut ids = Ids::default();
        let commit = || commit.iter().copied().collect();
        (0..parts).map(|part| ids.next(event, part, commit)).collect()
    }

    #[test]
    fn the_parts_of_an_event_have_its_id_and_those_of_its_numbers() {
        let event = Uuid::from_u128(1);
        let ids = parts(event, 3, &[event]);
        assert_eq!(ids[0], event);
        assert_eq!(ids[1].to_string(), "8ff9f83c-0bdf-58d9-be4e-b11369508e29");
        assert_eq!(ids[2], Uuid::new_v5(&event, b"3"));
    }

    #[test]
    fn what_was_split_before_is_split_into_parts_with_other_ids() {
        let event = Uuid::from_u128(1);
        let once = parts(event, 3, &[event]);
        let again = parts(event, 3, &once);
        assert_eq!(again, [event, Uuid::new_v5(&event, b"4"), Uuid::new_v5(&event, b"5")]);
    }
}
