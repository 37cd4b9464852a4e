//! Integers of variable length (LEB128): seven bits in each byte, the lowest first; bit 7 is set if another byte
//! follows. Signed numbers are zigzag-encoded first, so that small numbers of either sign are short.

/// The most bytes of a number.
pub(crate) const BYTES_MAX: usize = 10;

/// Appends `number`.
#[allow(clippy::cast_possible_truncation, reason = "the lowest seven bits are what is meant")]
pub(crate) fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number that may be negative.
pub(crate) fn put_signed(number: i64, out: &mut Vec<u8>) {
    put((number << 1 ^ number >> 63) as u64, out);
}

/// Takes a number from the front of `bytes`; `None` if there is no valid one.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (n, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        let part = u64::from(byte & 0x7f);
        number |= part << (7 * n);
        if byte & 0x80 == 0 {
            // The tenth byte has room for one bit.
            let fits = n + 1 < BYTES_MAX || part <= 1;
            *bytes = bytes.get(n + 1..)?;
            return fits.then_some(number);
        }
    }
    None
}

/// Takes a number that may be negative from the front of `bytes`.
pub(crate) fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    let folded = take(bytes)?;
    Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_golden_bytes() {
        for (number, golden) in [(0, &[0][..]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2])]
        {
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            assert_eq!(bytes, golden, "{number}");
        }
        let mut bytes = Vec::new();
        for number in [0, -1, 1, -2] {
            put_signed(number, &mut bytes);
        }
        assert_eq!(bytes, [0, 1, 2, 3]);
    }

    #[test]
    fn every_number_comes_back_and_no_cut_one_does() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, u64::MAX >> bit]);
        for number in edges {
            let (mut plain, mut signed) = (Vec::new(), Vec::new());
            put(number, &mut plain);
            put_signed(number as i64, &mut signed);
            assert!(plain.len().max(signed.len()) <= BYTES_MAX);
            assert_eq!(take(&mut plain.as_slice()), Some(number));
            assert_eq!(take_signed(&mut signed.as_slice()), Some(number as i64));
            assert_eq!(take(&mut &plain[..plain.len() - 1]), None, "{number} cut short");
        }
        assert_eq!(take(&mut [0xff; 11].as_slice()), None, "without an end");
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(take(&mut beyond.as_slice()), None, "more than 64 bits");
    }
}
