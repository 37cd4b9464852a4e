//! Process managers: they follow events of several streams, and send commands.
//!
//! * Instances are independent: the effects of several instances run in parallel, in lanes, and an instance that fails
//!   does not delay the others. Each instance takes one step at a time.
//! * The events that instances record and the ingested position are one commit, so each event gets one reaction.
//! * The effect of an own event runs after the event is durable and before its instance ingests anything else. It runs
//!   at least once; its commands are identified by the event that caused them, and run once.
//! * All durable state of a process is in the journal: a lost index changes nothing.

pub(crate) mod builder;
mod committing;
mod conflicts;
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
mod spans;
pub(crate) mod status;
