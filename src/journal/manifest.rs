//! `MANIFEST`: the file that makes a directory a store. It has four readable lines:
//!
//! ```text
//! filmstrip 1
//! store 0197c2a0-7e3c-7cc3-98c4-dc0c0c07398f
//! created 2024-05-01T12:00:00.000000Z
//! crc32c 5f3a9c01
//! ```
//!
//! The first line names the format; the last is the checksum of the lines before it. The manifest is
//! written last when a store is created, so a directory without one is not a store yet.
//!
//! A replica has the manifest of its source and one line more before the checksum, `role replica`. Its other files are
//! those of any store. A version that does not know this line refuses the directory, and so never writes into it.

use crate::storage::disk::Disk;
use crate::storage::replace::{self, TEMPORARY};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::MANIFEST_BYTES_MAX;
use chrono::{DateTime, SecondsFormat, Utc};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The format of stores.
pub(crate) const FORMAT: u32 = 1;
/// That of stores with private events, which earlier versions would take for damage. It is written before the first one
/// is.
pub(crate) const FORMAT_PRIVATE: u32 = 2;
/// The newest format that this build reads.
pub(crate) const FORMAT_MAX: u32 = if cfg!(feature = "erasure") { FORMAT_PRIVATE } else { FORMAT };

/// A manifest's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) store: Uuid,
    pub(crate) created: Micros,
    pub(crate) role: Role,
}

impl Manifest {
    /// The manifest of a store that accepts commits.
    pub(crate) fn of_store(store: Uuid, created: Micros) -> Manifest {
        Manifest { format: FORMAT, store, created, role: Role::Store }
    }
}

/// Who decides what the journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The process that has it open.
    Store,
    /// Another store, whose frames are copied.
    Replica,
}

const REPLICA_LINE: &str = "role replica";

/// The manifest of the store in `directory`, or `None` if it has none.
///
/// # Errors
/// `UnsupportedFormat` for another format, `Corrupt` for a damaged file.
pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<Manifest>> {
    let path = path(directory);
    replace::read_whole(disk, &path, MANIFEST_BYTES_MAX)?
        .map(|bytes| parse(&path, &bytes))
        .transpose()
}

pub(crate) fn write(disk: &dyn Disk, directory: &Path, manifest: &Manifest) -> Result<()> {
    replace::replace(disk, &path(directory), TEMPORARY, format(manifest).as_bytes())
}

pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("MANIFEST")
}

fn format(manifest: &Manifest) -> String {
    let created = manifest.created.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true);
    let Manifest { format, store, .. } = manifest;
    let mut text = format!("filmstrip {format}\nstore {store}\ncreated {created}\n");
    if manifest.role == Role::Replica {
        text = format!("{text}{REPLICA_LINE}\n");
    }
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text}crc32c {crc:08x}\n")
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest> {
    let corrupt = |what: &str| Error::corrupt(path, 0, None, what);
    let text = std::str::from_utf8(bytes).map_err(|_| corrupt("it is not text"))?;
    let (body, crc) =
        text.rsplit_once("crc32c ").ok_or_else(|| corrupt("it has no checksum line"))?;
    // The checksum is compared first: a damaged format line must not pass for a newer format.
    if crc != format!("{:08x}\n", crc32c::crc32c(body.as_bytes())) {
        return Err(corrupt("its checksum does not match"));
    }
    let mut lines = body.lines();
    let mut field = |name: &str| {
        let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.ok_or_else(|| corrupt(&format!("it has no line {name:?}")))
    };
    let format = field("filmstrip")?;
    let known = (FORMAT..=FORMAT_MAX).find(|known| format == known.to_string());
    let format = known.ok_or_else(|| unknown(path, format))?;
    let store = field("store")?.parse().map_err(|_| corrupt("its store id is not a UUID"))?;
    let created: DateTime<Utc> =
        field("created")?.parse().map_err(|_| corrupt("its creation time is not a time"))?;
    let mut surplus = lines.next();
    let role = match surplus {
        Some(REPLICA_LINE) => {
            surplus = lines.next();
            Role::Replica
        }
        _ => Role::Store,
    };
    if let Some(line) = surplus.filter(|_| !failpoint!("journal::ignore_newer_manifest_line")) {
        let message = format!(
            "{} has a line {line:?} that this version of filmstrip does not know",
            path.display()
        );
        return Err(Error::new(ErrorKind::UnsupportedFormat, message));
    }
    Ok(Manifest { format, store, created: Micros::of(created), role })
}

fn unknown(path: &Path, format: &str) -> Error {
    let path = path.display();
    let message = match format == FORMAT_PRIVATE.to_string() {
        true => format!(
            "{path} names format {format}: the store has private events, which filmstrip reads with its feature \
             `erasure`, and this program was built without it"
        ),
        false => {
            let known = match FORMAT_MAX {
                FORMAT => format!("format {FORMAT}"),
                newest => format!("formats {FORMAT} to {newest}"),
            };
            format!("{path} names format {format}; this version of filmstrip knows {known}")
        }
    };
    Error::new(ErrorKind::UnsupportedFormat, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let created = Micros(1_714_564_800_000_001);
        Manifest::of_store(Uuid::from_u128(0xabcd), created)
    }

    #[test]
    fn a_manifest_has_its_golden_text() {
        let golden = "filmstrip 1\n\
             store 00000000-0000-0000-0000-00000000abcd\n\
             created 2024-05-01T12:00:00.000001Z\n\
             crc32c db7b3315\n";
        assert_eq!(format(&sample()), golden);
        assert_eq!(parse(Path::new("M"), golden.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn the_manifest_of_a_replica_has_one_line_more() {
        let golden = "filmstrip 1\n\
             store 00000000-0000-0000-0000-00000000abcd\n\
             created 2024-05-01T12:00:00.000001Z\n\
             role replica\n\
             crc32c fa774931\n";
        let replica = Manifest { role: Role::Replica, ..sample() };
        assert_eq!(format(&replica), golden);
        assert_eq!(parse(Path::new("M"), golden.as_bytes()).unwrap(), replica);
    }

    #[test]
    fn every_flipped_byte_of_a_manifest_is_corrupt_and_no_other_error() {
        let text = format(&sample()).into_bytes();
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            let error = parse(Path::new("M"), &flipped).expect_err("a flipped byte");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
        }
    }

    /// An unknown line was ignored. A newer version that adds a line gives it a meaning, and this version may then
    /// do something wrong to the store.
    #[test]
    fn a_line_that_is_not_known_is_refused_by_name() {
        let after_role = ("role replica\nrole replica\n", "role replica");
        let others = [("encrypted yes\n", "encrypted yes"), ("\n", "\"\""), after_role];
        for (surplus, says) in others {
            let text = format(&sample());
            let (body, _) = text.rsplit_once("crc32c ").unwrap();
            let body = format!("{body}{surplus}");
            let text = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
            let error = parse(Path::new("M"), text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        for format in FORMAT_MAX + 1..=3 {
            let body = format!("filmstrip {format}\nanything\n");
            let text = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
            let error = parse(Path::new("M"), text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
            assert!(error.to_string().contains(&format!("format {format}")), "{error}");
        }
    }

    #[cfg(feature = "erasure")]
    #[test]
    fn a_manifest_of_a_store_with_private_events_says_so() {
        let private = Manifest { format: FORMAT_PRIVATE, ..sample() };
        let text = format(&private);
        assert!(text.starts_with("filmstrip 2\nstore 00000000-0000-0000-0000-00000000abcd\n"));
        assert_eq!(parse(Path::new("M"), text.as_bytes()).unwrap(), private);
    }
}
