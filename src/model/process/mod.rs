//! Process managers: state that follows events of several streams, and sends commands.
//!
//! * Instances are independent of each other: the effects of several run side by side, in lanes, and one that fails
//!   does not hold up the others. Each instance goes one step after the other.
//! * The events that instances record and the ingested position are one commit, so no event is reacted to twice.
//! * An own event's effect runs after the event is durable and before its instance ingests anything else. It runs at
//!   least once; its commands are identified by the event that caused them, and run once.
//! * All durable state of a process is in the journal: a lost index changes nothing.

pub(crate) mod builder;
mod committing;
pub(crate) mod contract;
mod deadlines;
mod durable_state;
pub(crate) mod effects;
mod failing;
mod failure;
pub(crate) mod handle;
mod incoming;
mod ingesting;
mod instances;
mod lane;
mod lanes;
mod listening;
pub(crate) mod passing_on;
mod pending;
mod plan;
mod reacting;
pub(crate) mod registry;
mod replaying;
mod rereading;
mod runner;
mod schedule;
mod second_reading;
pub(crate) mod status;
