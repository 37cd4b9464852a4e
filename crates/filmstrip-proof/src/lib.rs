//! The proofs of docs/DURABILITY.md, and the fuzzer's checks. No program needs this crate.
//!
//! This crate builds the engine's files once more, as its own modules. So the proofs can use everything that unit
//! tests can use, such as the disk of a store and the bounds of the indexer, and nothing in the engine is public for
//! them. The test build also contains the engine's unit tests, because some planted defects are caught by them;
//! `cargo test -p filmstrip-proof -- proof:: fuzz::` leaves them out.

pub mod fuzz;
#[cfg(feature = "erasure")]
pub mod measured;
#[cfg(test)]
mod proof;

// The engine. Its own crate checks the warnings; here many of its items are unused.
#[allow(warnings)]
#[path = "../../../src/codec/mod.rs"]
mod codec;
#[allow(warnings)]
#[path = "../../../src/doctor/mod.rs"]
mod doctor;
#[allow(warnings)]
#[path = "../../../src/follow/mod.rs"]
mod follow;
#[allow(warnings)]
#[path = "../../../src/index/mod.rs"]
mod index;
#[allow(warnings)]
#[path = "../../../src/journal/mod.rs"]
mod journal;
#[cfg(feature = "erasure")]
#[allow(warnings)]
#[path = "../../../src/keyring/mod.rs"]
mod keyring;
#[allow(warnings)]
#[path = "../../../src/kv/mod.rs"]
mod kv;
#[allow(warnings)]
#[path = "../../../src/log/mod.rs"]
mod log;
#[allow(warnings)]
#[path = "../../../src/model/mod.rs"]
mod model;
#[cfg(feature = "erasure")]
#[allow(warnings)]
#[path = "../../../src/sealing/mod.rs"]
mod sealing;
#[allow(warnings)]
#[path = "../../../src/sst/mod.rs"]
mod sst;
#[allow(warnings)]
#[path = "../../../src/storage/mod.rs"]
mod storage;
#[allow(warnings)]
#[path = "../../../src/store/mod.rs"]
mod store;
#[allow(warnings)]
#[path = "../../../src/telemetry/mod.rs"]
mod telemetry;
#[allow(warnings)]
#[path = "../../../src/testing/mod.rs"]
mod testing;
#[allow(warnings)]
#[path = "../../../src/value/mod.rs"]
mod value;
#[allow(warnings)]
#[path = "../../../src/views/mod.rs"]
mod views;
