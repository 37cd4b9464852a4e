//! The topics of the engine's integration tests that other features of dependencies could change.

#[allow(dead_code, unused_imports, reason = "other topics use the rest")]
#[path = "../../../tests/it/common/mod.rs"]
mod common;

#[path = "../../../tests/it/compatibility.rs"]
mod compatibility;
#[path = "../../../tests/it/repository.rs"]
mod repository;
