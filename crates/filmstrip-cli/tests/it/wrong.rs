//! Wrong input, and stores that cannot be used: one sentence that a user can act on, and exit code 2.

use crate::common::{Done, Writer, contents, id, program, refused, run, run_with, sample};
use filmstrip::Store;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use tempfile::tempdir;

/// Each command, with input that is good.
const COMMANDS: [&[&str]; 15] = [
    &["streams"],
    &["tail"],
    &["show", "1"],
    &["film", "Order-1"],
    &["why", "1"],
    &["stats"],
    &["top"],
    &["verify"],
    &["backup", "/nonexistent/never"],
    &["repair", "index"],
    &["promote"],
    &["head-hash"],
    &["check-hash", "1:0000000000000000000000000000000000000000000000000000000000000000"],
    &["export"],
    &["repair", "export", "/nonexistent/never"],
];

#[test]
fn a_directory_without_a_store_is_refused_and_nothing_is_made_there() {
    let directory = tempdir().unwrap();
    let (empty, absent) = (directory.path().join("empty"), directory.path().join("absent"));
    fs::create_dir(&empty).unwrap();
    for command in COMMANDS {
        refused(&run(&empty, command), &["is not a store", "empty"]);
        refused(&run(&absent, command), &["absent"]);
    }
    assert_eq!(contents(directory.path()).keys().collect::<Vec<_>>(), ["empty/"]);
}

#[test]
fn what_is_not_in_the_store_is_named() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let path = directory.path();
    let absent = id(99).to_string();
    let cases: &[(&[&str], &[&str])] = &[
        (&["show", "Order-9"], &["no stream Order-9"]),
        (&["film", "Order-9"], &["no stream Order-9"]),
        (&["why", "Order-9"], &["no stream Order-9"]),
        (&["show", "8"], &["no position 8", "position 7"]),
        (&["why", "8"], &["no position 8", "position 7"]),
        (&["show", "0"], &["no position 0", "position 1"]),
        (&["show", &absent], &["no event", &absent]),
        (&["tail", "--from", "8"], &["no position 8", "position 7"]),
        (&["film", "Order-1", "--from", "4"], &["no version 4", "3"]),
        (
            &["film", "Order-1", "--as-of", "2020-01-01T00:00:00Z"],
            &["Order-1 is younger", "2025-11-27"],
        ),
        (
            &["show", "18446744073709551616"],
            &["no position", "18446744073709551615", "--as-stream"],
        ),
        (&["top", "--from", "8"], &["no position 8", "position 7"]),
        (&["film", "Order-1", "--from", "2", "--until", "1"], &["--from 2 is after --until 1"]),
        (&["export", "--from", "2", "--until", "1"], &["--from 2 is after --until 1"]),
        (&["show", "a\u{1b}[2Jb"], &["the control character '\\u{1b}'"]),
        (&["show", &"x".repeat(5_000)], &["5000 bytes", "at most 1024"]),
        (&["check-hash", ""], &["\"\" is not a head hash"]),
        (&["backup", path.to_str().unwrap()], &["back up into another directory"]),
        (&["import", path.to_str().unwrap()], &["is a directory; name a file"]),
        (&["show", "$all"], &["begins with '$'"]),
        (&["streams", "--category", "Order-1"], &["\"Order-1\" is not a category"]),
        (&["tail", "--tag", ""], &["tag"]),
        (&["check-hash", "17"], &["\"17\" is not a head hash"]),
        (&["man", "flim"], &["\"flim\"", "film"]),
        (&["import", "absent.jsonl"], &["absent.jsonl"]),
        (&["import", "--from", "jsonl", "-"], &["--map"]),
        (&["import", "--map", "marten", "-"], &["--from jsonl"]),
        (&["export", "-o", path.to_str().unwrap()], &["is there already"]),
    ];
    for (arguments, words) in cases {
        refused(&run(path, arguments), words);
    }
}

#[test]
fn arguments_that_mean_nothing_are_refused_with_what_is_allowed() {
    let directory = tempdir().unwrap();
    for (arguments, words) in [
        (&["flim", "Order-1"][..], "a similar subcommand exists: 'film'"),
        (&["tail", "--from", "0"], "0"),
        (&["tail", "-n", "many"], "many"),
        (&["--color", "blue", "stats"], "auto, always, never"),
        (&["export", "--format", "xml"], "jsonl"),
        (&["export", "--until", "0"], "'0'"),
        (&["show", "Order-1", "-n", "0"], "'0'"),
        (&["film", "Order-1", "--from", "0"], "'0'"),
        (&["film", "Order-1", "--until", "0"], "'0'"),
        (&["film", "Order-1", "--as-of", "yesterday"], "such as 2026-01-31T23:59:59Z"),
        (&["tail", "--from", "99999999999999999999999"], "too large"),
        (&["tail", "--from", "-5"], "'-5'"),
        (&["processes", "replay", "Shipping"], "<INSTANCE>"),
        (&["processes", "replay", "Shipping", "7", "--all"], "cannot be used with"),
    ] {
        let done = run(directory.path(), arguments);
        assert_eq!(done.code, 2, "{arguments:?}");
        assert!(done.err.contains(words), "{words:?} is not in {}", done.err);
    }
}

/// `filmstrip --help > /dev/full` ended with 0.
#[test]
fn a_full_disk_is_said_and_not_passed_over() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let lines: [&[&str]; 7] = [
        &["export"],
        &["--json", "tail"],
        &["stats"],
        &["verify"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ];
    for arguments in lines {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = program();
        command.arg("-d").arg(directory.path()).args(arguments).stdout(full);
        let done = command.output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        let done = Done { code: done.status.code().unwrap_or(-1), out: String::new(), err };
        refused(&done, &["cannot write the output", "No space left"]);
    }
}

#[test]
fn a_store_of_a_newer_format_is_refused_by_every_command() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let manifest = directory.path().join("MANIFEST");
    let text = fs::read_to_string(&manifest).unwrap().replace("filmstrip 1\n", "filmstrip 9\n");
    let signed = text.split_inclusive('\n').take(3).collect::<String>();
    fs::write(&manifest, format!("{signed}crc32c {:08x}\n", crc32c(signed.as_bytes()))).unwrap();
    for command in COMMANDS {
        refused(&run(directory.path(), command), &["names format 9", "knows formats 1 to 2"]);
    }
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn what_needs_the_store_to_itself_says_so_when_it_is_open_elsewhere() {
    let directory = tempdir().unwrap();
    let path = &directory.path().join("store");
    sample(path);
    let export = run(path, &["export"]).out;
    let to = directory.path().join("to");
    let to = to.to_str().unwrap();
    let writer = Writer::on(path);
    for command in [&["repair", "index"][..], &["repair", "export", to]] {
        let words = ["is locked by", "`filmstrip repair` needs the store to itself"];
        refused(&run(path, command), &words);
    }
    refused(
        &run_with(path, &["import", "-"], &export),
        &["is locked by", "`filmstrip import` needs the store to itself"],
    );
    let restored = directory.path().join("restored");
    refused(
        &run(&restored, &["restore", path.to_str().unwrap()]),
        &["is locked by", "`filmstrip restore`"],
    );
    drop(writer);
    assert!(!restored.exists() && !Path::new(to).exists());
}

#[test]
fn a_store_that_one_may_not_enter_is_refused_by_every_command() {
    let place =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let path = place.path().join("store");
    sample(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Nothing is forbidden to root, so it is another user who looks.
    let is_root = place.path().metadata().unwrap().uid() == 0;
    for arguments in COMMANDS {
        let mut command = program();
        command.arg("-d").arg(&path).args(arguments);
        if is_root {
            command.uid(65_534);
        }
        let done = match command.output() {
            Err(error) if is_root && error.kind() == std::io::ErrorKind::PermissionDenied => {
                println!("skipped: another user may not run the program");
                return;
            }
            done => done.unwrap(),
        };
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(
            err.contains("ermission denied") && err.lines().count() == 1,
            "{arguments:?}: {err}"
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn damage_is_named_with_its_place_and_what_is_whole_is_still_shown() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let segment = directory.path().join("journal/00000000000000000001");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(8).position(|name| name == b"Parcel-1").unwrap();
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let done = run(directory.path(), &["tail"]);
    refused(&done, &["is damaged at byte", "position 4"]);
    let done = run(directory.path(), &["--json", "tail", "--from", "1"]);
    assert_eq!((done.code, done.out.lines().count()), (2, 3), "{}", done.err);
    let done = run(directory.path(), &["verify"]);
    assert_eq!(done.code, 1);
    assert!(Store::open(directory.path()).is_err());
}
