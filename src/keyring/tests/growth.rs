//! A bucket with many slots: all are found, and each look-up reads a page of each level.

use crate::keyring::bucket::{PAGE_BYTES, Slots, Way};
use crate::keyring::slot::{SLOT_BYTES, Slot, SubjectHash};
use crate::sealing::key::KeyId;
use crate::storage::disk::DiskFile;
use crate::value::limits::KEY_LEVELS_MAX;
use crate::value::random::{Random, first_seed};
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file in memory that counts what is read of it.
#[derive(Default)]
struct Counted {
    bytes: Mutex<Vec<u8>>,
    reads: AtomicU64,
}

impl DiskFile for Counted {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(buffer.len() <= PAGE_BYTES);
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.lock();
        let rest = &bytes[(offset as usize).min(bytes.len())..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_all_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.bytes.lock();
        let end = offset as usize + written.len();
        let length = bytes.len().max(end);
        bytes.resize(length, 0);
        bytes[offset as usize..end].copy_from_slice(written);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }
}

/// A subject of bucket 0, its further bits at random.
fn subject(random: &mut Random) -> SubjectHash {
    let mut hash = [0; 32];
    hash[2..10].copy_from_slice(&random.next().to_le_bytes());
    hash[10..18].copy_from_slice(&random.next().to_le_bytes());
    SubjectHash(hash)
}

/// Puts a slot of the subject into its first free place; false if there is none. It has no key, since to wrap thousands
/// would take long.
fn put(file: &Counted, subject: SubjectHash) -> bool {
    let way = Way::of(subject.place());
    let slots = Slots::find(Some(file), way, |_| false).unwrap();
    let Some(at) = slots.free else { return false };
    let id = KeyId::new(subject.0[..16].try_into().unwrap());
    file.write_all_at(&Slot::for_test(id, subject, 1).encode(), at).unwrap();
    true
}

#[test]
fn every_slot_of_a_large_bucket_is_found_by_reading_a_page_of_each_level() {
    const SLOTS: usize = 2_500;
    let random = &mut Random::new(first_seed());
    let file = Counted::default();
    let subjects: Vec<_> = (0..SLOTS).map(|_| subject(random)).collect();
    for subject in &subjects {
        assert!(put(&file, *subject));
    }
    // A level may be there while the one before it has free places on other ways: twice as long as needed, and more.
    let length = file.length().unwrap() as usize;
    assert!(length <= 8 * SLOTS * SLOT_BYTES, "{length} bytes for {SLOTS} slots");
    let levels = length.div_ceil(PAGE_BYTES).ilog2() + 1;
    for subject in subjects {
        file.reads.store(0, Ordering::Relaxed);
        let way = Way::of(subject.place());
        let slots = Slots::find(Some(&file), way, |slot| slot.subject == subject).unwrap();
        assert_eq!(slots.wanted.len(), 1);
        let reads = file.reads.load(Ordering::Relaxed);
        assert!(reads <= u64::from(levels), "{reads} pages read of {levels} levels");
    }
}

/// The bound of a way: all slots of subjects with the same bits.
#[test]
fn a_way_that_is_full_has_no_free_place() {
    let file = Counted::default();
    let random = &mut Random::new(first_seed());
    let first = subject(random);
    let room = KEY_LEVELS_MAX as usize * PAGE_BYTES / SLOT_BYTES;
    for n in 0..room {
        let mut hash = first;
        hash.0[20..28].copy_from_slice(&(n as u64).to_le_bytes());
        assert!(put(&file, hash), "slot {n} of {room}");
    }
    assert!(!put(&file, first));
    let longest = ((1_u64 << KEY_LEVELS_MAX) - 1) * PAGE_BYTES as u64;
    assert!(file.length().unwrap() <= longest);
}
