//! The topics of the engine's integration tests that the feature `metrics` adds to, or could change.

#[allow(dead_code, unused_imports, reason = "other topics use the rest")]
#[path = "../../../tests/it/common/mod.rs"]
mod common;

#[path = "../../../tests/it/append.rs"]
mod append;
#[path = "../../../tests/it/causation.rs"]
mod causation;
#[path = "../../../tests/it/health.rs"]
mod health;
#[path = "../../../tests/it/metrics_page.rs"]
mod metrics_page;
