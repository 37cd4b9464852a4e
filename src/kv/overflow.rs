//! Overflow values, stored in pieces. The pieces are written before the entry that refers to them. That entry
//! holds the value's length and checksum.

use crate::codec::overflow::Overflow;
use crate::kv::database::{Database, Tree};
use crate::value::error::Result;
use crate::value::limits::VALUE_BYTES_MAX;

/// Writes `value` in pieces; `key` returns the key of a piece by its number.
pub(crate) fn put(
    db: &Database,
    tree: &Tree,
    key: impl Fn(u32) -> Vec<u8>,
    value: &[u8],
) -> Result<()> {
    let mut pieces = (0..).zip(value.chunks(VALUE_BYTES_MAX));
    pieces.try_for_each(|(number, piece)| db.insert(tree, &key(number), piece.to_vec()))
}

/// The value in these pieces; `None` if a piece is missing or they are not the bytes that were written.
pub(crate) fn get(
    db: &Database,
    tree: &Tree,
    key: impl Fn(u32) -> Vec<u8>,
    overflow: Overflow,
) -> Result<Option<Vec<u8>>> {
    // Memory is allocated piece by piece, because the length may be forged.
    let mut value = Vec::new();
    for number in 0..overflow.pieces() {
        let Some(piece) = db.get(tree, &key(number))? else { return Ok(None) };
        value.extend_from_slice(&piece);
    }
    Ok(overflow.is(&value).then_some(value))
}

/// Removes all pieces whose keys begin with `prefix`.
pub(crate) fn remove(db: &Database, tree: &Tree, prefix: &[u8]) -> Result<()> {
    loop {
        let next = db.prefix(tree, prefix).next()?;
        let Some((key, _)) = next else { return Ok(()) };
        db.remove(tree, &key)?;
    }
}
