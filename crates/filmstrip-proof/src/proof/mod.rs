//! The proofs that nothing acknowledged is lost and nothing wrong is read; see docs/DURABILITY.md.

pub(crate) mod cuts;
pub(crate) mod disk;
pub(crate) mod oracle;
pub(crate) mod volume;

mod commands;
mod conditions;
mod decisions;
mod faults;
#[cfg(feature = "erasure")]
mod forgetting;
mod index;
mod keyring;
mod operations;
mod preload;
mod processes;
mod replicas;
mod seeded;
mod tables;
mod tail;
mod windows;
