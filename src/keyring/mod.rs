//! The key ring: the keys of data subjects, kept apart from the store that they seal events of.
//!
//! `directory` is a ring in a directory. Its files are described at the heads of `head`, `slot` and `bucket`. What
//! makes and opens one is in `opening`, what looks keys up and makes them in `ring`, what destroys them in
//! `destroying`, and what wraps all of them again in `rekey`. `settling` says when a bucket is believed. Nothing here
//! knows of events.

pub(crate) mod bucket;
mod cache;
mod destroying;
pub(crate) mod directory;
pub(crate) mod head;
pub(crate) mod kek;
mod opening;
pub(crate) mod rekey;
mod ring;
mod settling;
pub(crate) mod slot;
#[cfg(test)]
mod tests;

use crate::sealing::key::{KeyId, SubjectKey};
use crate::value::error::{Error, Result};
use std::sync::Arc;

/// Where a store has the keys of data subjects from: a [`KeyDirectory`](crate::erasure::KeyDirectory), or a key service
/// for which an application implements this.
///
/// A *data subject* is whom private events are about, by a name of 1 to
/// [`SUBJECT_BYTES_MAX`](crate::erasure::SUBJECT_BYTES_MAX) bytes that the application chooses. The name is an id, such
/// as `customer-7`, and no personal data itself: errors show it.
///
/// An error of an implementation is [`Error::keys_unavailable`](crate::Error::keys_unavailable) or
/// [`Error::forgotten`](crate::Error::forgotten). No message may hold a part of a key.
pub trait Keys: Send + Sync {
    /// The key for new events about `subject`. If it never had one, a key is made, and is durable before this returns.
    /// However many threads and processes ask at once, they get the same.
    ///
    /// # Errors
    /// [`Erased`](crate::ErrorKind::Erased) if the subject's newest key was destroyed: a subject that was forgotten
    /// gets no new key by being written about. An error, and never a new key, also if it cannot be known whether the
    /// subject has one.
    fn current(&self, subject: &str) -> Result<SubjectKey>;

    /// The key with this id; `None` if there is none, be it that it was destroyed or that it never was here. That there
    /// is none does not mean that somebody was forgotten.
    ///
    /// # Errors
    /// If it cannot be known whether there is one.
    fn get(&self, id: KeyId) -> Result<Option<SubjectKey>>;

    /// The keys of `subject`: all that it has, and those of its destroyed ones that are still known here, the newest
    /// first. By the latter, a store learns of keys that were destroyed without it. A key service that keeps nothing of
    /// a destroyed key leaves it out; then a store whose journal does not say that the subject was forgotten shows the
    /// events of this key as sealed, until [`Store::forget_keys`](crate::Store::forget_keys) is called with its id.
    ///
    /// # Errors
    /// If none of them can be known. If only some can, these are returned, with the
    /// [reason](KeyList::incomplete), so that they can be destroyed.
    fn list(&self, subject: &str) -> Result<KeyList>;

    /// The ids of the keys that `subject` has, the newest first.
    ///
    /// # Errors
    /// Those of [`list`](Keys::list), and that for which a list is incomplete.
    fn ids(&self, subject: &str) -> Result<Vec<KeyId>> {
        let KeyList { keys, incomplete } = self.list(subject)?;
        match incomplete {
            Some(error) => Err(error),
            None => Ok(keys.iter().filter(|key| !key.is_destroyed).map(|key| key.id).collect()),
        }
    }

    /// Destroys these keys. When this returns, they cannot be had again, also after a power cut. Ids that are not here,
    /// or were destroyed before, are no error: what failed or was interrupted is done again as a whole.
    ///
    /// A store calls this once its journal says that the subject was forgotten. Called by the application, it leaves
    /// the events of the keys sealed for every reader, and what was computed from them where it is, until
    /// [`Store::forget`](crate::Store::forget) is called for the subject.
    ///
    /// # Errors
    /// If one of them could not be destroyed, or if it cannot be known whether one is here. All others are destroyed
    /// all the same.
    fn destroy(&self, ids: &[KeyId]) -> Result<()>;

    /// Makes a [tag](crate::NewEvent::tag) of a value that is personal data, such as an e-mail address: a hash of it
    /// under the oldest key of `subject`, which is made if there is none. The same value has the same tag until the
    /// subject is forgotten, also when its key is rotated; then nobody can compute the tag any more, or find out by
    /// trying which value it stood for.
    ///
    /// ```
    /// use filmstrip::erasure::{KeyDirectory, KeyEncryptingKey, Keys};
    /// # let directory = tempfile::tempdir()?;
    /// # let kek = || Ok(KeyEncryptingKey::new(&[7; 32]));
    /// let keys = KeyDirectory::create(directory.path().join("keys"), kek)?;
    /// let tag = keys.tag("customer-7", "alice@example.org")?;
    /// keys.rotate("customer-7")?;
    /// assert_eq!(keys.tag("customer-7", "alice@example.org")?, tag);
    /// assert_ne!(keys.tag("customer-8", "alice@example.org")?, tag);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`current`](Keys::current).
    fn tag(&self, subject: &str, value: &str) -> Result<String> {
        let oldest = self.ids(subject)?.last().map(|id| self.get(*id)).transpose()?.flatten();
        match oldest {
            Some(key) => Ok(key.tag(value)),
            None => Ok(self.current(subject)?.tag(value)),
        }
    }
}

/// The keys of a data subject, as [`Keys::list`] gives them.
#[derive(Debug, Clone, Default)]
pub struct KeyList {
    /// The keys, the newest first.
    pub keys: Vec<ListedKey>,
    /// Why the subject may have keys that are not among them, such as a damaged slot of a key ring; `None` if it has no
    /// others.
    pub incomplete: Option<Error>,
}

/// A key of a data subject, in a [`KeyList`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedKey {
    /// Its id.
    pub id: KeyId,
    /// Whether it was destroyed, and cannot be had again after a power cut either.
    pub is_destroyed: bool,
}

/// So that an application can give a store its keys, and go on using them itself.
impl<K: Keys + ?Sized> Keys for Arc<K> {
    fn current(&self, subject: &str) -> Result<SubjectKey> {
        (**self).current(subject)
    }

    fn get(&self, id: KeyId) -> Result<Option<SubjectKey>> {
        (**self).get(id)
    }

    fn list(&self, subject: &str) -> Result<KeyList> {
        (**self).list(subject)
    }

    fn ids(&self, subject: &str) -> Result<Vec<KeyId>> {
        (**self).ids(subject)
    }

    fn destroy(&self, ids: &[KeyId]) -> Result<()> {
        (**self).destroy(ids)
    }

    fn tag(&self, subject: &str, value: &str) -> Result<String> {
        (**self).tag(subject, value)
    }
}
