//! An open key ring: what is looked up in its buckets, and written into them, by one thread at a time.

use crate::keyring::bucket::{self, Slots, Way};
use crate::keyring::head::{self, Head};
use crate::keyring::kek::KeyEncryptingKey;
use crate::keyring::settling::SettledBuckets;
use crate::keyring::slot::{SLOT_BYTES, Slot, SlotBytes, SubjectHash, place_of};
use crate::keyring::{KeyList, ListedKey};
use crate::sealing::key::{KeyId, SubjectKey};
use crate::storage::disk::{Disk, DiskFile};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::SUBJECT_KEYS_MAX;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Permissions of the files: for their owner only.
const MODE: u32 = 0o600;

pub(crate) struct Ring {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) head: Head,
    pub(super) kek: KeyEncryptingKey,
    pub(super) settled: SettledBuckets,
    /// Why the ring takes no further changes: what is on disk is not known.
    pub(super) fault: Option<String>,
}

impl Ring {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        head: Head,
        kek: KeyEncryptingKey,
    ) -> Ring {
        let (directory, settled) = (directory.to_owned(), SettledBuckets::none());
        Ring { disk, directory, head, kek, settled, fault: None }
    }

    /// The subject's newest key, or one that is made now if it has none. With `renews`, also if it was forgotten.
    pub(super) fn current(&mut self, hash: &SubjectHash, renews: bool) -> Result<Current> {
        let way = Way::of(hash.place());
        let slots = self.settled_slots(hash, way)?;
        match slots.newest() {
            Some((at, slot)) if slot.is_live() => Ok(Current::Key(self.open(way, *at, slot)?)),
            Some((at, slot)) if renews => {
                self.add(hash, way, next(slot)?, Some(*at)).map(Current::Key)
            }
            Some(_) => Ok(Current::Forgotten),
            None => {
                self.refuse_damage(way, &slots)?;
                self.add(hash, way, 1, slots.free).map(Current::Key)
            }
        }
    }

    /// Gives the subject a new key, beside those that it has.
    pub(super) fn rotate(&mut self, hash: &SubjectHash) -> Result<Current> {
        let way = Way::of(hash.place());
        let slots = self.settled_slots(hash, way)?;
        self.refuse_damage(way, &slots)?;
        let sequence = match slots.newest() {
            Some((_, newest)) if !newest.is_live() => return Ok(Current::Forgotten),
            Some((_, newest)) => next(newest)?,
            None => 1,
        };
        let live = slots.wanted.iter().filter(|(_, slot)| slot.is_live()).count();
        if live >= SUBJECT_KEYS_MAX {
            let (met, allowed) = (live + 1, SUBJECT_KEYS_MAX);
            return Err(Error::too_large("what a subject would have", met, allowed, "keys"));
        }
        // The slot of an older key that was destroyed is free for another one of the same subject.
        let reusable = slots.wanted.iter().find(|(_, slot)| !slot.is_live());
        let at = reusable.map(|(at, _)| *at).or(slots.free);
        self.add(hash, way, sequence, at).map(Current::Key)
    }

    pub(super) fn get(&self, id: KeyId) -> Result<Option<SubjectKey>> {
        let way = Way::of(place_of(id));
        let slots = self.slots(way, |slot| slot.id == id)?;
        match slots.newest() {
            Some((at, slot)) if slot.is_live() => self.open(way, *at, slot).map(Some),
            Some(_) => Ok(None),
            None => self.refuse_damage(way, &slots).map(|()| None),
        }
    }

    /// The subject's keys, the newest first. One whose destroying may not be durable is listed as if it were there: it
    /// is to be destroyed again.
    pub(super) fn list(&mut self, hash: &SubjectHash) -> Result<KeyList> {
        let way = Way::of(hash.place());
        let is_settled = self.settle(way.bucket()).is_ok();
        let mut slots = self.slots(way, |slot| slot.subject == *hash)?;
        slots.wanted.sort_by_key(|(_, slot)| std::cmp::Reverse(slot.sequence));
        let listed = |(_, slot): &(u64, Slot)| {
            let is_destroyed = !slot.is_live() && is_settled;
            ListedKey { id: slot.id, is_destroyed }
        };
        let keys = slots.wanted.iter().map(listed).collect();
        Ok(KeyList { keys, incomplete: self.refuse_damage(way, &slots).err() })
    }

    pub(super) fn slots(&self, way: Way, wants: impl Fn(&Slot) -> bool) -> Result<Slots> {
        let path = self.bucket(way.bucket());
        let file = match self.disk.open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        Slots::find(file.as_deref(), way, wants).map_err(|e| Error::io("read", &path, e))
    }

    /// Makes durable what is read from the bucket with this number.
    pub(super) fn settle(&mut self, bucket: usize) -> Result<()> {
        self.refuse_fault()?;
        let path = self.bucket(bucket);
        self.settled.settle(&*self.disk, &path, bucket)
    }

    /// The slots of the subject, all of them durable: a key of one is used to seal.
    fn settled_slots(&mut self, hash: &SubjectHash, way: Way) -> Result<Slots> {
        self.settle(way.bucket())?;
        self.slots(way, |slot| slot.subject == *hash)
    }

    fn open(&self, way: Way, at: u64, slot: &Slot) -> Result<SubjectKey> {
        match slot.key(self.head.id, &self.kek) {
            Some(key) => Ok(SubjectKey::new(slot.id, &key)),
            None => {
                let what = "the key in it does not open with the ring's key-encrypting key";
                Err(Error::corrupt(&self.bucket(way.bucket()), at, None, what))
            }
        }
    }

    /// What is missing may be what is damaged.
    pub(super) fn refuse_damage(&self, way: Way, slots: &Slots) -> Result<()> {
        match slots.damaged {
            Some(at) if !failpoint!("keyring::overlook_damaged_slot") => {
                let what = "the checksum of a key's slot is wrong";
                Err(Error::corrupt(&self.bucket(way.bucket()), at, None, what))
            }
            _ => Ok(()),
        }
    }

    fn add(
        &mut self,
        hash: &SubjectHash,
        way: Way,
        sequence: u32,
        at: Option<u64>,
    ) -> Result<SubjectKey> {
        let Some(at) = at else {
            let path = self.bucket(way.bucket());
            let message = format!(
                "{} has no room for another key of this subject; a ring is full at some hundred million subjects",
                path.display()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        };
        let (slot, key) = Slot::make(*hash, sequence, self.head.id, &self.kek)?;
        self.write(way, at, &slot.encode())?;
        Ok(key)
    }

    /// Writes a slot durably. If that fails, what was in its place is put back, so that nobody takes a key for durable
    /// that is not.
    fn write(&mut self, way: Way, at: u64, bytes: &SlotBytes) -> Result<()> {
        let path = self.bucket(way.bucket());
        let file = self.open_or_create(&path).map_err(|e| Error::io("write", &path, e))?;
        let mut before = [0; SLOT_BYTES];
        file.read_at(&mut before, at).map_err(|e| Error::io("read", &path, e))?;
        let write = || {
            file.write_all_at(bytes, at)?;
            match failpoint!("keyring::use_key_before_it_is_synced") {
                true => Ok(()),
                false => file.sync_data(),
            }
        };
        let Err(error) = write() else { return Ok(()) };
        self.settled.fail(way.bucket());
        let error = Error::io("write", &path, error);
        let is_kept = failpoint!("keyring::keep_what_was_not_synced");
        if !is_kept && leave(&*file, &before, at).is_err() {
            self.fault = Some(error.to_string());
        }
        Err(error)
    }

    /// Opens a bucket; if it has no file, makes one, whose name is durable.
    fn open_or_create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.disk.open_to_write(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let file = self.disk.create_new(path, MODE)?;
        if failpoint!("keyring::leave_bucket_name_unsynced") {
            return Ok(file);
        }
        let directory = head::buckets(&self.directory, self.head.generation);
        if let Err(error) = self.disk.sync_dir(&directory) {
            // If it stays, the next key would be written into a file whose name is not durable.
            self.disk.remove(path)?;
            return Err(error);
        }
        Ok(file)
    }

    pub(super) fn refuse_fault(&self) -> Result<()> {
        let Some(fault) = &self.fault else { return Ok(()) };
        let message =
            format!("the key ring takes no changes until it is opened again, since {fault}");
        Err(Error::new(ErrorKind::ReadOnly, message))
    }

    /// The file of the bucket with this number.
    pub(super) fn bucket(&self, bucket: usize) -> PathBuf {
        let directory = head::buckets(&self.directory, self.head.generation);
        directory.join(bucket::file_name(bucket))
    }
}

/// What a subject has for new events.
pub(super) enum Current {
    Key(SubjectKey),
    Forgotten,
}

fn next(newest: &Slot) -> Result<u32> {
    let next = newest.sequence.checked_add(1);
    next.ok_or_else(|| Error::too_large("a subject", u32::MAX as usize, u32::MAX as usize, "keys"))
}

/// Leaves these bytes in a slot after a write of it, or its sync, has failed.
pub(super) fn leave(file: &dyn DiskFile, bytes: &SlotBytes, at: u64) -> io::Result<()> {
    let mut now = [0; SLOT_BYTES];
    file.read_at(&mut now, at)?;
    match now == *bytes {
        true => Ok(()),
        false => file.write_all_at(bytes, at),
    }
}
