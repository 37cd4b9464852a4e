//! Digests of events: BLAKE3, computed for many events in parallel.
//!
//! Most events are short enough for one BLAKE3 chunk. The blocks of a chunk must be hashed one after the other, which
//! takes 70 ns each however wide the processor's vectors are. The library hashes as many chunks at a time as a vector
//! has lanes; here each lane is an event. The blocks of a chunk, the flags and the first chaining value are those of
//! sections 2.1 to 2.4 of the
//! [specification](https://github.com/BLAKE3-team/BLAKE3-specs/blob/master/blake3.pdf).

use blake3::platform::{Platform, le_bytes_from_words_32, words_from_le_bytes_32};
use blake3::{BLOCK_LEN, CHUNK_LEN, IncrementCounter, OUT_LEN};

/// An event's digest, which goes into the chain.
pub(crate) type Digest = [u8; OUT_LEN];

/// The first chaining value of a chunk.
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;

/// How many contents to hash together: enough to gain from it, and few enough for the processor's cache.
pub(crate) const DIGESTED_TOGETHER: usize = 64;

/// Fewer contents are hashed faster one by one.
const LANES_MIN: usize = 3;

/// The digest of `content`.
pub(crate) fn digest(content: &[u8]) -> Digest {
    *blake3::hash(content).as_bytes()
}

/// The digest of each of `contents`.
#[allow(
    clippy::indexing_slicing,
    reason = "the numbers are those of `contents`, and no part of a chunk_by or a chunks is empty"
)]
pub(crate) fn digest_each(contents: &[&[u8]]) -> Vec<Digest> {
    if contents.len() < LANES_MIN {
        return contents.iter().map(|content| digest(content)).collect();
    }
    let mut digests = vec![[0; OUT_LEN]; contents.len()];
    let platform = Platform::detect();
    let mut order: Vec<(usize, usize)> =
        contents.iter().enumerate().map(|(n, content)| (full_blocks(content), n)).collect();
    order.sort_unstable();
    for alike in order.chunk_by(|(a, _), (b, _)| a == b) {
        let blocks = alike[0].0;
        for lanes in alike.chunks(platform.simd_degree()) {
            let contents = lanes.iter().map(|(_, n)| contents[*n]);
            if blocks == 0 || lanes.len() < LANES_MIN {
                let each = contents.map(digest);
                lanes.iter().zip(each).for_each(|((_, n), digest)| digests[*n] = digest);
                continue;
            }
            let contents: Vec<&[u8]> = contents.collect();
            let mut chained = [0; MAX_LANES * OUT_LEN];
            chain_full_blocks(platform, &contents, blocks, &mut chained);
            let chained = chained.as_chunks::<OUT_LEN>().0;
            for (((_, n), content), chained) in lanes.iter().zip(contents).zip(chained) {
                digests[*n] = finish(platform, &content[blocks * BLOCK_LEN..], chained);
            }
        }
    }
    digests
}

const MAX_LANES: usize = blake3::platform::MAX_SIMD_DEGREE;

/// The number of blocks before the last one, if the content is one chunk; 0 for content that is hashed alone.
fn full_blocks(content: &[u8]) -> usize {
    match content.len() {
        length @ 1..=CHUNK_LEN => (length - 1) / BLOCK_LEN,
        _ => 0,
    }
}

/// Hashes the first `blocks` blocks of each of `contents` in parallel. Writes their chaining values to `out`, one after
/// the other.
fn chain_full_blocks(platform: Platform, contents: &[&[u8]], blocks: usize, out: &mut [u8]) {
    macro_rules! chain {
        ($($blocks:literal)*) => {
            match blocks {
                $($blocks => chain_blocks::<{ $blocks * BLOCK_LEN }>(platform, contents, out),)*
                _ => unreachable!("a chunk has 16 blocks"),
            }
        };
    }
    chain!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

#[allow(clippy::indexing_slicing, reason = "there are no more contents than lanes")]
fn chain_blocks<const BYTES: usize>(platform: Platform, contents: &[&[u8]], out: &mut [u8]) {
    let mut inputs = [&[0; BYTES]; MAX_LANES];
    for (input, content) in inputs.iter_mut().zip(contents) {
        *input = content.first_chunk().expect("it has so many blocks, and more");
    }
    let inputs = &inputs[..contents.len()];
    platform.hash_many(inputs, &IV, 0, IncrementCounter::No, 0, CHUNK_START, 0, out);
}

/// The digest of content whose last block is `last`. The blocks before it have the chaining value `chained`.
#[allow(clippy::indexing_slicing, reason = "what is last is no longer than a block")]
fn finish(platform: Platform, last: &[u8], chained: &[u8; OUT_LEN]) -> Digest {
    let mut block = [0; BLOCK_LEN];
    block[..last.len()].copy_from_slice(last);
    let mut words = words_from_le_bytes_32(chained);
    let length = u8::try_from(last.len()).expect("a block is of 64 bytes");
    platform.compress_in_place(&mut words, &block, length, 0, CHUNK_END | ROOT);
    le_bytes_from_words_32(&words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::random::{Random, first_seed, rounds};

    fn check(contents: &[&[u8]], case: &str) {
        let each: Vec<Digest> = contents.iter().map(|content| digest(content)).collect();
        assert_eq!(digest_each(contents), each, "{case}");
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    #[test]
    fn digests_side_by_side_are_blake3s_for_every_length_and_number() {
        let noise = noise(2 * CHUNK_LEN);
        for length in 0..=CHUNK_LEN + 65 {
            let contents: Vec<&[u8]> = (0..length % 40).map(|n| &noise[n..n + length]).collect();
            check(&contents, &format!("{} of {length} bytes", contents.len()));
        }
    }

    #[test]
    fn digests_of_contents_of_mixed_lengths_are_each_ones_own() {
        let noise = noise(4 * CHUNK_LEN);
        for seed in first_seed()..first_seed() + rounds(200) {
            let random = &mut Random::new(seed);
            let mut content = || {
                let most = [80, 400, CHUNK_LEN as u64 + 100][random.below(3) as usize];
                let start = random.below(2 * CHUNK_LEN as u64) as usize;
                &noise[start..start + random.below(most) as usize]
            };
            let contents: Vec<&[u8]> = (0..100).map(|_| content()).collect();
            check(&contents, &format!("seed {seed}"));
        }
    }
}
