//! Converts lengths between memory and disk, and says what happens if one does not fit.

/// A length that takes two bytes on disk: of a name, or the number of runs in a block.
pub(crate) fn in_two_bytes(length: usize) -> u16 {
    u16::try_from(length).expect("the limits keep names and blocks below 64 KiB")
}

/// A length that takes four bytes on disk.
pub(crate) fn in_four_bytes(length: usize) -> u32 {
    u32::try_from(length).expect("the limits keep what is written at once below 4 GiB")
}

/// A length from a file as a length in memory. If it is too large for memory, the largest length, which no slice
/// has.
pub(crate) fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
