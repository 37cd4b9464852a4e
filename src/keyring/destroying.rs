//! Destroys keys: overwrites them where they are.

use crate::keyring::bucket::Way;
use crate::keyring::ring::{Ring, leave};
use crate::keyring::slot::{Slot, place_of};
use crate::sealing::key::KeyId;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Slots of keys that are to be destroyed, and of some that are, with their offsets, by the number of their bucket.
pub(super) type ToDestroy = BTreeMap<usize, Vec<(u64, Slot)>>;

impl Ring {
    /// The slots of those of the keys `ids` that are found; and the first error, if others may be here.
    pub(super) fn to_destroy(&self, ids: &[KeyId]) -> (ToDestroy, Result<()>) {
        let (mut found, mut others) = (ToDestroy::new(), Ok(()));
        for id in ids {
            let way = Way::of(place_of(*id));
            match self.slots(way, |slot| slot.id == *id) {
                Ok(slots) if slots.wanted.is_empty() => {
                    others = others.and(self.refuse_damage(way, &slots));
                }
                Ok(slots) => found.entry(way.bucket()).or_default().extend(slots.wanted),
                Err(error) => others = others.and(Err(error)),
            }
        }
        (found, others)
    }

    /// Destroys the keys in these slots. If some of them cannot be destroyed, the others are, and the first error is
    /// returned.
    pub(super) fn destroy(&mut self, found: ToDestroy) -> Result<()> {
        let destroy = |(bucket, slots)| self.destroy_in(bucket, slots);
        let done: Vec<_> = found.into_iter().map(destroy).collect();
        done.into_iter().collect()
    }

    /// Destroys keys in one bucket, which is synced once. A key that is destroyed already is not written again.
    fn destroy_in(&mut self, bucket: usize, mut slots: Vec<(u64, Slot)>) -> Result<()> {
        self.refuse_fault()?;
        slots.retain(|(_, slot)| slot.is_live());
        // The newest of a subject comes first: once that is destroyed, the subject is forgotten, whatever error ends
        // the rest.
        slots.sort_by_key(|(_, slot)| Reverse(slot.sequence));
        if !slots.is_empty() {
            self.overwrite(bucket, &slots)?;
        }
        match failpoint!("keyring::leave_destroyed_unsynced") {
            true => Ok(()),
            false => self.settle(bucket),
        }
    }

    fn overwrite(&mut self, bucket: usize, slots: &[(u64, Slot)]) -> Result<()> {
        let path = self.bucket(bucket);
        let file = self.disk.open_to_write(&path).map_err(|e| Error::io("write", &path, e))?;
        self.settled.unsettle(bucket);
        slots.iter().try_for_each(|(at, slot)| {
            let destroyed = slot.destroyed().encode();
            file.write_all_at(&destroyed, *at).map_err(|error| {
                self.settled.fail(bucket);
                // A slot that is half written would not be found when this is tried again.
                let _ = leave(&*file, &destroyed, *at);
                Error::io("write", &path, error)
            })
        })
    }
}
