//! What a log knows of private events, and what it remembers of their keys.

use crate::journal::manifest::{self, FORMAT, FORMAT_PRIVATE, Manifest};
use crate::keyring::Keys;
use crate::sealing::key::KeyId;
use crate::storage::disk::Disk;
use crate::storage::held::Held;
use crate::value::error::{Error, Result};
use crate::value::limits::KEYS_REMEMBERED_MAX;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

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
    /// What a replica calls to purge its views.
    views: OnceLock<Box<dyn Fn() -> Result<()> + Send + Sync>>,
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

/// Where the manifest is.
struct Marking {
    directory: Arc<Held>,
    disk: Arc<dyn Disk>,
}

impl Privacy {
    pub(crate) fn new(
        keys: Option<Arc<dyn Keys>>,
        directory: Arc<Held>,
        disk: Arc<dyn Disk>,
        manifest: &Manifest,
    ) -> Privacy {
        Privacy {
            keys: RwLock::new(keys),
            is_marked: AtomicBool::new(manifest.format >= FORMAT_PRIVATE),
            marking: Mutex::new(Some(Marking { directory, disk })),
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

    pub(crate) fn keys_if_any(&self) -> Option<Arc<dyn Keys>> {
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

    /// Sets what [`purge_views`](Privacy::purge_views) calls.
    pub(crate) fn purge_views_by(&self, purge: impl Fn() -> Result<()> + Send + Sync + 'static) {
        let _is_first = self.views.set(Box::new(purge));
    }

    /// Rebuilds or removes the views that may hold something of a private event.
    pub(crate) fn purge_views(&self) -> Result<()> {
        self.views.get().map_or(Ok(()), |purge| purge())
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

    /// Whether the manifest says that there are private events.
    pub(crate) fn is_marked(&self) -> bool {
        self.is_marked.load(Ordering::Acquire)
    }

    /// Makes the manifest say that there are private events. The promotion of a replica writes the manifest as well;
    /// so a replica calls this only where it cannot be promoted meanwhile.
    pub(crate) fn mark(&self) -> Result<()> {
        if self.is_marked() {
            return Ok(());
        }
        if let Some(Marking { directory, disk }) = &*self.marking.lock() {
            let path = directory.path();
            let manifest = manifest::read(&**disk, path)?
                .ok_or_else(|| Error::corrupt(&manifest::path(path), 0, None, "it is missing"))?;
            if manifest.format < FORMAT_PRIVATE {
                manifest::write(&**disk, path, &Manifest { format: FORMAT_PRIVATE, ..manifest })?;
            }
        }
        self.is_marked.store(true, Ordering::Release);
        Ok(())
    }

    /// Calls `act` with the store's directory, if there is one.
    pub(crate) fn with_directory(
        &self,
        act: impl FnOnce(&dyn Disk, &Path) -> Result<()>,
    ) -> Result<()> {
        match &*self.marking.lock() {
            Some(Marking { directory, disk }) => act(&**disk, directory.path()),
            None => Ok(()),
        }
    }

    /// The format of the store.
    pub(crate) fn format(&self) -> u32 {
        if self.is_marked() { FORMAT_PRIVATE } else { FORMAT }
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
