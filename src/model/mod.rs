//! Aggregates, projections and processes, and the code that runs them.

pub(crate) mod aggregate;
pub(crate) mod bus;
pub(crate) mod decision;
pub(crate) mod envelope;
pub(crate) mod event_set;
pub(crate) mod policy;
pub(crate) mod process;
pub(crate) mod progress;
pub(crate) mod projection;
pub(crate) mod read_model;
pub(crate) mod readable;
mod readback;
pub(crate) mod relay;
pub(crate) mod repository;
pub(crate) mod request;
pub(crate) mod ticket;
pub(crate) mod transaction;
pub(crate) mod worker;
