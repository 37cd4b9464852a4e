//! The async API of the engine: under each runtime, dropped at any moment, closed while everything is under way.

mod both;
mod causes;
mod closing;
mod commits;
mod common;
mod conditions;
mod decisions;
mod dropping;
mod follows;
#[cfg(feature = "__internal")]
#[path = "../../../../tests/it/plant.rs"]
mod plant;
mod planted;
mod pool;
mod repositories;
mod runtimes;
mod streams;
