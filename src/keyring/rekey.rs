//! Wraps all keys of a ring again, under another key-encrypting key.
//!
//! The keys are written into the buckets of the next generation, beside the present ones. Then the head is replaced,
//! by which the ring changes from one key-encrypting key to the other at once; at no time does it need both. At last
//! the old buckets are overwritten and removed. A crash before the head leaves the old ring, and one after it the new;
//! what it leaves of the other generation is removed when the ring is opened.

use crate::keyring::head::{self, generation};
use crate::keyring::kek::KeyEncryptingKey;
use crate::keyring::ring::Ring;
use crate::keyring::settling::each_page;
use crate::keyring::slot::{self, DAMAGED, Found, SLOT_BYTES, SlotBytes};
use crate::storage::disk::Disk;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use std::path::{Path, PathBuf};

/// What [`KeyDirectory::rekey`](crate::erasure::KeyDirectory::rekey) has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rekeyed {
    /// Keys that are encrypted under the new key-encrypting key.
    pub keys: u64,
    /// Slots that were damaged, or whose key the former key-encrypting key did not open. They are damaged still.
    pub damaged: u64,
}

impl Ring {
    /// Wraps all keys under `kek`, which is the ring's from then on.
    pub(super) fn rekey(&mut self, kek: KeyEncryptingKey) -> Result<Rekeyed> {
        self.refuse_fault()?;
        let next = self.head.next_generation();
        let to = head::buckets(&self.directory, next.generation);
        remove_other_generations(&*self.disk, &self.directory, self.head.generation)?;
        let mut rekeyed = Rekeyed::default();
        if let Err(error) = self.write_generation(&to, &kek, &mut rekeyed) {
            // If it cannot be removed either, that is done before the next attempt.
            let _ = remove_generation(&*self.disk, &to);
            return Err(error);
        }
        if let Err(error) = next.write(&*self.disk, &self.directory, &kek) {
            let message = format!(
                "whether the key ring {} has its new key-encrypting key is not known: {error}; open it again, with the \
                 one or the other",
                self.directory.display()
            );
            self.fault = Some(message.clone());
            return Err(Error::with_source(ErrorKind::OutcomeUnknown, message, error));
        }
        (self.head, self.kek) = (next, kek);
        self.settled.settle_all();
        let removed = remove_other_generations(&*self.disk, &self.directory, self.head.generation);
        removed.map_err(|error| {
            let message = format!(
                "the key ring has its new key-encrypting key, but what the former one opens is still there: {error}; \
                 opening the ring removes it"
            );
            Error::with_source(error.kind(), message, error)
        })?;
        Ok(rekeyed)
    }

    /// Writes all buckets into the new directory `to`, durably.
    fn write_generation(
        &self,
        to: &Path,
        kek: &KeyEncryptingKey,
        rekeyed: &mut Rekeyed,
    ) -> Result<()> {
        let (disk, from) = (&*self.disk, head::buckets(&self.directory, self.head.generation));
        disk.create_dir(to).map_err(|e| Error::io("create", to, e))?;
        for name in disk.list(&from).map_err(|e| Error::io("list", &from, e))? {
            self.write_bucket(&from.join(&name), &to.join(&name), kek, rekeyed)?;
        }
        for directory in [to, &self.directory] {
            disk.sync_dir(directory).map_err(|e| Error::io("sync", directory, e))?;
        }
        Ok(())
    }

    /// Each key keeps its place.
    fn write_bucket(
        &self,
        from: &Path,
        to: &Path,
        kek: &KeyEncryptingKey,
        rekeyed: &mut Rekeyed,
    ) -> Result<()> {
        let old = self.disk.open(from).map_err(|e| Error::io("read", from, e))?;
        let new = self.disk.create_new(to, 0o600).map_err(|e| Error::io("create", to, e))?;
        each_page(&*old, from, |at, page| {
            for bytes in page.as_chunks_mut::<SLOT_BYTES>().0 {
                *bytes = self.wrapped_again(bytes, kek, rekeyed);
            }
            new.write_all_at(page, at).map_err(|e| Error::io("write", to, e))
        })?;
        new.sync_data().map_err(|e| Error::io("sync", to, e))
    }

    /// What is not whole gets no bytes of a key: the former key-encrypting key might open them.
    fn wrapped_again(
        &self,
        bytes: &SlotBytes,
        kek: &KeyEncryptingKey,
        rekeyed: &mut Rekeyed,
    ) -> SlotBytes {
        let slot = match slot::decode(bytes) {
            Found::Slot(slot) if slot.is_live() => slot,
            Found::Slot(_) | Found::Free => return *bytes,
            Found::Damaged => {
                rekeyed.damaged += 1;
                return DAMAGED;
            }
        };
        match slot.key(self.head.id, &self.kek) {
            Some(key) => {
                rekeyed.keys += 1;
                slot.with_key(&key, self.head.id, kek).encode()
            }
            None => {
                rekeyed.damaged += 1;
                slot.unopenable().encode()
            }
        }
    }
}

/// Overwrites and removes all buckets but those of the generation `keep`.
pub(super) fn remove_other_generations(disk: &dyn Disk, ring: &Path, keep: u32) -> Result<()> {
    for name in disk.list(ring).map_err(|e| Error::io("list", ring, e))? {
        if generation(&name).is_some_and(|generation| generation != keep) {
            remove_generation(disk, &ring.join(&name))?;
        }
    }
    Ok(())
}

fn remove_generation(disk: &dyn Disk, directory: &Path) -> Result<()> {
    for name in disk.list(directory).map_err(|e| Error::io("list", directory, e))? {
        remove_bucket(disk, &directory.join(name))?;
    }
    disk.remove_dir(directory).map_err(|e| Error::io("remove", directory, e))?;
    let above: PathBuf = directory.parent().map(Path::to_owned).unwrap_or_default();
    disk.sync_dir(&above).map_err(|e| Error::io("sync", &above, e))
}

fn remove_bucket(disk: &dyn Disk, path: &Path) -> Result<()> {
    let file = disk.open_to_write(path).map_err(|e| Error::io("open", path, e))?;
    if !failpoint!("keyring::remove_without_overwriting") {
        each_page(&*file, path, |at, page| {
            page.fill(0);
            file.write_all_at(page, at).map_err(|e| Error::io("write", path, e))
        })?;
        file.sync_data().map_err(|e| Error::io("sync", path, e))?;
    }
    disk.remove(path).map_err(|e| Error::io("remove", path, e))
}
