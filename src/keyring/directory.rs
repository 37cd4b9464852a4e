//! The key ring as an application uses it.

use crate::keyring::cache::KeyCache;
use crate::keyring::kek::KeyEncryptingKey;
use crate::keyring::opening::{self, RingLock};
use crate::keyring::rekey::Rekeyed;
use crate::keyring::ring::{Current, Ring};
use crate::keyring::slot::SubjectHash;
use crate::keyring::{KeyList, Keys};
use crate::sealing::key::{KeyId, SubjectKey};
use crate::sealing::secret::Secret;
use crate::storage::disk::{Disk, RealDisk};
use crate::value::error::{Error, ErrorKind, HandlerError, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::SUBJECT_BYTES_MAX;
use parking_lot::Mutex;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroize;

/// A key ring in a directory: the keys of all data subjects, each encrypted under one key-encrypting key.
///
/// * The directory is outside of the store's, and is not copied by the store's backups. Only its owner may have
///   permissions for it (0700, its files 0600). One process at a time has it open, and one handle in that process.
/// * The key-encrypting key comes from a closure, best from a key service, and is only in memory. Who has the
///   directory without it has neither keys nor names of subjects.
/// * A key takes 128 bytes. It is durable before it is returned.
/// * [`Store::forget`](crate::Store::forget) overwrites a subject's keys where they are. A solid-state disk, a file
///   system that copies on write, or a snapshot or backup of the directory may still have what was there before. After
///   [`rekey`](KeyDirectory::rekey), and once the former key-encrypting key is destroyed, nobody can read that either.
/// * A key that was destroyed stays [listed](Keys::list) until the subject gets a new key in its slot, by
///   [`renew`](KeyDirectory::renew), or by [`rotate`](KeyDirectory::rotate) if it has a newer one.
/// * **A lost ring is lost data.** Back it up, and let these backups expire within the time in which you promise to
///   forget. A ring from a backup has the keys of those who were forgotten since, until they are forgotten again.
///
/// Memory is bounded: 16,384 keys by their ids, and as many by their subjects, are kept; their bytes are overwritten
/// when they are dropped. What sealing and opening have on the stack is not, nor is what was opened; and swap space,
/// hibernation and core dumps may have any of it.
///
/// Calls for keys that are not in memory run one at a time. The first event about a subject waits until its key is on
/// the disk, and so does every call meanwhile that needs the disk, be it for a key to read with.
///
/// ```
/// use filmstrip::erasure::{KeyDirectory, KeyEncryptingKey, Keys};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("keys");
/// # let kek = || Ok(KeyEncryptingKey::new(&[7; 32]));
/// let keys = KeyDirectory::create(&path, kek)?;
/// let key = keys.current("customer-7")?;
/// assert_eq!(keys.get(key.id())?.map(|key| key.id()), Some(key.id()));
///
/// let newer = keys.rotate("customer-7")?;
/// assert_eq!(keys.current("customer-7")?.id(), newer);
/// assert_eq!(keys.ids("customer-7")?, [newer, key.id()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyDirectory {
    path: PathBuf,
    owner: Owner,
    /// That of the ring's head; no rekeying changes it.
    hash_key: Secret,
    cache: KeyCache,
    ring: Mutex<Ring>,
    _lock: RingLock,
}

impl KeyDirectory {
    /// Makes a key ring in the directory `path`, which is missing or empty, and opens it. `kek` gives its
    /// key-encrypting key, and is called once, before anything is made.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the directory holds something, is within a store's, or has
    /// permissions for others than its owner; [`Locked`](ErrorKind::Locked);
    /// [`KeysUnavailable`](ErrorKind::KeysUnavailable) with the error of `kek`. If it fails midway, calling it again
    /// goes on.
    pub fn create(
        path: impl AsRef<Path>,
        kek: impl FnOnce() -> Result<KeyEncryptingKey, HandlerError>,
    ) -> Result<KeyDirectory> {
        KeyDirectory::create_on(path.as_ref(), &(Arc::new(RealDisk) as Arc<dyn Disk>), kek)
    }

    /// Opens the key ring in the directory `path`. `kek` gives its key-encrypting key, and is called once.
    ///
    /// A ring that is missing is not made: its directory may not be mounted, and then every subject would get a new
    /// key.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is no ring, if it has another key-encrypting key, if it is
    /// within a store's directory, or if its directory has permissions for others than its owner;
    /// [`Locked`](ErrorKind::Locked) if it is open already; [`Corrupt`](ErrorKind::Corrupt);
    /// [`UnsupportedFormat`](ErrorKind::UnsupportedFormat);
    /// [`KeysUnavailable`](ErrorKind::KeysUnavailable) with the error of `kek`.
    pub fn open(
        path: impl AsRef<Path>,
        kek: impl FnOnce() -> Result<KeyEncryptingKey, HandlerError>,
    ) -> Result<KeyDirectory> {
        KeyDirectory::open_on(path.as_ref(), &(Arc::new(RealDisk) as Arc<dyn Disk>), kek)
    }

    pub(crate) fn create_on(
        path: &Path,
        disk: &Arc<dyn Disk>,
        kek: impl FnOnce() -> Result<KeyEncryptingKey, HandlerError>,
    ) -> Result<KeyDirectory> {
        let kek = kek().map_err(Error::keys_unavailable)?;
        opening::create(path, disk, kek).map(KeyDirectory::new)
    }

    pub(crate) fn open_on(
        path: &Path,
        disk: &Arc<dyn Disk>,
        kek: impl FnOnce() -> Result<KeyEncryptingKey, HandlerError>,
    ) -> Result<KeyDirectory> {
        let kek = kek().map_err(Error::keys_unavailable)?;
        opening::open(path, disk, kek).map(KeyDirectory::new)
    }

    fn new((ring, lock): (Ring, RingLock)) -> KeyDirectory {
        KeyDirectory {
            path: ring.directory.clone(),
            owner: Owner::this_process(),
            hash_key: ring.head.hash_key.clone(),
            cache: KeyCache::new(),
            ring: Mutex::new(ring),
            _lock: lock,
        }
    }

    /// The directory of the ring, with all symbolic links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives `subject` a new key for what is recorded from now on, and returns its id. Its earlier keys stay, and open
    /// what they have sealed, until the subject is forgotten. A subject without a key gets its first one.
    ///
    /// # Errors
    /// [`Erased`](ErrorKind::Erased) if the subject was forgotten; [`TooLarge`](ErrorKind::TooLarge) if it has
    /// [`SUBJECT_KEYS_MAX`](crate::erasure::SUBJECT_KEYS_MAX) keys; those of [`current`](Keys::current).
    pub fn rotate(&self, subject: &str) -> Result<KeyId> {
        let hash = self.hash(subject)?;
        let mut ring = self.lock_ring()?;
        self.used(subject, hash, ring.rotate(&hash)?).map(|key| key.id())
    }

    /// Gives a subject that was forgotten a new key, by a new consent of the person, and returns its id. What was
    /// recorded before stays unreadable. A subject that was not forgotten keeps the key that it has.
    ///
    /// # Errors
    /// Those of [`current`](Keys::current), but not `Erased`.
    pub fn renew(&self, subject: &str) -> Result<KeyId> {
        let hash = self.hash(subject)?;
        let mut ring = self.lock_ring()?;
        self.used(subject, hash, ring.current(&hash, true)?).map(|key| key.id())
    }

    /// Encrypts all keys again, under the key-encrypting key that `kek` gives, and overwrites and removes what the
    /// former one opens. When this returns, the former one is of no use for this ring, and may be destroyed.
    ///
    /// Every key is read and written once; meanwhile other calls wait, unless their key is in memory. It takes as much
    /// space beside the ring as the ring has. After a crash, the ring has the former key or the new one, never both.
    ///
    /// A damaged slot does not stop it. The key in it is lost, and its bytes are not copied; the slot stays damaged, so
    /// that nobody takes the key for one that never was. The result says how many there are. To save such keys, restore
    /// the file of the slot from a backup of the ring, before rekeying.
    ///
    /// # Errors
    /// [`KeysUnavailable`](ErrorKind::KeysUnavailable);
    /// [`StorageFull`](ErrorKind::StorageFull); [`Io`](ErrorKind::Io), whose message says which of the two keys the
    /// ring has. [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) if it may have the one or the other: then keep both,
    /// and open the ring again.
    pub fn rekey(
        &self,
        kek: impl FnOnce() -> Result<KeyEncryptingKey, HandlerError>,
    ) -> Result<Rekeyed> {
        let kek = kek().map_err(Error::keys_unavailable)?;
        self.lock_ring()?.rekey(kek)
    }

    /// The ring, for one thread at a time.
    fn lock_ring(&self) -> Result<parking_lot::MutexGuard<'_, Ring>> {
        self.refuse_fork()?;
        Ok(self.ring.lock())
    }

    /// A forked process has a copy of the keys in memory, and would use them after they were destroyed.
    fn refuse_fork(&self) -> Result<()> {
        if !self.owner.is_this_process() {
            let message = format!(
                "the key ring {} was opened by another process; a process that was forked from it cannot use it",
                self.path.display()
            );
            return Err(Error::new(ErrorKind::Forked, message));
        }
        Ok(())
    }

    fn hash(&self, subject: &str) -> Result<SubjectHash> {
        if subject.is_empty() {
            return Err(Error::invalid("the name of a subject is empty; it needs at least 1 byte"));
        }
        if subject.len() > SUBJECT_BYTES_MAX {
            let (met, allowed) = (subject.len(), SUBJECT_BYTES_MAX);
            return Err(Error::too_large("the name of a subject", met, allowed, "bytes"));
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.hash_key);
        let hash = *hasher.update(subject.as_bytes()).finalize().as_bytes();
        hasher.zeroize();
        Ok(SubjectHash(hash))
    }

    /// The subject's current key, which is kept in memory. The caller has the ring locked.
    fn used(&self, subject: &str, hash: SubjectHash, current: Current) -> Result<SubjectKey> {
        match current {
            Current::Key(key) => {
                self.cache.put_current(hash, &key);
                Ok(key)
            }
            Current::Forgotten => Err(Error::forgotten(subject)),
        }
    }

    /// As it is in a process that was forked from its owner.
    #[cfg(test)]
    pub(crate) fn forked(self) -> KeyDirectory {
        KeyDirectory { owner: Owner::another_process(), ..self }
    }

    /// How many keys are in memory: by their ids, and by their subjects.
    #[cfg(test)]
    pub(crate) fn keys_in_memory(&self) -> (usize, usize) {
        self.cache.keys()
    }
}

impl Keys for KeyDirectory {
    fn current(&self, subject: &str) -> Result<SubjectKey> {
        self.refuse_fork()?;
        let hash = self.hash(subject)?;
        if let Some(key) = self.cache.current(&hash) {
            return Ok(key);
        }
        let mut ring = self.lock_ring()?;
        // Another thread may have had the same to do.
        if let Some(key) = self.cache.current(&hash) {
            return Ok(key);
        }
        self.used(subject, hash, ring.current(&hash, false)?)
    }

    fn get(&self, id: KeyId) -> Result<Option<SubjectKey>> {
        self.refuse_fork()?;
        if let Some(key) = self.cache.get(id) {
            return Ok(Some(key));
        }
        let ring = self.lock_ring()?;
        let key = ring.get(id)?;
        if let Some(key) = &key {
            self.cache.put(key);
        }
        Ok(key)
    }

    fn list(&self, subject: &str) -> Result<KeyList> {
        let hash = self.hash(subject)?;
        self.lock_ring()?.list(&hash)
    }

    fn destroy(&self, ids: &[KeyId]) -> Result<()> {
        let mut ring = self.lock_ring()?;
        let (found, others) = ring.to_destroy(ids);
        for (_, slot) in found.values().flatten() {
            if !failpoint!("keyring::leave_destroyed_in_memory") {
                self.cache.forget(slot.id, &slot.subject);
            }
        }
        if others.is_err() {
            self.cache.forget_ids(ids);
        }
        ring.destroy(found).and(others)
    }
}

/// Its path; no key.
impl fmt::Debug for KeyDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyDirectory").field("path", &self.path).finish_non_exhaustive()
    }
}
