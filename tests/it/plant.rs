//! Runs tests with defects planted.

/// The exit code of a test program of which a test has failed.
const FAILED: i32 = 101;

/// Runs each test alone with its defect planted, and expects that it fails by itself: by a panic, or with the exit code
/// of failed tests, which tests that would hang choose themselves. A test that is skipped shows nothing.
pub(crate) fn assert_each_is_caught(caught: &[(&str, &str)]) {
    let mut unnoticed = Vec::new();
    for (defect, test) in caught {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]);
        command.env("FILMSTRIP_FAILPOINT", defect).env("RUST_BACKTRACE", "0");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("running 1 test"), "there is no test {test}:\n{said}");
        assert!(!said.contains("skipped: "), "{test} cannot run here:\n{said}");
        if output.status.success() {
            unnoticed.push(format!("{defect} by {test}"));
        } else {
            let has_failed = errors.contains("panicked at") || output.status.code() == Some(FAILED);
            assert!(has_failed, "{defect} ended {test} without a panic:\n{errors}");
            println!("figures: planted defect {defect}: caught");
        }
    }
    assert!(unnoticed.is_empty(), "not caught: {}", unnoticed.join(", "));
}
