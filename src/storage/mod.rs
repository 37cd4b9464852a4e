//! Files and directories: the one place through which the engine touches them.
//!
//! Nothing here knows what the bytes mean. Tests put a disk of their own in the place of the real one, which
//! fails, tears and reorders as they say.

pub(crate) mod copy;
pub(crate) mod disk;
#[cfg(test)]
#[allow(dead_code, reason = "for the proofs")]
pub(crate) mod faulty;
pub(crate) mod files;
pub(crate) mod guarded;
pub(crate) mod held;
pub(crate) mod lock;
pub(crate) mod regular;
pub(crate) mod replace;
pub(crate) mod scratch;
pub(crate) mod stat;
