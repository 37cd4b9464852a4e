//! Random numbers for tests, from a seed that a failing one shows.

/// A generator that a seed determines.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        println!("seed {seed}");
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True with a probability of `percent` per cent.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The seed of the first round: `FILMSTRIP_SEED`, or always the same one.
pub(crate) fn first_seed() -> u64 {
    number_from_environment("FILMSTRIP_SEED", 1)
}

/// How many rounds of a test to go: `FILMSTRIP_ROUNDS`, or the few of the short form.
pub(crate) fn rounds(short: u64) -> u64 {
    number_from_environment("FILMSTRIP_ROUNDS", short)
}

fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{name} is no number: {number}")),
        Err(_) => otherwise,
    }
}
