//! filmstrip beside other engines: the same work, the same bytes, one durable commit at a time.
//!
//! `cargo run --release -- [OPTIONS]` in this directory, or `just compare` at the top. Each measurement
//! is a process of its own, so that no engine's memory or caches are another's; the engines take
//! turns in each round, so that a disk that changes its mind changes it for all. After its timing,
//! everything that was written is read back, counted and compared.

mod engine;
mod engines;
mod figures;
mod options;
mod payload;
mod plots;
mod report;
mod system;
mod tables;
mod workloads;

use engine::Engine;
use figures::Figures;
use options::{HELP, Options};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use workloads::{Run, Workload, conditions, history, kill};

/// Beside the report.
const PLOTS: &str = "plots";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The first three are for this program alone, which starts itself.
    let done = match words[..] {
        ["measure", workload, engine, events, directory, input] => {
            measure(workload, engine, events, directory.as_ref(), input.as_ref());
            Ok(())
        }
        ["write-until-killed", engine, stream, store] => {
            kill::write_until_killed(engine, stream.parse().expect("a number"), store.as_ref())
        }
        ["conditions-part", part, engine, events, store] => {
            let events = events.parse().expect("a number");
            conditions::run_part(part, &*engines::named(engine), events, store.as_ref());
            Ok(())
        }
        _ => do_as_told(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn measure(workload: &str, engine: &str, events: &str, directory: &Path, input: &Path) {
    let workload = workloads::named(workload).expect("a workload of this name");
    let engine = engines::named(engine);
    let events = events.parse().expect("a number");
    workload.run(&Run { engine: &*engine, events, directory, input });
}

fn do_as_told(words: &[&str]) -> Result<(), String> {
    match options::parse(words).map_err(|what| format!("{what}\n\n{HELP}"))? {
        Some(options) => compare(&options),
        None => {
            print!("{HELP}");
            Ok(())
        }
    }
}

fn compare(options: &Options) -> Result<(), String> {
    let engines: Vec<_> = engines::all().into_iter().filter(|e| options.wants(e.name())).collect();
    if let Some(directory) = options.output.as_ref().and_then(|output| output.parent()) {
        // Half an hour later would be late to learn that it cannot be.
        let made = std::fs::create_dir_all(directory);
        made.map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let input = tempfile::NamedTempFile::new_in(&options.directory).map_err(|e| e.to_string())?;
    let prepare = |repository| history::prepare(repository, options.events, input.path());
    let history = options.repository.as_deref().map(prepare).transpose()?;
    eprintln!("the memory is written once");
    eprintln!("{} MiB of it were", system::touch_memory());
    let mut figures = Figures::default();
    for workload in &options.workloads {
        for round in 1..=options.rounds_of(workload) {
            let mut turn: Vec<_> = engines.iter().filter(|e| (workload.suits)(&***e)).collect();
            // Each round begins with another: what one has left to the disk, another one pays for.
            let first = (round as usize - 1) % turn.len().max(1);
            turn.rotate_left(first);
            for engine in turn {
                eprintln!("{}, round {round}: {}", workload.name, engine.name());
                let printed = measured(options, workload, &**engine, input.path())?;
                figures.take(engine.name(), &printed);
            }
        }
    }
    publish(options, &engines, &figures, history)
}

/// One measurement, in a process and a directory of its own; what it printed.
fn measured(
    options: &Options,
    workload: &Workload,
    engine: &dyn Engine,
    input: &Path,
) -> Result<String, String> {
    let directory = tempfile::tempdir_in(&options.directory).map_err(|e| e.to_string())?;
    // What the one before has left for the disk to write would be written now.
    system::sync();
    let measured = Command::new(std::env::current_exe().expect("this program"))
        .args(["measure", workload.name, engine.name(), &options.events.to_string()])
        .args([directory.path(), input])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !measured.status.success() {
        let (engine, workload, status) = (engine.name(), workload.name, measured.status);
        return Err(format!("{engine} failed at {workload}: {status}"));
    }
    Ok(String::from_utf8_lossy(&measured.stdout).into_owned())
}

fn publish(
    options: &Options,
    engines: &[Box<dyn Engine>],
    figures: &Figures,
    history: Option<String>,
) -> Result<(), String> {
    let plots = options.output.as_ref().map(|_| PLOTS);
    let report = report::write(options, engines, figures, &report::Notes { history, plots });
    let Some(output) = &options.output else {
        print!("{report}");
        return Ok(());
    };
    std::fs::write(output, report).map_err(|error| format!("{}: {error}", output.display()))?;
    let beside = output.parent().unwrap_or(Path::new(""));
    plots::draw_all(&beside.join(PLOTS), engines, figures);
    Ok(())
}
