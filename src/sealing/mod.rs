//! Sealing: a private event's payload under the key of the person whom it is about.
//!
//! Values and bytes; no file. Only `cipher` names the library that encrypts. What seals an event is in `event`, what
//! the sealed bytes hold in `codec::private_part`.

// Bytes from damaged files pass through here.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::indexing_slicing))]

pub(crate) mod cipher;
pub(crate) mod event;
pub(crate) mod key;
pub(crate) mod secret;
pub(crate) mod source;
#[cfg(test)]
mod vectors;
