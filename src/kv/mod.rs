//! sled, wrapped so that it cannot do harm: the only room that names it.
//!
//! * No panic of sled's passes, and no write of sled's can destroy what was synced before it.
//! * When a database is closed, sled has let go of its files.

pub(crate) mod database;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod overflow;
pub(crate) mod sync_policy;
