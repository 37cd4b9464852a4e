//! A test is believed when it fails on what it is there for: each planted defect makes one fail.
//!
//! `cargo test -p filmstrip-nats --features __internal planted` plants them.

/// Each defect that a test of this binary catches, and the test.
#[cfg(feature = "__internal")]
const CAUGHT: &[(&str, &str)] = &[
    ("nats::send_no_expected_sequence", "outages::a_message_of_somebody_else_is_refused_by_name"),
    (
        "relay::resume_one_too_far",
        "kills::a_relaying_process_that_is_killed_goes_on_where_the_stream_is",
    ),
];

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
        assert!(said.contains("running 1 test"), "there is no test {test}:\n{said}");
        match output.status.success() && !said.contains("skipped: ") {
            true => unnoticed.push(format!("{defect} by {test}")),
            false => println!("figures: planted defect {defect}: caught"),
        }
    }
    assert!(unnoticed.is_empty(), "not caught: {}", unnoticed.join(", "));
}
