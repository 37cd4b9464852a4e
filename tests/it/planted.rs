//! A test is believed when it fails on what it is there for: each planted defect makes one fail.
//!
//! `cargo test --features __internal --test it planted` plants them: see `src/failpoint.rs`. Those that unit
//! tests catch are in `src/proof/seeded.rs`.

/// Each defect that a test of this binary catches, and the test.
#[cfg(feature = "__internal")]
const CAUGHT: &[(&str, &str)] = &[(
    "group::drop_half_taken_batch",
    "group::whatever_consumers_do_each_event_is_delivered_until_it_is_finished",
)];

/// Runs each test alone with its defect planted, and expects that it fails by itself.
#[test]
#[cfg(feature = "__internal")]
fn each_planted_defect_is_caught() {
    let mut unnoticed = Vec::new();
    for (defect, test) in CAUGHT {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]);
        command.env("FILMSTRIP_FAILPOINT", defect).env("RUST_BACKTRACE", "0");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("running 1 test"), "there is no test {test}:\n{said}");
        if output.status.success() {
            unnoticed.push(format!("{defect} by {test}"));
        } else {
            assert!(
                errors.contains("panicked at"),
                "{defect} ended {test} without a word:\n{errors}"
            );
            println!("figures: planted defect {defect}: caught");
        }
    }
    assert!(unnoticed.is_empty(), "not caught: {}", unnoticed.join(", "));
}

/// A defect that nobody looks for proves nothing, and one that is gone from the code neither.
#[test]
fn every_planted_defect_is_looked_for() {
    let mut files = vec![std::path::PathBuf::from("src")];
    let mut planted = std::collections::BTreeSet::new();
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with("failpoint.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("failpoint!(\"").skip(1);
            planted.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(planted.len() >= 15, "only {planted:?}");
    let tables = [include_str!("planted.rs"), include_str!("../../src/proof/seeded.rs")].concat();
    let missing: Vec<_> =
        planted.iter().filter(|name| !tables.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test looks for {missing:?}");
}
