//! The fuzzer's checks: a decoder may get arbitrary bytes, and must return a consistent value or an error.
//!
//! * The targets in `fuzz/` call these functions, and `fuzz::tests` runs them over randomly changed bytes, so that
//!   the checks are tested in every run.
//! * Checksums detect nearly every change. So an input says whether to repair them (`mend`), as somebody who forges a
//!   file would: the code behind the checksums must not rely on them.
//!
//! Each function returns whether its input was accepted. A failing check panics.

mod envelope;
mod event_set;
mod frame;
mod journal;
#[cfg(feature = "erasure")]
mod key_slot;
mod memory;
mod mend;
#[cfg(feature = "erasure")]
mod private_part;
mod table;
#[cfg(test)]
mod tests;

pub use envelope::envelope;
pub use event_set::event_set;
pub use frame::frame;
pub use journal::journal;
#[cfg(feature = "erasure")]
pub use key_slot::key_slot;
#[cfg(feature = "erasure")]
pub use private_part::private_part;
pub use table::table;
