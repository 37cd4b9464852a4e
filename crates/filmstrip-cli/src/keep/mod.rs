//! Keeping a store: checking, backing up, restoring, repairing, proving.

pub(crate) mod backup;
pub(crate) mod hash;
pub(crate) mod promote;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod verify;
