//! Cuts the power beneath a real process, including sled.
//!
//! A library in C, preloaded into a child process, records each of its writes, syncs and renames, with the data, and
//! each event that it prints on its standard output. From the recording, the proof builds directories as a cut at a
//! random moment may leave them, and opens them. `sync_file_range`, which sled uses to sync, does not count as a
//! sync. For more rounds, from another seed: `FILMSTRIP_ROUNDS=20 FILMSTRIP_SEED=7 cargo test --release -p
//! filmstrip-proof proof::preload -- --nocapture`.

mod replay;
mod workload;

use crate::proof::cuts::scratch;
use crate::proof::oracle::Oracle;
use crate::proof::preload::replay::{Step, materialise, replay};
use crate::proof::volume::{Left, Volume};
use crate::value::random::{Random, first_seed, rounds};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The number of images per recorded run.
const IMAGES: u64 = 40;

/// Builds the library in `directory`; `None` if there is no C compiler.
fn build(directory: &Path) -> Option<PathBuf> {
    let source = directory.join("record.c");
    let library = directory.join("record.so");
    std::fs::write(&source, include_str!("record.c")).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-fPIC", "-shared", "-o"]).arg(&library).arg(&source).arg("-ldl");
    match compiler.status() {
        Ok(status) => {
            assert!(status.success(), "the library does not compile");
            Some(library)
        }
        Err(_) => None,
    }
}

/// Runs the workload in a process of its own and returns its recording.
fn record(library: &Path, seed: u64) -> Vec<Step> {
    let scratch = scratch();
    let (root, trace) = (scratch.path().join("root"), scratch.path().join("trace"));
    std::fs::create_dir(&root).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([workload::CHILD, "--exact", "--nocapture"])
        .env(workload::STORE, root.join("store"))
        .env("FILMSTRIP_SEED", seed.to_string())
        .env("FILMSTRIP_TRACE", &trace)
        .env("FILMSTRIP_TRACE_ROOT", &root)
        .env("LD_PRELOAD", library)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    replay(&std::fs::read(trace).unwrap(), &root)
}

/// The state of the disk and of the oracle after some steps of a recording.
struct Moment {
    volume: Volume,
    oracle: Oracle,
    done: usize,
}

impl Moment {
    fn go_on(&mut self, steps: &[Step], to: usize) {
        for step in &steps[self.done..to] {
            match step {
                Step::Op(op) => drop(self.volume.apply(op)),
                Step::Note(event) => self.oracle.learn(event).unwrap(),
            }
        }
        self.done = to;
    }
}

#[test]
fn a_power_cut_beneath_a_whole_process_leaves_all_that_it_told_of() {
    if !cfg!(target_os = "linux") {
        println!("skipped: the recording of a process needs Linux");
        return;
    }
    let built = scratch();
    let Some(library) = build(built.path()) else {
        println!("skipped: there is no C compiler");
        return;
    };
    let mut figures = (0, 0);
    for seed in first_seed()..first_seed() + rounds(1) {
        let mut random = Random::new(seed);
        let steps = record(&library, seed);
        let mut cuts: Vec<_> = (0..IMAGES).map(|_| random.below(steps.len() as u64 + 1)).collect();
        cuts.sort_unstable();
        let mut moment = Moment { volume: Volume::new(), oracle: Oracle::default(), done: 0 };
        for (n, cut) in cuts.into_iter().enumerate() {
            moment.go_on(&steps, cut as usize);
            let left = [Left::Synced, Left::Some(10), Left::Some(50), Left::Some(90)][n % 4];
            let case =
                format!("FILMSTRIP_SEED={seed}, cut at step {cut}, of the unsynced {left:?}");
            let image = scratch();
            materialise(&moment.volume.cut(left, &mut random), image.path());
            let events = workload::open_again(&image.path().join("store"));
            let judged = events.and_then(|events| moment.oracle.judge(&events));
            judged.unwrap_or_else(|e| panic!("{case}: {e}"));
            figures.1 += 1;
        }
        figures.0 += steps.len();
    }
    let (steps, images) = figures;
    println!("figures: power cuts beneath a process: {steps} steps recorded, {images} images");
    assert!(steps > 500, "only {steps} steps were recorded");
}
