//! A safe wrapper of sled. No other module names sled.
//!
//! * Panics of sled become errors, and no write of sled can destroy what was synced before it.
//! * Closing a database waits until sled has closed its files.

pub(crate) mod database;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod overflow;
pub(crate) mod sync_policy;
