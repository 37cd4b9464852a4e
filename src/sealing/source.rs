//! Where a reader of private events has their keys from.

use crate::sealing::key::{KeyId, SubjectKey};
use crate::value::error::Result;

/// Gives readers the keys of private events, unless their subjects were forgotten.
pub(crate) trait KeySource: Send + Sync {
    /// What is known of the key with this id.
    ///
    /// # Errors
    /// If it cannot be known.
    fn find(&self, id: KeyId) -> Result<FoundKey>;
}

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum FoundKey {
    Key(SubjectKey),
    /// There is none here. That does not mean that somebody was forgotten.
    Absent,
    /// The journal says that its subject was forgotten.
    Forgotten,
}
