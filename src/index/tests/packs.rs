use super::*;
use crate::limits::PACKS_MERGED;
use std::path::PathBuf;

const PACKS: u64 = PACKS_MERGED as u64;

/// As many packs as are merged together, each of `events` events with bodies of `bytes`, of few streams.
fn unmerged(dir: &Path, events: u64, bytes: usize) -> (Truth, Index) {
    let mut truth = Truth::default();
    let (index, _) = open(dir);
    for pack in 0..PACKS {
        for n in 0..events {
            truth.append(&format!("S-{}", n % 9), bytes);
        }
        index.insert(truth.window(pack * events, (pack + 1) * events)).unwrap();
    }
    (truth, index)
}

fn pack_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("index/packs")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The story: a bad sector under a pack is an error of the system's, and so the store did not open, as often
/// as it was tried, although all that the pack held was in the journal. Here the file is a link to itself,
/// which the system cannot open either.
#[test]
fn a_pack_that_the_system_cannot_read_makes_the_index_be_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_, index) = unmerged(dir.path(), 10, 10);
    index.close().unwrap();
    let pack = &pack_files(dir.path())[2];
    fs::remove_file(pack).unwrap();
    std::os::unix::fs::symlink(pack, pack).unwrap();
    let opened = Index::open(dir.path(), STORE, CACHE_BYTES).unwrap().1;
    assert!(matches!(opened, Opened::Fresh { reason: Some(_) }), "{opened:?}");
}

/// The story: any name that reads as a number was taken for a pack that a crash had left, and another file
/// was to be removed for it, which was not there: the store did not open any more.
#[test]
fn what_else_lies_beside_the_packs_hinders_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (truth, index) = unmerged(dir.path(), 10, 10);
    index.close().unwrap();
    let packs = dir.path().join("index/packs");
    fs::write(packs.join("77"), "a number, and no name of ours").unwrap();
    fs::write(packs.join("notes"), "no number").unwrap();
    let (index, checkpoint) = open_whole(dir.path());
    truth.check(&index, checkpoint.position, checkpoint.position, false);
    index.close().unwrap();
    fs::create_dir(packs.join(format!("{:020}", 77))).unwrap();
    let opened = Index::open(dir.path(), STORE, CACHE_BYTES).unwrap().1;
    assert!(matches!(opened, Opened::Fresh { reason: Some(_) }), "{opened:?}");
}
