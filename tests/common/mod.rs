//! What randomised tests share: numbers from a seed that is printed, and settings for long forms.

#![allow(dead_code, reason = "each test that includes this uses a part of it")]

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The number in an environment variable, if it is set.
pub(crate) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// `FILMSTRIP_SEED`, or a new one; printed, so that a failing run can be run again.
pub(crate) fn seed() -> u64 {
    let seed = variable("FILMSTRIP_SEED").unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
    println!("FILMSTRIP_SEED={seed}");
    seed
}

/// `FILMSTRIP_SEED`, or `default` where a run is to be the same each time; printed too.
pub(crate) fn seed_or(default: u64) -> u64 {
    let seed = variable("FILMSTRIP_SEED").unwrap_or(default);
    println!("FILMSTRIP_SEED={seed}");
    seed
}
