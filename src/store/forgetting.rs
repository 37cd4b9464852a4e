//! Forgetting a data subject.
//!
//! 1. **The fence**: the journal says, durably, that the subject of these keys was forgotten. From then on readers say
//!    so, and nothing is appended under these keys.
//! 2. **The keys are destroyed.** After the fence, never before: what nobody can read must be known to be erased.
//! 3. **What was derived from private events goes**, from memory and from the disk.
//!
//! Each step can be done again. A crash before the fence leaves everything as it was; after it, opening the store does
//! what is left.

use crate::codec::record::{FORGETTING, FORGOTTEN, forgotten_key_id};
use crate::keyring::ListedKey;
use crate::log::commit::Commit;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::privacy::{asked, list};
use crate::sealing::key::KeyId;
use crate::store::Store;
use crate::value::callback;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::FORGOTTEN_PAGE;
use crate::views::{self, VIEWS, forgetting};
use std::sync::Arc;

/// What [`Store::forget`] has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// The ids of the keys that this call has forgotten, the newest first; none, if the subject had no key, or was
    /// forgotten before.
    pub keys: Vec<KeyId>,
    /// The projections whose views may hold something of a private event, and are being rebuilt. Until that is done,
    /// such a view shows its old rows; if its projection is paused, or stops at an error, it shows what there is of the
    /// new ones.
    pub rebuilding: Vec<String>,
}

impl Store {
    /// Forgets `subject`: what was recorded about it as [private](crate::NewEvent::private) events cannot be read any
    /// more, by anybody, in this store and in every copy of it. When this returns, that is durable.
    ///
    /// The events stay where they are, with everything that was never private, and are read as
    /// [erased](crate::read::PayloadFormat::Erased); positions, versions and the [hash](Store::head_hash) of the
    /// journal stay, too. A new private event about the subject is refused with [`Erased`](ErrorKind::Erased), until
    /// the keys are asked to [renew](crate::erasure::KeyDirectory::renew) it.
    ///
    /// What was computed from private events goes as well, and what waits to be handed out is erased by then. States of
    /// aggregates and of processes are computed again; no snapshot is ever taken of one with private events. Read
    /// models that took any, and views of running projections that did, are rebuilt in the background, and
    /// [`drain`](Store::drain) waits for them; until then a view shows its old rows, unless its projection is paused or
    /// stops at an error: then it shows what there is of the new ones. The views of projections that do not run are
    /// removed. What sled's files keep of removed rows is removed when the store is opened the next time, and with it
    /// all views, if any ever took a private event: they are rebuilt then.
    ///
    /// A subject without keys is not known, and nothing is done. Keys that are destroyed already, be it by another
    /// store with the same keys or before this journal was restored from a backup, are forgotten here as well. Calling
    /// it again, after an error or without need, does no harm. What a crash interrupts is done when the store is opened
    /// with its keys.
    ///
    /// Keys that the subject gets meanwhile, by a rotation or by [`renew`](crate::erasure::KeyDirectory::renew), are
    /// forgotten with the others. So renew it after this has returned.
    ///
    /// **What is outside of the store is yours to see to**: your logs, views in other databases, and backups of the key
    /// ring, which bring a subject back if they are restored together with a journal from before.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the store was opened without keys, or for a name that no subject
    /// can have; errors of the keys, and of committing. If the message says that the subject is fenced, its events are
    /// erased for every reader, and keys of it may be left: call it again.
    ///
    /// [`Corrupt`](ErrorKind::Corrupt), for example, if a damaged slot of a key ring may hold a key of the subject.
    /// Then all its other keys are forgotten, and the message names the damage. [`forget_keys`](Store::forget_keys)
    /// makes the events of the damaged key erased, by its id, which they have; once the ring is mended from a backup,
    /// opening the store, or calling this again, destroys the key.
    pub fn forget(&self, subject: &str) -> Result<Forgotten> {
        self.log.log().refuse_if_closed()?;
        callback::refuse_if_commits_wait("forgetting")?;
        // A replica's source forgets, and so does a replica then.
        self.log.engine().refuse_replica()?;
        let privacy = &self.log.log().privacy;
        let keys = privacy.keys()?;
        let _one = privacy.forgetting();
        let mut forgotten: Vec<KeyId> = Vec::new();
        let incomplete = loop {
            let listed = asked(|| keys.list(subject))?;
            let ids = self.not_forgotten(&listed.keys)?;
            if let Some(id) = ids.iter().find(|id| forgotten.contains(id)) {
                let message = format!(
                    "the subject {subject:?} is fenced, and the keys still have its key {id}, which they have destroyed"
                );
                return Err(Error::new(ErrorKind::KeysUnavailable, message));
            }
            if ids.is_empty() {
                break listed.incomplete;
            }
            self.fence_and_destroy(&ids)?;
            // A rotation may have come in between.
            forgotten.extend(ids);
        };
        let rebuilding = self.purge()?;
        match incomplete {
            Some(error) => Err(may_have_others(subject, error)),
            None => Ok(Forgotten { keys: forgotten, rebuilding }),
        }
    }

    /// Forgets the subjects of these keys, as another copy of this store has [listed](Store::forgotten) them: for a
    /// store that was restored, together with its keys, from before somebody was forgotten.
    ///
    /// # Errors
    /// Those of [`forget`](Store::forget).
    pub fn forget_keys(&self, ids: &[KeyId]) -> Result<Forgotten> {
        self.log.log().refuse_if_closed()?;
        callback::refuse_if_commits_wait("forgetting")?;
        self.log.engine().refuse_replica()?;
        let privacy = &self.log.log().privacy;
        privacy.keys()?;
        let _one = privacy.forgetting();
        for page in ids.chunks(FORGOTTEN_PAGE) {
            self.fence_and_destroy(page)?;
        }
        Ok(Forgotten { keys: ids.to_vec(), rebuilding: self.purge()? })
    }

    /// Lists the keys whose subjects were forgotten, in the order of their ids. Keep the list outside of the store and
    /// its backups: after restoring both the store and its keys from a backup, [`forget_keys`](Store::forget_keys)
    /// forgets them again.
    ///
    /// # Errors
    /// Failures of reading.
    pub fn forgotten(&self) -> Result<Vec<KeyId>> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        let mut ids = Vec::new();
        log.visit_records(FORGOTTEN, |key, _| {
            ids.extend(forgotten_key_id(key).map(KeyId::new));
            Ok(())
        })?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// Those of the keys that are still there, or that the journal does not say to be forgotten: another store with the
    /// same keys may have destroyed them, or this journal is one from before.
    fn not_forgotten(&self, listed: &[ListedKey]) -> Result<Vec<KeyId>> {
        let mut ids = Vec::new();
        for key in listed {
            let is_fenced = || match failpoint!("store::trust_keys_that_are_destroyed") {
                true => Ok(true),
                false => self.log.log().is_forgotten(key.id),
            };
            if !key.is_destroyed || !is_fenced()? {
                ids.push(key.id);
            }
        }
        Ok(ids)
    }

    /// The first two steps.
    fn fence_and_destroy(&self, ids: &[KeyId]) -> Result<()> {
        let privacy = &self.log.log().privacy;
        let destroy = || asked(|| privacy.keys()?.destroy(ids));
        if failpoint!("store::destroy_before_fence") {
            destroy()?;
        }
        privacy.mark()?;
        let fence = Commit::new().fencing(ids).state(FORGETTING, vec![1]);
        let fenced = EncodedCommit::new(fence)
            .and_then(|fence| self.log.engine().commit(fence).map_err(Error::from));
        privacy.fenced(ids, fenced.is_ok());
        fenced?;
        let listed = privacy.with_directory(|disk, path| list::add(disk, path, ids));
        if let Err(error) = listed {
            tracing::warn!(%error, "other processes show who was forgotten as sealed, until the store is opened again");
        }
        if !failpoint!("model::keep_what_is_forgotten") {
            privacy.purge_memory();
        }
        destroy().map_err(|error| {
            let message = format!("the subject is fenced, and its keys may be left: {error}");
            Error::with_source(error.kind(), message, error)
        })
    }

    /// The last step, but for the views' files: only while nobody has them open can be removed what they keep of rows
    /// that were removed, and that may be of any view that there ever was. So it is not ended before the next opening.
    fn purge(&self) -> Result<Vec<String>> {
        if self.log.log().record(FORGETTING)?.is_none() {
            return Ok(Vec::new());
        }
        if failpoint!("store::leave_views_of_the_forgotten") {
            self.end_forgetting()?;
        }
        self.parts.projections.forget()
    }

    fn end_forgetting(&self) -> Result<()> {
        let done = EncodedCommit::new(Commit::new().state(FORGETTING, Vec::new()))?;
        self.log.engine().commit(done).map(drop).map_err(Error::from)
    }

    /// Destroys the keys of those who were forgotten, if there are any again, and does what was left to be done. The
    /// store is being opened, and nobody has its views open.
    pub(crate) fn resume_forgetting(&self) -> Result<()> {
        let log = self.log.log();
        if !log.privacy.is_marked() {
            return Ok(());
        }
        let forgotten = self.forgotten()?;
        log.privacy.with_directory(|disk, path| list::renew(disk, path, &forgotten))?;
        if let Ok(keys) = log.privacy.keys() {
            for page in forgotten.chunks(FORGOTTEN_PAGE) {
                match asked(|| keys.destroy(page)) {
                    // They are fenced. Who must wait for a ring to be mended cannot read any other event meanwhile.
                    Err(error) if error.kind() == ErrorKind::Corrupt => tracing::warn!(
                        %error, "some keys of those who were forgotten may be left, until the ring is mended"
                    ),
                    destroyed => destroyed?,
                }
            }
        }
        let is_forgetting = log.record(FORGETTING)?.is_some();
        let (disk, path) = (&**log.journal.disk(), self.path());
        if is_forgetting || forgetting::is_noted(disk, path)? {
            if forgetting::may_be_private(disk, path, VIEWS)? {
                views::wipe(disk, path)?;
            }
            forgetting::remove(disk, path)?;
        }
        match is_forgetting && self.log.engine().refuse_replica().is_ok() {
            true => self.end_forgetting(),
            false => Ok(()),
        }
    }

    /// Lets the views of this replica go when its source forgets somebody.
    pub(crate) fn forget_with_the_source(&self) {
        let projections = Arc::downgrade(&self.parts.projections);
        self.log.log().privacy.purge_views_by(move || match projections.upgrade() {
            Some(projections) => projections.forget().map(drop),
            None => Ok(()),
        });
    }
}

fn may_have_others(subject: &str, error: Error) -> Error {
    let message = format!(
        "the keys of the subject {subject:?} that are known are forgotten, and it may have others: {error}"
    );
    Error::with_source(error.kind(), message, error)
}

#[cfg(test)]
mod tests;
