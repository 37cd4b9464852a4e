//! Fails each disk operation of the index in turn, and cuts the power at each one. A reopened index must hold what
//! its checkpoint covers, and the checkpoint must cover everything acknowledged.

use crate::index::core::{Index, Opened};
use crate::index::tests::{CACHE_BYTES, STORE, Truth};
use crate::proof::cuts::scratch;
use crate::proof::disk::{SimulatedDisk, Step};
use crate::proof::volume::{Left, Volume};
use crate::sst::compaction::CompactionPriority;
use crate::storage::disk::Disk;
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::value::error::Result;
use crate::value::limits::TABLES_COMPACTED_IDLE;
use crate::value::random::{Random, first_seed, rounds};
use std::path::Path;
use std::sync::Arc;

/// Events of one flush batch.
const BATCH: u64 = 12;
/// Enough flush batches for a compaction, and one more.
const BATCHES: u64 = TABLES_COMPACTED_IDLE as u64 + 1;

fn truth(seed: u64) -> Truth {
    let mut truth = Truth::default();
    truth.append_random(&mut Random::new(seed), BATCH * BATCHES, 5);
    truth
}

/// Ingests what the index lacks of `truth`, and does all compactions that are due. Calls `acknowledged` after each
/// flush batch.
fn fill(truth: &Truth, index: &Index, mut acknowledged: impl FnMut(u64)) -> Result<()> {
    let mut position = index.checkpoint().map_or(0, |reached| reached.position);
    while position < BATCH * BATCHES {
        index.insert(truth.batch(position, position + BATCH))?;
        position += BATCH;
        acknowledged(position);
        while index.compaction_priority() != CompactionPriority::None {
            index.compact()?;
        }
    }
    assert!(index.tables.live()[0].listed.level > 0, "nothing was compacted");
    Ok(())
}

/// Opens the index that a fault or a cut has left, after everything up to `acknowledged` was ingested. Checks that it
/// is complete and can ingest the rest.
fn judge(truth: &Truth, disk: &Arc<dyn Disk>, dir: &Path, acknowledged: u64, case: &str) {
    let (index, opened) = Index::open(disk, dir, STORE, CACHE_BYTES)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let position = match opened {
        Opened::Whole(checkpoint) => checkpoint.position,
        // An index that was never finished is created again.
        Opened::Fresh { reason } => {
            assert_eq!(acknowledged, 0, "{case}: it was quarantined: {reason:?}");
            0
        }
    };
    assert!((acknowledged..=acknowledged + BATCH).contains(&position), "{case}: {position}");
    truth.check(&index, position, position + BATCH, false);
    fill(truth, &index, |_| {}).unwrap_or_else(|error| panic!("{case}: {error}"));
    truth.check(&index, BATCH * BATCHES, BATCH * BATCHES, false);
    truth.check_records(&index, BATCH * BATCHES, BATCH * BATCHES);
}

#[test]
fn whichever_operation_fails_the_index_is_whole_when_it_is_opened_again() {
    let truth = truth(1);
    let mut operations = 0;
    for halves in [false, true] {
        for n in 1.. {
            let dir = scratch();
            let faults = Arc::new(Faults::default());
            let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
            if halves {
                faults.halve_writes();
            }
            faults.fail_in(n);
            let mut acknowledged = 0;
            let opened = Index::open(&disk, dir.path(), STORE, CACHE_BYTES);
            let filled = opened.and_then(|(index, _)| {
                fill(&truth, &index, |position| acknowledged = position)?;
                index.close()
            });
            let case = format!("operation {n}, halves {halves}: {acknowledged}, {filled:?}");
            let has_failed = faults.has_failed();
            faults.fail_in(0);
            judge(&truth, &disk, dir.path(), acknowledged, &case);
            if !has_failed {
                assert!(filled.is_ok(), "{case}");
                assert!(n > 60, "{case}: fewer operations than a compaction must have");
                break;
            }
            operations += 1;
        }
    }
    println!("figures: failing operations of the index: {operations}");
}

#[test]
fn a_power_cut_at_any_operation_of_the_index_leaves_what_its_checkpoint_lists() {
    let (first, rounds) = (first_seed(), rounds(1));
    let (mut cuts, mut images) = (0, 0);
    for seed in first..first + rounds {
        let truth = truth(seed);
        let root = scratch();
        let recording = SimulatedDisk::new(root.path(), Volume::new());
        let disk: Arc<dyn Disk> = Arc::new(recording.clone());
        let (index, _) = Index::open(&disk, root.path(), STORE, CACHE_BYTES).unwrap();
        fill(&truth, &index, |position| recording.note(position)).unwrap();
        index.close().unwrap();
        let (mut volume, mut acknowledged) = (Volume::new(), 0);
        let random = &mut Random::new(seed);
        for (n, step) in recording.trace().iter().enumerate() {
            let op = match step {
                Step::Note(position) => {
                    acknowledged = *position;
                    continue;
                }
                Step::Op(op) => op,
            };
            cuts += 1;
            let left = [Left::Synced, Left::All, Left::Some(10), Left::Some(50), Left::Some(90)];
            // The short form tries one of them.
            let taken = if rounds > 1 { left.len() } else { 1 };
            for from in 0..taken {
                images += 1;
                let left = left[(n + from) % left.len()];
                let case =
                    format!("FILMSTRIP_SEED={seed}, cut at step {n}, of the unsynced {left:?}");
                let root = scratch();
                let disk = SimulatedDisk::<u64>::new(root.path(), volume.cut(left, random));
                disk.materialize();
                let disk: Arc<dyn Disk> = Arc::new(disk);
                judge(&truth, &disk, root.path(), acknowledged, &case);
            }
            volume.apply(op);
        }
    }
    println!("figures: power cuts beneath the index: {cuts} cuts, {images} images");
    assert!(images >= 100 * rounds, "only {images} images");
}
