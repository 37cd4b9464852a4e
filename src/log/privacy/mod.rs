//! Private events as the log keeps them: under whose keys they are sealed, and who was forgotten.
//!
//! * **The fence**: that a key's subject was forgotten is a record of the journal, `forgotten/<key id>`. It is durable
//!   before the key is destroyed, so what cannot be read any more is always said to be erased, and nothing else is.
//! * No event that a key has sealed is admitted after the key's fence. A commit passes the gate between sealing and
//!   queueing, and the fence is queued while the gate is shut. What was sealed before and comes after is refused.
//! * A store without private events has nothing of this: its manifest says so until the first one is about to be
//!   queued, since earlier versions would take such an event for damage.

pub(crate) mod list;
pub(crate) mod state;

use crate::codec::record::forgotten_key;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::core::Log;
use crate::sealing::key::KeyId;
use crate::sealing::source::{FoundKey, KeySource};
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::event::{PayloadFormat, RecordedEvent};
use crate::value::failpoint::failpoint;
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use state::Gate;
use std::sync::Weak;

/// What a commit holds until it is queued.
#[allow(dead_code, reason = "it is held, and not looked at")]
pub(crate) enum Pass<'a> {
    /// It has nothing to do with the gate.
    Free,
    Through(RwLockReadGuard<'a, Gate>),
    /// It makes a fence, and nothing goes through meanwhile.
    Shuts(RwLockWriteGuard<'a, Gate>),
}

impl Log {
    /// Seals the private events of `encoded`. Keys may come from a service, so this is called without a lock and not
    /// within a commit.
    pub(crate) fn seal(&self, encoded: &mut EncodedCommit) -> Result<()> {
        if !encoded.has_unsealed() {
            return Ok(());
        }
        let keys = self.privacy.keys()?;
        let epoch = self.privacy.gate.read().epoch;
        encoded.seal(epoch, |subject| {
            let key = asked(|| keys.current(subject))?;
            match self.is_forgotten(key.id())? {
                true => Err(Error::forgotten(subject)),
                false => Ok(key),
            }
        })?;
        self.privacy.mark()
    }

    /// Lets a commit through the gate, or shuts it, if the commit makes a fence.
    ///
    /// # Errors
    /// `Erased` if the subject of one of its keys was forgotten after the commit was sealed.
    pub(crate) fn pass_gate(&self, encoded: &EncodedCommit) -> Result<Pass<'_>> {
        let (fences, gate) = (encoded.fences(), &self.privacy.gate);
        if !fences.is_empty() {
            let mut gate = gate.write();
            gate.epoch += 1;
            gate.closing = fences.to_vec();
            return Ok(Pass::Shuts(gate));
        }
        let Some(sealed) = encoded.sealed_with() else { return Ok(Pass::Free) };
        let gate = gate.read();
        let may_be_late = gate.epoch != sealed.epoch || !gate.closing.is_empty();
        for (id, subject) in sealed.keys.iter().filter(|_| may_be_late) {
            let is_late = gate.closing.contains(id) || self.is_forgotten(*id)?;
            if is_late && !failpoint!("log::admit_after_the_fence") {
                return Err(Error::forgotten(subject));
            }
        }
        Ok(Pass::Through(gate))
    }

    /// `event`, erased if its subject was forgotten since it was read. If that cannot be found out, it is as without
    /// its key.
    pub(crate) fn unless_forgotten(&self, event: RecordedEvent) -> RecordedEvent {
        let Some(id) = event.key_id().filter(|_| event.unreadable().is_none()) else {
            return event;
        };
        if failpoint!("log::hand_out_the_forgotten") {
            return event;
        }
        match self.is_forgotten(id) {
            Ok(false) => event,
            Ok(true) => event.without_content(PayloadFormat::Erased),
            Err(_) => event.without_content(PayloadFormat::Sealed),
        }
    }

    /// Whether the journal says that the subject of this key was forgotten.
    pub(crate) fn is_forgotten(&self, id: KeyId) -> Result<bool> {
        let look = || self.record(&forgotten_key(id)).map(|fence| fence.is_some());
        self.privacy.is_forgotten(id, look)
    }
}

/// What an application's key service says.
pub(crate) fn asked<T>(ask: impl FnOnce() -> Result<T>) -> Result<T> {
    catch(ask).unwrap_or_else(|cause| {
        Err(Error::new(ErrorKind::Panicked, format!("the keys panicked: {cause}")))
    })
}

/// The keys that the log's readers have.
pub(crate) struct ReadersKeys(pub(crate) Weak<Log>);

impl KeySource for ReadersKeys {
    fn find(&self, id: KeyId) -> Result<FoundKey> {
        let closed = || Error::new(ErrorKind::Closed, "the store is closed");
        let log = self.0.upgrade().ok_or_else(closed)?;
        let is_forgotten = || log.is_forgotten(id);
        if is_forgotten()? {
            return Ok(FoundKey::Forgotten);
        }
        let Some(keys) = log.privacy.keys_if_any() else {
            log.refuse_if_ended()?;
            return Ok(FoundKey::Absent);
        };
        match asked(|| keys.get(id))? {
            Some(key) => Ok(FoundKey::Key(key)),
            // It may have been destroyed in between.
            None if is_forgotten()? => Ok(FoundKey::Forgotten),
            None => Ok(FoundKey::Absent),
        }
    }
}
