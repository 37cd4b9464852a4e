//! Moving events: out of a store, and into one from an export or from another system.

mod beginning;
mod clock;
mod cloud;
pub(crate) mod export;
pub(crate) mod import;
mod incoming;
mod kurrentdb;
mod map;
mod object;
mod place;
mod recorder;
mod repeated;
mod source;
mod trailer;
mod values;
