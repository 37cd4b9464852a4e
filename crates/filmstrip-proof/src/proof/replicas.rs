//! Cuts the power at every step of a replica's disk, and checks what is left: it is a beginning of the source's
//! journal, and holds all that the replica has ever shown.

use crate::follow::follower::StoreDirectory;
use crate::journal::manifest::Role;
use crate::journal::shipped::{JournalEnd, JournalFrame};
use crate::log::replica::source::{FrameSource, Heard, SourceStore};
use crate::proof::cuts::{
    Note, Proof, Recording, commit, look_on, read, recover_as, scratch, store_path,
};
use crate::proof::disk::SimulatedDisk;
use crate::proof::oracle::{Known, Oracle, Planned};
use crate::proof::volume::Volume;
use crate::store::Store;
use crate::value::error::Result;
use crate::value::limits::SEGMENT_BYTES_FIRST;
use crate::value::random::{Random, first_seed, rounds};
use crossbeam_channel::{Receiver, bounded};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A store with two segments and a frame without events, closed. Returns its frames.
fn source(path: &Path, random: &mut Random) -> Vec<JournalFrame> {
    let mut number = 0;
    for session in 0..2 {
        let store = Store::open(path).unwrap();
        for n in 0..10 {
            number += 1;
            let planned = match session == 1 && n == 5 {
                true => Planned::large(number, SEGMENT_BYTES_FIRST as usize),
                false => Planned::random(number, random),
            };
            store.commit(commit(&planned)).unwrap();
        }
        store.close().unwrap();
    }
    let (mut directory, mut end) = (StoreDirectory::at(path), JournalEnd::start());
    let mut frames = Vec::new();
    loop {
        let heard = directory.read(&end, Duration::ZERO).unwrap();
        let Some(last) = heard.frames.last() else { return frames };
        end = last.end();
        frames.extend(heard.frames);
    }
}

/// Brings what the proof hands over, several frames at a time.
struct Fed {
    store: SourceStore,
    frames: Receiver<Vec<JournalFrame>>,
}

impl FrameSource for Fed {
    fn store(&mut self) -> Result<SourceStore> {
        Ok(self.store)
    }

    fn read(&mut self, after: &JournalEnd, wait: Duration) -> Result<Heard> {
        let frames = self.frames.recv_timeout(wait).unwrap_or_default();
        let head = frames.last().map_or(after.position(), |frame| frame.end().position());
        Ok(Heard { frames, head, hash: None })
    }
}

/// A few sessions of a replica that gets `frames`, opened, watched, and closed or dropped.
fn record(frames: &[JournalFrame], store: SourceStore, random: &mut Random) -> Recording {
    let root = scratch();
    let disk: SimulatedDisk<Note> = SimulatedDisk::new(root.path(), Volume::new());
    let mut left = frames;
    while !left.is_empty() {
        let (feed, fed) = bounded(1);
        let builder = Store::builder().disk(Arc::new(disk.clone()));
        let replica = builder.replica(Fed { store, frames: fed });
        let replica = replica.open(store_path(root.path())).unwrap();
        disk.note(read(&replica, 0).unwrap());
        look_on(&disk, &replica);
        for _ in 0..3 {
            let (batch, rest) = left.split_at(left.len().min(1 + random.below(6) as usize));
            left = rest;
            let Some(last) = batch.last() else { break };
            feed.send(batch.to_vec()).unwrap();
            replica.wait_for(last.end().position(), PATIENCE).unwrap();
        }
        disk.set_onlooker(None);
        disk.note(read(&replica, 0).unwrap());
        match random.below(2) {
            0 => replica.close().unwrap(),
            _ => drop(replica),
        }
    }
    disk.trace()
}

/// Opens what is left as a replica, and lets it take the rest from the source.
fn catch_up(
    disk: &SimulatedDisk<Note>,
    root: &Path,
    source: &Path,
    end: &JournalEnd,
) -> Result<Vec<Known>, String> {
    let builder = Store::builder().disk(Arc::new(disk.clone()));
    let replica = builder.replica(StoreDirectory::at(source));
    let replica = replica.open(store_path(root)).map_err(|error| error.to_string())?;
    let caught_up = replica.wait_for(end.position(), PATIENCE);
    caught_up.map_err(|error| format!("{error}: {:?}", replica.replication()))?;
    let known = read(&replica, 0)?;
    for event in &known {
        let info = replica.stream_info(event.stream.as_str()).map_err(|error| error.to_string())?;
        if info.version.get() < event.version {
            return Err(format!("{} is at {}: {event:?}", event.stream, info.version));
        }
    }
    Ok(known)
}

#[test]
fn a_power_cut_at_any_step_leaves_a_beginning_of_the_source_with_all_that_was_shown() {
    let (first, rounds) = (first_seed(), rounds(1));
    let (mut cuts, mut images) = (0, 0);
    for seed in first..first + rounds {
        let random = &mut Random::new(seed);
        let directory = scratch();
        let path = directory.path().join("source");
        let frames = source(&path, random);
        let end = frames.last().expect("it has frames").end();
        let mut ends: Vec<JournalEnd> = frames.iter().map(JournalFrame::end).collect();
        ends.push(JournalEnd::start());
        let recording = record(&frames, StoreDirectory::at(&path).store().unwrap(), random);
        let recover = |disk: &SimulatedDisk<Note>, root: &Path| {
            let (known, end) = recover_as(Role::Replica, disk, root)?;
            let is_beginning = ends.iter().any(|it| it.hash() == end.hash());
            is_beginning
                .then_some(known)
                .ok_or_else(|| format!("the source never ended at {end:?}"))
        };
        let go_on = |disk: &SimulatedDisk<Note>, root: &Path| catch_up(disk, root, &path, &end);
        let case = format!("FILMSTRIP_SEED={seed}");
        let mut proof = Proof::new(seed, case, Box::new(recover), Box::new(go_on));
        proof.cut_everywhere(&Volume::new(), &recording, &Oracle::default(), 0);
        cuts += proof.figures.cuts;
        images += proof.figures.images;
    }
    println!("figures: power cuts beneath a replica: {cuts} cuts, {images} images");
    assert!(images >= 300 * rounds, "only {images} images");
}
