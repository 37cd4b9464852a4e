//! What shows that filmstrip keeps its promises, and no program needs: the proofs of docs/DURABILITY.md, and what the
//! fuzzer checks.
//!
//! The engine's files are built once more, as modules of this crate. So the proofs reach what unit tests reach (a disk
//! beneath a store, the bounds of the indexer), and nothing in the engine is public for their sake. In the tests' build
//! the engine's unit tests are here too, because some planted defects are theirs to catch;
//! `cargo test -p filmstrip-proof -- proof:: fuzz::` leaves them out.

pub mod fuzz;
#[cfg(test)]
mod proof;

// The engine, whose warnings are those of its own crate: there it exports more than is used here.
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
#[allow(warnings)]
#[path = "../../../src/kv/mod.rs"]
mod kv;
#[allow(warnings)]
#[path = "../../../src/log/mod.rs"]
mod log;
#[allow(warnings)]
#[path = "../../../src/model/mod.rs"]
mod model;
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
#[path = "../../../src/testing/mod.rs"]
mod testing;
#[allow(warnings)]
#[path = "../../../src/value/mod.rs"]
mod value;
#[allow(warnings)]
#[path = "../../../src/views/mod.rs"]
mod views;
