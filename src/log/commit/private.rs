//! What an encoded commit holds of its private events.

use crate::sealing::key::KeyId;

/// What a commit has that private events, or a fence, need.
#[derive(Debug, Default)]
pub(super) struct Private {
    /// The numbers of the events that are still to be sealed, and whom they are about.
    pub(super) unsealed: Vec<(usize, String)>,
    pub(super) sealed: Option<SealedWith>,
    pub(super) fences: Vec<KeyId>,
}

/// What the private events of a commit were sealed with.
#[derive(Debug)]
pub(crate) struct SealedWith {
    /// That of the gate, before the first of them was sealed.
    pub(crate) epoch: u64,
    pub(crate) keys: Vec<(KeyId, String)>,
}

impl Private {
    pub(super) fn add(&mut self, event: usize, subject: &str) {
        self.unsealed.push((event, subject.to_owned()));
    }
}
