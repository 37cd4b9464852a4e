//! What a log knows of private events, and what it remembers of their keys.

use crate::journal::manifest::{self, FORMAT_MAX, FORMAT_PRIVATE, Manifest};
use crate::keyring::Keys;
use crate::sealing::key::KeyId;
use crate::storage::disk::Disk;
use crate::storage::held::Held;
use crate::value::error::{Error, Result};
use crate::value::limits::KEYS_REMEMBERED_MAX;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// What the log knows of private events.
#[derive(Default)]
pub(crate) struct Privacy {
    /// Until the store is closed.
    keys: RwLock<Option<Arc<dyn Keys>>>,
    pub(super) gate: RwLock<Gate>,
    known: RwLock<KnownKeys>,
    /// Whether the manifest says that there are private events.
    is_marked: AtomicBool,
    /// Nothing, if there is no manifest to be written.
    marking: Mutex<Option<Marking>>,
    forgetting: Mutex<()>,
    /// What drops what was computed from private events.
    purges: Mutex<Vec<Weak<Purge>>>,
}

/// Drops from memory what was computed from private events, once their fence is durable.
pub(crate) type Purge = dyn Fn() + Send + Sync;

/// What a commit with private events passes before it is queued.
#[derive(Default)]
pub(crate) struct Gate {
    /// Counts when a fence began to be made, and when that ended.
    pub(super) epoch: u64,
    /// The keys whose fence is being made.
    pub(super) closing: Vec<KeyId>,
}

/// What is known of keys, so that the journal's records need not be asked for each event.
#[derive(Default)]
struct KnownKeys {
    /// Counts the fences.
    epoch: u64,
    /// Whether the key's subject was forgotten.
    keys: HashMap<KeyId, bool>,
}

/// The manifest, and what writes it.
struct Marking {
    directory: Arc<Held>,
    disk: Arc<dyn Disk>,
    manifest: Manifest,
}

impl Privacy {
    pub(crate) fn new(
        keys: Option<Arc<dyn Keys>>,
        directory: Arc<Held>,
        disk: Arc<dyn Disk>,
        manifest: Manifest,
    ) -> Privacy {
        Privacy {
            keys: RwLock::new(keys),
            is_marked: AtomicBool::new(manifest.format >= FORMAT_PRIVATE),
            marking: Mutex::new(Some(Marking { directory, disk, manifest })),
            ..Privacy::default()
        }
    }

    /// The store's keys.
    ///
    /// # Errors
    /// `InvalidInput` if it was opened without any, or is closed.
    pub(crate) fn keys(&self) -> Result<Arc<dyn Keys>> {
        self.keys_if_any().ok_or_else(|| {
            let message = "the store was opened without keys, which a private event needs; \
                           `StoreBuilder::keys` gives it some";
            Error::invalid(message)
        })
    }

    pub(super) fn keys_if_any(&self) -> Option<Arc<dyn Keys>> {
        self.keys.read().clone()
    }

    /// Lets go of the keys: the store is closed, and others may open them.
    pub(crate) fn release_keys(&self) {
        let keys = self.keys.write().take();
        drop(keys);
    }

    /// Counts how often somebody was forgotten since the store was opened.
    pub(crate) fn epoch(&self) -> u64 {
        self.known.read().epoch
    }

    /// One subject is forgotten at a time.
    pub(crate) fn forgetting(&self) -> MutexGuard<'_, ()> {
        self.forgetting.lock()
    }

    /// Calls `purge` whenever somebody is forgotten, for as long as it is held.
    pub(crate) fn when_forgetting(&self, purge: &Arc<Purge>) {
        let mut purges = self.purges.lock();
        purges.retain(|known| known.strong_count() > 0);
        purges.push(Arc::downgrade(purge));
    }

    /// Drops from memory what was computed from private events.
    pub(crate) fn purge_memory(&self) {
        let purges: Vec<_> = self.purges.lock().iter().filter_map(Weak::upgrade).collect();
        purges.iter().for_each(|purge| purge());
    }

    /// The fence of these keys was made, or could not be.
    pub(crate) fn fenced(&self, ids: &[KeyId], is_durable: bool) {
        if is_durable {
            let mut known = self.known.write();
            known.epoch += 1;
            ids.iter().for_each(|id| known.keep(*id, true));
        }
        let mut gate = self.gate.write();
        gate.epoch += 1;
        gate.closing.clear();
    }

    /// Whether the subject of this key was forgotten, which `look` says if it is not known.
    pub(super) fn is_forgotten(
        &self,
        id: KeyId,
        look: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let epoch = {
            let known = self.known.read();
            if let Some(is_forgotten) = known.keys.get(&id) {
                return Ok(*is_forgotten);
            }
            known.epoch
        };
        let is_forgotten = look()?;
        let mut known = self.known.write();
        // Otherwise a fence may have been made since it was looked for.
        if is_forgotten || known.epoch == epoch {
            known.keep(id, is_forgotten);
        }
        Ok(is_forgotten)
    }

    /// Makes the manifest say that there are private events.
    pub(crate) fn mark(&self) -> Result<()> {
        if self.is_marked.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(marking) = &mut *self.marking.lock()
            && marking.manifest.format < FORMAT_PRIVATE
        {
            let marked = Manifest { format: FORMAT_PRIVATE, ..marking.manifest.clone() };
            manifest::write(&*marking.disk, marking.directory.path(), &marked)?;
            marking.manifest = marked;
        }
        self.is_marked.store(true, Ordering::Release);
        Ok(())
    }

    /// The format of the store.
    pub(crate) fn format(&self) -> u32 {
        self.marking.lock().as_ref().map_or(FORMAT_MAX, |marking| marking.manifest.format)
    }
}

impl KnownKeys {
    fn keep(&mut self, id: KeyId, is_forgotten: bool) {
        if self.keys.len() >= KEYS_REMEMBERED_MAX {
            self.keys.clear();
        }
        self.keys.insert(id, is_forgotten);
    }
}
