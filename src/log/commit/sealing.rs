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

    /// Seals its private events under the keys that `key` gives for their subjects. `epoch` is that of the gate. All
    /// keys are there before the first event is sealed: after an error, it is as it was.
    pub(crate) fn seal(
        &mut self,
        epoch: u64,
        key: impl Fn(&str) -> Result<SubjectKey>,
    ) -> Result<()> {
        let mut keys: Vec<(SubjectKey, String)> = Vec::new();
        for (_, subject) in &self.private_mut().unsealed {
            if keys.iter().all(|(_, known)| known != subject) {
                keys.push((key(subject)?, subject.clone()));
            }
        }
        for (number, subject) in mem::take(&mut self.private_mut().unsealed) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::error::Error;
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;

    /// The events were taken for sealed, and lay in clear under the flag that says so.
    #[test]
    fn after_a_key_was_missing_no_event_is_taken_for_sealed_and_sealing_can_be_repeated() {
        let event = |subject| NewEvent::json("Said", &"in clear").unwrap().private(subject);
        let events = [event("7"), event("8"), event("7")];
        let commit = Commit::new().append("A-1", ExpectedVersion::Any, events);
        let mut encoded = EncodedCommit::new(commit).unwrap();
        let before = encoded.frame.clone();
        let key = |subject: &str| match subject {
            "7" => Ok(SubjectKey::new(KeyId::new([7; 16]), &[7; 32])),
            _ => Err(Error::keys_unavailable("the service is down")),
        };
        encoded.seal(0, key).unwrap_err();
        assert!(encoded.has_unsealed() && encoded.sealed_with().is_none());
        assert_eq!(encoded.frame, before, "some events are sealed");
        encoded.seal(0, |_| Ok(SubjectKey::new(KeyId::new([7; 16]), &[7; 32]))).unwrap();
        assert!(!encoded.has_unsealed());
        assert_eq!(encoded.sealed_with().unwrap().keys.len(), 2);
        let clear = b"in clear";
        assert!(!encoded.frame.windows(clear.len()).any(|bytes| bytes == clear));
    }
}
