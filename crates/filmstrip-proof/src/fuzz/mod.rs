//! What the fuzzer checks: any bytes may come to the decoders, and each answers with a value that holds
//! together or with an error.
//!
//! * The targets in `fuzz/` call these functions, and `fuzz::tests` runs them over bytes changed at random, so that
//!   what the fuzzer checks is always in order.
//! * Checksums stop nearly every change. So an input says whether they are `mend`ed after it, as somebody
//!   would who forges a file: what is behind them must hold without them.
//!
//! Each function answers whether its input was taken for something; a check that fails panics.

mod envelope;
mod event_set;
mod frame;
mod journal;
mod memory;
mod mend;
mod table;
#[cfg(test)]
mod tests;

pub use envelope::envelope;
pub use event_set::event_set;
pub use frame::frame;
pub use journal::journal;
pub use table::table;
