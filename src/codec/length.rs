//! Lengths between memory and bytes: what happens where one does not fit.

/// A length that a form tells in two bytes: of a name, or how many runs a block has.
pub(crate) fn in_two_bytes(length: usize) -> u16 {
    u16::try_from(length).expect("the limits keep names and blocks below 64 KiB")
}

/// A length that a form tells in four bytes.
pub(crate) fn in_four_bytes(length: usize) -> u32 {
    u32::try_from(length).expect("the limits keep what is written at once below 4 GiB")
}

/// A length that a file tells, as one in memory: beyond what memory can have, the most that it can, which no slice
/// has.
pub(crate) fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
