//! Values over `VALUE_BYTES_MAX`, cut into numbered pieces. Whoever refers to them keeps their
//! length and checksum, and writes the pieces before the reference.

use crate::codec::keys;
use crate::index::trees::Trees;
use crate::kv::database::Database;
use crate::value::error::Result;
use crate::value::limits::VALUE_BYTES_MAX;

/// Writes `bytes` in pieces under `prefix`.
pub(crate) fn put(db: &Database, trees: &Trees, prefix: &[u8], bytes: &[u8]) -> Result<()> {
    for (number, piece) in bytes.chunks(VALUE_BYTES_MAX).enumerate() {
        db.insert(&trees.pieces, &keys::piece_key(prefix, number), piece.to_vec())?;
    }
    Ok(())
}

/// The `length` bytes in pieces under `prefix`; `None` if these are not the bytes written.
pub(crate) fn get(
    db: &Database,
    trees: &Trees,
    prefix: &[u8],
    length: usize,
    crc: u32,
) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    for number in 0..length.div_ceil(VALUE_BYTES_MAX) {
        let key = keys::piece_key(prefix, number);
        let Some(piece) = db.get(&trees.pieces, &key)? else { return Ok(None) };
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes.len() == length && crc32c::crc32c(&bytes) == crc).then_some(bytes))
}

/// Removes all pieces under `prefix`.
pub(crate) fn remove(db: &Database, trees: &Trees, prefix: &[u8]) -> Result<()> {
    loop {
        let next = db.prefix(&trees.pieces, prefix).next()?;
        let Some((key, _)) = next else { return Ok(()) };
        db.remove(&trees.pieces, &key)?;
    }
}
