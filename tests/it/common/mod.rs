//! What the tests share: random numbers from a seed that is printed, settings for long forms, waiting within a bound,
//! and processes of their own.

pub(crate) mod domain;
pub(crate) mod whole;

use std::process::Command;
use std::time::{Duration, Instant};

/// The name by which the test binary knows the test `name` of a module: of its `module_path!()`.
pub(crate) fn test_name(module: &str, name: &str) -> String {
    let (_, inside) = module.split_once("::").expect("a module of this binary");
    format!("{inside}::{name}")
}

/// A process that runs one test of this binary and nothing else. `module` is the caller's `module_path!()`.
pub(crate) fn child(module: &str, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&test_name(module, name), "--exact", "--nocapture"]);
    command
}

/// Names the test that a process runs alone.
const ALONE: &str = "FILMSTRIP_TEST_ALONE";

/// Runs `work` in a process of its own, as the test `name` alone: there it may change what the whole process has,
/// its working directory, its panic hook, its logger.
pub(crate) fn in_its_own_process(module: &str, name: &str, work: impl FnOnce()) {
    match std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        true => work(),
        false => run_alone(child(module, name).env(ALONE, name)),
    }
}

/// The same with a bound for the process's address space, where there is `prlimit` to set one: what takes more
/// memory is ended by the allocator, and says in which call, rather than by the system, with others.
pub(crate) fn in_a_bounded_process(module: &str, name: &str, bytes: u64, work: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|alone| alone == name) {
        return work();
    }
    let unbounded = child(module, name);
    let mut command = match Command::new("prlimit").arg("--version").output() {
        Ok(_) => {
            let mut bounded = Command::new("prlimit");
            bounded.arg(format!("--as={bytes}")).arg(unbounded.get_program());
            bounded.args(unbounded.get_args());
            bounded
        }
        Err(_) => unbounded,
    };
    // Each arena of glibc's reserves 64 MiB of addresses, and there are eight for each processor.
    run_alone(command.env(ALONE, name).env("MALLOC_ARENA_MAX", "2"));
}

/// Runs such a process, which must pass. What it says of figures is said here too; otherwise, the end of it all.
fn run_alone(command: &mut Command) {
    let done = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let said = err.lines().collect::<Vec<_>>();
    let err = said[said.len().saturating_sub(100)..].join("\n");
    assert!(done.status.success() && out.contains("1 passed"), "{out}\n{err}");
    out.lines().filter(|line| line.contains("figures: ")).for_each(|line| println!("{line}"));
}

/// What `work` returns, if it ends within `limit`; if it hangs, the test fails and leaves its thread behind.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let done = work();
        let _ = tell.send(());
        done
    });
    // Also if it has panicked, which is told by joining it.
    if told.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        panic!("it has not ended within {limit:?}");
    }
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Waits until `condition` holds; the test fails if that takes longer than `limit`.
pub(crate) fn wait_until(limit: Duration, what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The number in an environment variable, if it is set.
pub(crate) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// `FILMSTRIP_SEED`, or a new one; printed, so that a failing run can be run again.
pub(crate) fn seed() -> u64 {
    let seed = variable("FILMSTRIP_SEED").unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
    println!("FILMSTRIP_SEED={seed}");
    seed
}

/// `FILMSTRIP_SEED`, or `default` where a run is to be the same each time; printed too.
pub(crate) fn seed_or(default: u64) -> u64 {
    let seed = variable("FILMSTRIP_SEED").unwrap_or(default);
    println!("FILMSTRIP_SEED={seed}");
    seed
}
