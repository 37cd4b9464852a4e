//! How long to wait before the retry after a conflict: a random time that grows, so that writers that conflicted once
//! are unlikely to conflict again.

use crate::value::limits::{COMMAND_RETRY_MAX, COMMAND_RETRY_MIN};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The wait before the `retry`th retry; the first is 1.
pub(crate) fn wait(retry: u32) -> Duration {
    longest(retry).mul_f64(random())
}

fn longest(retry: u32) -> Duration {
    let doubled = 1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
    COMMAND_RETRY_MIN.saturating_mul(doubled).min(COMMAND_RETRY_MAX)
}

/// A number from 0 to 1. The seeds of the standard library's hash maps are random enough for this.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_random_within_a_bound_that_doubles() {
        let bounds: Vec<_> = [1, 2, 5, 7, 8, 40, u32::MAX].map(longest).to_vec();
        let expected = [1, 2, 16, 64, 100, 100, 100].map(Duration::from_millis);
        assert_eq!(bounds, expected);
        let waits: Vec<_> = (0..100).map(|_| wait(7)).collect();
        assert!(waits.iter().all(|wait| *wait <= longest(7)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "all waits are alike");
    }
}
