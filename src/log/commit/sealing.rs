//! The private events of an encoded commit: sealed in its buffer, before it is queued.

use crate::codec::digest::digest;
use crate::codec::private_part;
use crate::codec::record::forgotten_key;
use crate::codec::sealed_envelope::{payload_at, set_key_id};
use crate::log::commit::Commit;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::private::SealedWith;
use crate::sealing::event;
use crate::sealing::key::{KeyId, SubjectKey};
use crate::value::error::Result;
use std::mem;

const _: () = assert!(
    private_part::ROOM_BYTES == event::ROOM_BYTES
        && private_part::ROOM_AFTER_BYTES == event::ROOM_AFTER_BYTES
);

impl Commit {
    /// Records that the subject of these keys was forgotten.
    pub(crate) fn fencing(self, ids: &[KeyId]) -> Commit {
        let mut commit =
            ids.iter().fold(self, |commit, id| commit.state(forgotten_key(*id), vec![0]));
        commit.encoded.private_mut().fences.extend_from_slice(ids);
        commit
    }
}

impl EncodedCommit {
    pub(crate) fn has_unsealed(&self) -> bool {
        self.private().is_some_and(|private| !private.unsealed.is_empty())
    }

    /// What its private events were sealed with; `None` if it has none.
    pub(crate) fn sealed_with(&self) -> Option<&SealedWith> {
        self.private()?.sealed.as_ref()
    }

    /// The keys whose subject it says to be forgotten.
    pub(crate) fn fences(&self) -> &[KeyId] {
        self.private().map_or(&[], |private| &private.fences)
    }

    /// Seals its private events under the keys that `key` gives for their subjects. `epoch` is that of the gate.
    pub(crate) fn seal(
        &mut self,
        epoch: u64,
        key: impl Fn(&str) -> Result<SubjectKey>,
    ) -> Result<()> {
        let mut keys: Vec<(SubjectKey, String)> = Vec::new();
        for (number, subject) in mem::take(&mut self.private_mut().unsealed) {
            if keys.iter().all(|(_, known)| *known != subject) {
                keys.push((key(&subject)?, subject.clone()));
            }
            let known = keys.iter().find(|(_, known)| *known == subject);
            let (key, _) = known.expect("it was looked for above");
            let stream = self.stream_of(number).clone();
            let event = &mut self.events[number];
            let envelope = &mut self.frame[event.envelope.clone()];
            let at = payload_at(envelope).expect("it was encoded here");
            set_key_id(envelope, *key.id().as_bytes());
            event::seal(key, stream.as_str(), envelope, at);
            event.digest = digest(envelope);
        }
        let keys = keys.into_iter().map(|(key, subject)| (key.id(), subject)).collect();
        self.private_mut().sealed = Some(SealedWith { epoch, keys });
        Ok(())
    }
}
