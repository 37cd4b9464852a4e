//! A crash at every point where something of the application's runs: images of the store are taken
//! there, and a process that goes on from any of them comes to the same end.

use crate::process::checkout::*;
use crate::process::{quick, start, temporary};
use filmstrip::Store;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What there is in the end: the streams of the checkouts, and what the accounts were given.
fn end(store: &Store) -> Vec<(String, Vec<String>)> {
    let streams = store.streams().iter().unwrap().map(|stream| stream.unwrap().stream.to_string());
    let told = |stream: String| {
        let film = match stream.strip_prefix("Account-") {
            Some(id) => {
                // Instances run side by side.
                let mut added = added(store, id);
                added.sort_unstable();
                added.iter().map(u64::to_string).collect()
            }
            None => film(store, &stream),
        };
        (stream, film)
    };
    streams.map(told).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            // A file may go while it is looked at; the journal's stay.
            false => drop(fs::copy(&path, to.join(name))),
        }
    }
}

/// An image of the journal of a store that others write meanwhile, as a kill would leave it: two copies are the same,
/// so it was so at the moment between them.
fn image_of(store: &Path, image: &Path) {
    let again = image.with_extension("again");
    loop {
        copy(&store.join("journal"), &image.join("journal"));
        copy(&store.join("journal"), &again);
        let same = files(&image.join("journal")) == files(&again);
        fs::remove_dir_all(&again).unwrap();
        if same {
            break;
        }
        fs::remove_dir_all(image).unwrap();
    }
    fs::copy(store.join("MANIFEST"), image.join("MANIFEST")).unwrap();
}

fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_crash_at_any_point_changes_nothing_in_the_end() {
    crash_at_each_point::<30>(1);
}

#[test]
fn a_crash_at_any_point_of_several_lanes_changes_nothing_in_the_end() {
    crash_at_each_point::<32>(4);
}

fn crash_at_each_point<const TEST: u32>(lanes: usize) {
    let start = |store: &Store| {
        store.process::<Checkout<TEST>>().on_error(quick()).lanes(lanes).start().unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let (path, clock) = (directory.path().join("s"), clock());
    let images: Arc<Mutex<Vec<(String, PathBuf)>>> = Arc::default();
    let (taken, from) = (Arc::clone(&images), path.clone());
    hook(TEST, move |point| {
        if !["route", "react", "effect begins", "effect ends"].contains(&point) {
            return Ok(());
        }
        // The index is left out: it is made again.
        let mut taken = taken.lock().unwrap();
        let image = from.with_file_name(format!("image-{}", taken.len()));
        image_of(&from, &image);
        taken.push((point.to_owned(), image));
        Ok(())
    });
    let store = open(&path, &clock);
    // All of it is recorded before the process begins, so that every image has it.
    for (id, amount) in [("paid", 5), ("silent", 0), ("refused", 1_000), ("other", 7)] {
        place(&store, id, amount);
        happened(&store, id, "Looked");
        // It waits until the effects of the order are done.
        happened(&store, id, "Thanked");
    }
    clock.advance(HOUR);
    start(&store);
    store.drain(LONG).unwrap();
    let expected = end(&store);
    assert_eq!(expected.len(), 4 + 4 + 3, "{expected:#?}");
    store.close().unwrap();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 15, "{} images", images.len());
    hook(TEST, |_| Ok(()));
    for (number, (point, image)) in images.iter().enumerate() {
        let store = open(image, &clock);
        start(&store);
        store.drain(LONG).unwrap();
        assert_eq!(end(&store), expected, "image {number}, of {point}, {lanes} lanes");
    }
}

#[test]
fn a_store_that_closes_under_a_process_leaves_it_where_it_was() {
    for n in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let (path, clock) = (directory.path().join("s"), clock());
        let store = open(&path, &clock);
        let process = start::<31>(&store);
        for id in 0..10 {
            place(&store, &id.to_string(), 5);
        }
        let reached = filmstrip::Position::new(n);
        process.wait_for(reached, LONG).unwrap();
        store.close().unwrap();
        let store = open(&path, &clock);
        start::<31>(&store);
        store.drain(LONG).unwrap();
        assert_eq!(added(&store, "all"), [5; 20], "closed at {n}");
        for id in 0..10 {
            assert_eq!(film(&store, &format!("Checkout-{id}")), ["Asked", "Taken"]);
        }
    }
    // The last handle goes while the process is at work: it closes the store by itself.
    let store = temporary(&clock());
    start::<31>(&store);
    place(&store, "1", 5);
    drop(store);
}
