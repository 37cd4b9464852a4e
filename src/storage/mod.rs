//! Files and directories. The engine uses them only through this module.
//!
//! Nothing here knows what the bytes mean. Tests replace the real disk with one that fails, tears and reorders
//! writes.

mod allocate;
mod cached;
pub(crate) mod copy;
pub(crate) mod disk;
#[cfg(test)]
#[allow(dead_code, reason = "for the proofs")]
pub(crate) mod faulty;
pub(crate) mod files;
pub(crate) mod guarded;
pub(crate) mod held;
pub(crate) mod lock;
pub(crate) mod lock_holder;
pub(crate) mod parents;
pub(crate) mod regular;
pub(crate) mod replace;
pub(crate) mod scratch;
pub(crate) mod stat;
#[cfg(target_os = "linux")]
mod unfilled;
pub(crate) mod usage;
