//! Looking into a store: beside the process that writes it, without a lock, and without a change.

pub(crate) mod film;
mod found;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod streams;
pub(crate) mod tail;
pub(crate) mod top;
mod tree;
pub(crate) mod why;
