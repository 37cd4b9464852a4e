//! Copies that end early: refused, failed, cancelled, killed.

use super::{part, unchanged};
use crate::common::whole::{all, write_some};
use crate::common::{Random, child, seed, variable};
use filmstrip::copy::CopyAs;
use filmstrip::{ErrorKind, ExpectedVersion, HandlerError, NewEvent, RecordedEvent, Store};
use std::error::Error as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const CHILD: &str = "FILMSTRIP_KILLED_COPY";

fn filled(path: &Path) -> Store {
    let store = Store::open(path).unwrap();
    write_some(&store, 0..20, 3_000);
    store
}

/// What is in `directory`, besides the store.
fn left(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name != "store").collect()
}

#[test]
fn a_change_that_fails_ends_the_copy_with_its_place_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory.path().join("store"));
    let to = directory.path().join("copy");
    let fail = |event: &RecordedEvent| match event.position.get() {
        100 => Err(HandlerError::from("there is no name")),
        _ => Ok(CopyAs::Unchanged),
    };
    let error = store.copy_into(&to, fail).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Faulted);
    let event = store.read_all().limit(100).collect().unwrap().pop().unwrap();
    let place = format!("position 100, version {} of {}, Written", event.version, event.stream);
    assert!(error.to_string().contains(&place), "{error}");
    assert_eq!(error.source().unwrap().to_string(), "there is no name");
    assert_eq!(left(directory.path()), [""; 0]);

    let panics = |event: &RecordedEvent| match event.position.get() {
        100 => panic!("as the test wants"),
        _ => Ok(CopyAs::Unchanged),
    };
    catch_unwind(AssertUnwindSafe(|| store.copy_into(&to, panics))).unwrap_err();
    assert_eq!(left(directory.path()), [""; 0]);

    let mut other = Some(store.clone());
    let closes = |_: &RecordedEvent| {
        other.take().map_or(Ok(()), Store::close)?;
        Ok(CopyAs::Unchanged)
    };
    let error = store.copy_into(&to, closes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert_eq!(left(directory.path()), [""; 0]);
}

#[test]
fn what_would_be_no_event_is_refused_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    store.append("A-1", ExpectedVersion::Any, [NewEvent::json("T", &0).unwrap()]).unwrap();
    let many = |event: &RecordedEvent| (0..65_537).map(|_| part(event, 1)).collect();
    let large = |event: &RecordedEvent| {
        let mut part = part(event, 1);
        part.payload = format!("\"{}\"", "x".repeat(16 << 20)).into();
        vec![part]
    };
    let no_json = |event: &RecordedEvent| {
        let mut part = part(event, 1);
        part.payload = "{\"secret\":".into();
        vec![part]
    };
    let no_type = |event: &RecordedEvent| {
        let mut part = part(event, 1);
        part.event_type = "a\nb".into();
        vec![part]
    };
    type Parts<'a> = &'a dyn Fn(&RecordedEvent) -> Vec<filmstrip::repository::StoredEvent>;
    let cases: [(Parts<'_>, ErrorKind, &[&str]); 4] = [
        (&many, ErrorKind::TooLarge, &["position 1", "65537", "65536"]),
        (&large, ErrorKind::TooLarge, &["position 1", "16777218", "16777216"]),
        (&no_json, ErrorKind::InvalidInput, &["position 1", "JSON"]),
        (&no_type, ErrorKind::InvalidInput, &["position 1", "control character"]),
    ];
    for (parts, kind, said) in cases {
        let change = |event: &RecordedEvent| Ok(CopyAs::Events(parts(event)));
        let error = store.copy_into(directory.path().join("copy"), change).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(said.iter().all(|said| error.to_string().contains(said)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(left(directory.path()), [""; 0]);
    }
}

#[test]
fn what_is_there_already_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory.path().join("store"));
    fs::create_dir(directory.path().join("full")).unwrap();
    fs::write(directory.path().join("full/notes"), "mine").unwrap();
    fs::write(directory.path().join("file"), "mine").unwrap();
    for (to, said) in [
        ("full", "notes"),
        ("file", "file"),
        ("store", "is not empty"),
        ("store/copy", "is inside the store"),
        ("store/journal/copy", "is inside the store"),
    ] {
        let error = store.copy_into(directory.path().join(to), unchanged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{to}: {error}");
        assert!(error.to_string().contains(said), "{to}: {error}");
    }
    let mut names = left(directory.path());
    names.sort();
    assert_eq!(names, ["file", "full"]);
    assert_eq!(fs::read_to_string(directory.path().join("full/notes")).unwrap(), "mine");
    assert!(store.verify().unwrap().is_whole());
}

/// A copy into a directory that is being copied into, or that is open as a store by then.
#[test]
fn two_copies_into_one_directory_are_one_copy() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory.path().join("store"));
    let to = directory.path().join("copy");
    let mut refused = 0;
    store
        .copy_into(&to, |event| {
            if event.position.get().is_multiple_of(50) {
                let error = store.copy_into(&to, unchanged).unwrap_err();
                assert!(
                    [ErrorKind::Locked, ErrorKind::InvalidInput].contains(&error.kind()),
                    "{error}"
                );
                Store::open(&to).expect_err("half of it was opened");
                refused += 1;
            }
            Ok(CopyAs::Unchanged)
        })
        .unwrap();
    assert!(refused > 2);
    let copy = Store::open(&to).unwrap();
    assert!(all(&copy) == all(&store));
}

/// `FILMSTRIP_KILLS=100` for a long run.
#[test]
fn a_copy_whose_process_is_killed_is_whole_or_no_store() {
    if let Ok(directory) = std::env::var(CHILD) {
        let directory = Path::new(&directory);
        let store = Store::open(directory.join("store")).unwrap();
        let copied = store.copy_into(directory.join("copy"), |event| {
            println!("\ncopying");
            Ok(CopyAs::Events(vec![part(event, 1), part(event, 2)]))
        });
        copied.unwrap();
        return;
    }
    let random = &mut Random(seed());
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory.path().join("store"));
    let events = store.head().get();
    store.close().unwrap();
    let to = directory.path().join("copy");
    let run = || {
        let name = "a_copy_whose_process_is_killed_is_whole_or_no_store";
        let mut child = child(module_path!(), name);
        child.env(CHILD, directory.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        child.spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(run().wait_with_output().unwrap().status.success());
    let whole = begun.elapsed();
    fs::remove_dir_all(&to).unwrap();
    let (mut killed, mut unfinished) = (0, 0);
    for _ in 0..variable("FILMSTRIP_KILLS").unwrap_or(6) {
        let mut child = run();
        std::thread::sleep(whole * random.below(1_000) as u32 / 1_000);
        child.kill().unwrap();
        killed += u64::from(!child.wait_with_output().unwrap().status.success());
        let is_there = fs::exists(&to).unwrap();
        if is_there && !fs::exists(to.join("MANIFEST")).unwrap() {
            let error = Store::open(&to).expect_err("half of it was opened");
            // An empty directory would become a store.
            assert!(!left(&to).is_empty(), "{error}");
            unfinished += 1;
        } else if is_there {
            let verified = Store::verify_at(&to).unwrap();
            assert!(verified.is_whole(), "{:#?}", verified.findings);
            assert_eq!(Store::open(&to).unwrap().head().get(), 2 * events);
            fs::remove_dir_all(&to).unwrap();
        }
    }
    println!("figures: killed copies: {killed}, of which {unfinished} were begun");
    // The next one replaces what was left.
    assert!(run().wait_with_output().unwrap().status.success());
    assert_eq!(Store::open(&to).unwrap().head().get(), 2 * events);
    let store = Store::open(directory.path().join("store")).unwrap();
    assert!(store.head().get() == events && store.verify().unwrap().is_whole());
}
