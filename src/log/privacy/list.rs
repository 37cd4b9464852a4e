//! The file `forgotten`: the ids of the keys whose subjects were forgotten, for readers in other processes.
//!
//! * The journal says who was forgotten; the file repeats it where a [`Follower`](crate::Follower) can find it without
//!   reading the journal from its beginning. It is compared with the journal's records when the store is opened.
//! * An id is in the file only after its fence is durable. An id that the file lacks, or whose checksum is wrong, says
//!   nothing: the event is shown as sealed.
//! * Each entry has 20 bytes: the id, and the CRC-32C of the id. New ones go to the end.

use crate::sealing::key::KeyId;
use crate::sealing::source::{FoundKey, KeySource};
use crate::storage::disk::Disk;
use crate::storage::files::MODE_ALL;
use crate::storage::replace::{self, TEMPORARY};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{FORGOTTEN_READ_BYTES, KEYS_REMEMBERED_MAX};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAME: &str = "forgotten";
const ENTRY_BYTES: usize = 20;
const _: () = assert!(FORGOTTEN_READ_BYTES.is_multiple_of(ENTRY_BYTES));

fn encode(ids: &[KeyId]) -> Vec<u8> {
    let entry = |id: &KeyId| {
        let crc = crc32c::crc32c(id.as_bytes()).to_le_bytes();
        [&id.as_bytes()[..], &crc].concat()
    };
    ids.iter().flat_map(entry).collect()
}

fn decode(entry: &[u8]) -> Option<KeyId> {
    let (id, crc) = entry.split_first_chunk::<16>()?;
    (*crc == crc32c::crc32c(id).to_le_bytes()).then(|| KeyId::new(*id))
}

/// Adds keys whose fence is durable. What fails is made up for when the store is opened the next time.
pub(crate) fn add(disk: &dyn Disk, store_dir: &Path, ids: &[KeyId]) -> Result<()> {
    let path = store_dir.join(NAME);
    let file = match disk.open_to_write(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create_new(&path, MODE_ALL),
        opened => opened,
    };
    let append = || {
        let file = file?;
        // After a part of an entry, which a crash has left, nothing could be found.
        let end = file.length()? / ENTRY_BYTES as u64 * ENTRY_BYTES as u64;
        file.write_all_at(&encode(ids), end)
    };
    append().map_err(|e| Error::io("write", &path, e))
}

/// Makes the file list `ids`, which are in order, if it does not list them in any.
pub(crate) fn renew(disk: &dyn Disk, store_dir: &Path, ids: &[KeyId]) -> Result<()> {
    let path = store_dir.join(NAME);
    let most = ((ids.len() + 1) * ENTRY_BYTES) as u64;
    // A file that is too long is not one that lists these.
    let there = replace::read_whole(disk, &path, most).ok().flatten();
    let listed = there.as_ref().map(|bytes| {
        let mut listed: Vec<_> = bytes.chunks(ENTRY_BYTES).map(decode).collect();
        listed.sort_unstable();
        listed
    });
    let is_right = match &listed {
        Some(listed) => listed.iter().copied().eq(ids.iter().copied().map(Some)),
        None => ids.is_empty(),
    };
    if is_right {
        return Ok(());
    }
    replace::replace(disk, &path, TEMPORARY, &encode(ids))
}

/// The file as another process reads it.
pub(crate) struct ForgottenList {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    known: Mutex<Known>,
}

/// What was found in the file when it had this length.
#[derive(Default)]
struct Known {
    length: u64,
    keys: HashMap<KeyId, bool>,
}

impl ForgottenList {
    pub(crate) fn new(disk: Arc<dyn Disk>, store_dir: &Path) -> ForgottenList {
        ForgottenList { disk, path: store_dir.join(NAME), known: Mutex::default() }
    }

    /// Whether the file has this key. It is read whole for a key that was not looked for since it became longer.
    fn has(&self, id: KeyId) -> io::Result<bool> {
        let file = match self.disk.open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let length = file.length()?;
        let mut known = self.known.lock();
        if known.length != length || known.keys.len() >= KEYS_REMEMBERED_MAX {
            *known = Known { length, keys: HashMap::new() };
        }
        if let Some(is_there) = known.keys.get(&id) {
            return Ok(*is_there);
        }
        let mut is_there = false;
        let mut offset = 0;
        while offset < length && !is_there {
            let wanted = (length - offset).min(FORGOTTEN_READ_BYTES as u64);
            let bytes = file.read_new_at(wanted as usize, offset)?;
            is_there = bytes.chunks(ENTRY_BYTES).any(|entry| decode(entry) == Some(id));
            offset += wanted;
        }
        known.keys.insert(id, is_there);
        Ok(is_there)
    }
}

impl KeySource for ForgottenList {
    fn find(&self, id: KeyId) -> Result<FoundKey> {
        match self.has(id).map_err(|e| Error::io("read", &self.path, e))? {
            true if !failpoint!("follow::overlook_who_was_forgotten") => Ok(FoundKey::Forgotten),
            _ => Ok(FoundKey::Absent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::RealDisk;

    fn ids(numbers: impl IntoIterator<Item = u128>) -> Vec<KeyId> {
        numbers.into_iter().map(|n| KeyId::new(n.to_be_bytes())).collect()
    }

    fn is_listed(list: &ForgottenList, id: u128) -> bool {
        list.has(KeyId::new(id.to_be_bytes())).unwrap()
    }

    #[test]
    fn a_reader_finds_what_was_added_also_after_part_of_an_entry() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, path) = (RealDisk, directory.path());
        let list = ForgottenList::new(Arc::new(RealDisk), path);
        assert!(!is_listed(&list, 1));
        add(&disk, path, &ids(1..=2)).unwrap();
        assert!(is_listed(&list, 1) && is_listed(&list, 2) && !is_listed(&list, 3));
        let file = path.join(NAME);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.extend([7; 13]);
        std::fs::write(&file, bytes).unwrap();
        add(&disk, path, &ids([3])).unwrap();
        assert!(is_listed(&list, 3) && is_listed(&list, 2));
        // More than is read at once.
        add(&disk, path, &ids(10..20_000)).unwrap();
        assert!(is_listed(&list, 19_999) && !is_listed(&list, 20_000));
    }

    #[test]
    fn a_damaged_entry_says_nothing_and_is_put_right_when_the_list_is_renewed() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, path) = (RealDisk, directory.path());
        renew(&disk, path, &[]).unwrap();
        assert!(!path.join(NAME).exists(), "a store without private events has no such file");
        for damage in [0, 15, 16, 19] {
            renew(&disk, path, &ids(1..=3)).unwrap();
            let mut bytes = std::fs::read(path.join(NAME)).unwrap();
            bytes[20 + damage] ^= 1;
            std::fs::write(path.join(NAME), &bytes).unwrap();
            let list = ForgottenList::new(Arc::new(RealDisk), path);
            assert!(is_listed(&list, 1) && !is_listed(&list, 2) && is_listed(&list, 3));
            renew(&disk, path, &ids(1..=3)).unwrap();
            assert!((1..=3).all(|id| is_listed(&ForgottenList::new(Arc::new(RealDisk), path), id)));
        }
        std::fs::write(path.join(NAME), vec![0; 1 << 20]).unwrap();
        renew(&disk, path, &ids([9])).unwrap();
        assert_eq!(std::fs::read(path.join(NAME)).unwrap().len(), ENTRY_BYTES);
    }
}
