//! What is written, the same in each run, and cheap: every engine's time holds the making of it.

use std::sync::OnceLock;

/// Of the payloads of most workloads.
pub const PAYLOAD_BYTES: usize = 300;

/// The payload of an event of a stream: JSON, half of whose bytes are the same in each, and half random
/// digits.
pub fn payload(stream: u64, nth: u64) -> Vec<u8> {
    const NAMES: [&str; 6] = ["customer", "account", "product", "warehouse", "invoice", "courier"];
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
    for (name, digits) in NAMES.iter().zip(digits_of(stream, nth, 150).chunks(25)) {
        payload.extend_from_slice(if payload.is_empty() { b"{\"" } else { b",\"" });
        payload.extend_from_slice(name.as_bytes());
        payload.extend_from_slice(b"\":\"");
        payload.extend_from_slice(digits);
        payload.push(b'"');
    }
    payload.extend_from_slice(b",\"remark\":\"");
    payload.resize(PAYLOAD_BYTES - 2, b'.');
    payload.extend_from_slice(b"\"}");
    payload
}

/// The same of any other size: a JSON string, in which random digits and a phrase take turns.
pub fn payload_of(bytes: usize, stream: u64, nth: u64) -> Vec<u8> {
    const PHRASE: &[u8] = b", which the customer remarked on ";
    let mut payload = Vec::with_capacity(bytes + 2 * PHRASE.len());
    payload.push(b'"');
    for digits in digits_of(stream, nth, bytes / 2).chunks(PHRASE.len()) {
        payload.extend_from_slice(digits);
        payload.extend_from_slice(PHRASE);
    }
    payload.resize(bytes - 1, b'.');
    payload.push(b'"');
    payload
}

fn digits_of(stream: u64, nth: u64, count: usize) -> &'static [u8] {
    let digits = digits();
    let mixed = (stream << 20 | nth).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let at = (mixed % (digits.len() - count) as u64) as usize;
    &digits[at..at + count]
}

/// A million random hexadecimal digits.
fn digits() -> &'static [u8] {
    static DIGITS: OnceLock<Vec<u8>> = OnceLock::new();
    DIGITS.get_or_init(|| {
        let mut random = Random::new();
        let digit = |_| b"0123456789abcdef"[(random.next() >> 60) as usize];
        (0..1_000_003).map(digit).collect()
    })
}

/// Numbers without a pattern, the same ones each time (Marsaglia's xorshift).
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        Random(1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Draws of a number by Zipf's law with exponent 1: the `n`th is drawn with a share of `1/n`.
pub struct Zipf {
    random: Random,
    /// The shares of all numbers up to each, added up.
    until: Vec<f64>,
}

impl Zipf {
    pub fn new(numbers: u64) -> Zipf {
        let mut sum = 0.0;
        let until = (1..=numbers).map(|n| {
            sum += 1.0 / n as f64;
            sum
        });
        Zipf { until: until.collect(), random: Random::new() }
    }

    pub fn next(&mut self) -> u64 {
        let all = self.until.last().expect("there are numbers");
        let drawn = (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64 * all;
        let at = self.until.partition_point(|until| *until <= drawn);
        at.min(self.until.len() - 1) as u64
    }
}
