//! A crash at every point where something of the application's runs: images of the store are taken
//! there, and a process that goes on from any of them comes to the same end.

use crate::process::checkout::*;
use crate::process::{start, temporary};
use filmstrip::Store;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What there is in the end: the streams of the checkouts, and what the accounts were given.
fn end(store: &Store) -> Vec<(String, Vec<String>)> {
    let streams = store.streams().iter().unwrap().map(|stream| stream.unwrap().stream.to_string());
    let told = |stream: String| {
        let film = match stream.strip_prefix("Account-") {
            Some(id) => added(store, id).iter().map(u64::to_string).collect(),
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

#[test]
fn a_crash_at_any_point_changes_nothing_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let (path, clock) = (directory.path().join("s"), clock());
    let images: Arc<Mutex<Vec<(String, PathBuf)>>> = Arc::default();
    let (taken, from) = (Arc::clone(&images), path.clone());
    hook(30, move |point| {
        // The index is left out: it is made again.
        let mut taken = taken.lock().unwrap();
        let image = from.with_file_name(format!("image-{}", taken.len()));
        copy(&from.join("journal"), &image.join("journal"));
        fs::copy(from.join("MANIFEST"), image.join("MANIFEST"))?;
        taken.push((point.to_owned(), image));
        Ok(())
    });
    let store = open(&path, &clock);
    // All of it is recorded before the process begins, so that every image has it.
    for (id, amount) in [("paid", 5), ("silent", 0), ("refused", 1_000)] {
        place(&store, id, amount);
        happened(&store, id, "Looked");
    }
    clock.advance(HOUR);
    start::<30>(&store);
    store.drain(LONG).unwrap();
    let expected = end(&store);
    assert_eq!(expected.len(), 3 + 3 + 2, "{expected:#?}");
    store.close().unwrap();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 15, "{} images", images.len());
    hook(30, |_| Ok(()));
    for (number, (point, image)) in images.iter().enumerate() {
        let store = open(image, &clock);
        start::<30>(&store);
        store.drain(LONG).unwrap();
        assert_eq!(end(&store), expected, "image {number}, of {point}");
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
