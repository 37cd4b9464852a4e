//! Relays: a thread that sends the events of a store to another system, in order, and knows of each what the other
//! system has.
//!
//! * Where a relay begins is what its target holds, asked for each time it is opened: nothing about it is kept in the
//!   store. So a target that lost its end gets it again, and one that belongs to another history is refused.
//! * Events are sent without waiting for those before them, up to a bounded number that is not confirmed. When nothing
//!   is confirmed, nothing more is read of the log.
//! * What goes wrong on the way (an outage, a confirmation that does not come) ends the attempt. The next one opens the
//!   target again and reads from the log what it does not have.

pub(crate) mod builder;
pub(crate) mod failure;
pub(crate) mod handle;
pub(crate) mod receipts;
pub(crate) mod registry;
mod runner;
pub(crate) mod status;
pub(crate) mod target;
mod window;
