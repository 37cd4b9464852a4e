//! Why frames were not applied, or a replica not promoted.

use crate::value::error::Error;

/// Why frames were not applied, or not all of them.
pub(super) enum Failed {
    /// It may succeed later.
    Again(Error),
    /// Nothing was written, and nothing further of this source can be.
    Stopped(Error),
    /// It is unknown what is durable. Only opening the store again decides.
    Broken(Error),
    /// The log is no longer a replica.
    Ended,
}

impl Failed {
    pub(super) fn into_error(self) -> Error {
        match self {
            Failed::Again(error) | Failed::Stopped(error) | Failed::Broken(error) => error,
            Failed::Ended => not_a_replica(),
        }
    }
}

/// The error for a store that was to be promoted and is none that can be.
pub(crate) fn not_a_replica() -> Error {
    Error::invalid("this store is not a replica: it accepts commits already")
}
