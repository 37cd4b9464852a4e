//! Keys of a ring in memory. An entry that leaves it is overwritten, once nobody uses its key any more.

use crate::keyring::slot::SubjectHash;
use crate::sealing::key::{KeyId, SubjectKey};
use crate::value::limits::KEYS_CACHED_MAX;
use quick_cache::sync::Cache;
use std::collections::HashSet;

/// The keys that were used lately. Entries are put in and taken out under the ring's lock only, so that none is put in
/// after its key was destroyed.
pub(crate) struct KeyCache {
    by_id: Cache<KeyId, SubjectKey>,
    current: Cache<SubjectHash, SubjectKey>,
}

impl KeyCache {
    pub(crate) fn new() -> KeyCache {
        KeyCache { by_id: Cache::new(KEYS_CACHED_MAX), current: Cache::new(KEYS_CACHED_MAX) }
    }

    pub(crate) fn get(&self, id: KeyId) -> Option<SubjectKey> {
        self.by_id.get(&id)
    }

    pub(crate) fn current(&self, subject: &SubjectHash) -> Option<SubjectKey> {
        self.current.get(subject)
    }

    pub(crate) fn put(&self, key: &SubjectKey) {
        self.by_id.insert(key.id(), key.clone());
    }

    pub(crate) fn put_current(&self, subject: SubjectHash, key: &SubjectKey) {
        self.put(key);
        self.current.insert(subject, key.clone());
    }

    pub(crate) fn forget(&self, id: KeyId, subject: &SubjectHash) {
        self.by_id.remove(&id);
        self.current.remove(subject);
    }

    /// Drops keys whose subjects are not known.
    pub(crate) fn forget_ids(&self, ids: &[KeyId]) {
        let ids: HashSet<_> = ids.iter().copied().collect();
        self.by_id.retain(|id, _| !ids.contains(id));
        self.current.retain(|_, key| !ids.contains(&key.id()));
    }

    /// How many keys it has.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> (usize, usize) {
        (self.by_id.len(), self.current.len())
    }
}
