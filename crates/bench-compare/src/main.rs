//! filmstrip beside other engines: the same work, the same bytes, one durable commit at a time.
//!
//! `cargo run --release -- [OPTIONS]` in this directory, or `just compare` at the top. Each measurement
//! is a process of its own, so that no engine's memory or caches are another's; the engines take
//! turns in each round, so that a disk that changes its mind changes it for all. After its timing,
//! everything that was written is read back, counted and compared.

mod engine;
mod engines;
mod report;
mod workload;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

const HELP: &str = "\
Measures filmstrip beside other engines, and writes the tables.

  --events N       events of the long workloads; 2000000 unless said otherwise
  --rounds N       how often each short workload runs; 5 unless said otherwise
  --long-rounds N  how often each long one does; 3 unless said otherwise
  --engines A,B    only these
  --workloads A,B  only these: commits, bulk
  --directory DIR  where the stores are made, on the disk to be measured; the system's temporary
                   directory unless said otherwise
  --output FILE    writes the tables there; to the terminal unless said otherwise
  --help           this text
";

/// What is to be run.
pub struct Options {
    pub events: u64,
    rounds: usize,
    long_rounds: usize,
    engines: Option<Vec<String>>,
    workloads: Vec<String>,
    directory: PathBuf,
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, workload, engine, events, directory] = &arguments[..]
        && child == "measure"
    {
        workload::measure(workload, engine, events.parse().expect("a number"), directory.as_ref());
        return ExitCode::SUCCESS;
    }
    match options(&arguments) {
        Ok(Some(options)) => run(&options),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn options(arguments: &[String]) -> Result<Option<Options>, String> {
    let mut options = Options {
        events: 2_000_000,
        rounds: 5,
        long_rounds: 3,
        engines: None,
        workloads: vec!["commits".to_owned(), "bulk".to_owned()],
        directory: std::env::temp_dir(),
        output: None,
    };
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        if name == "--help" {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} {value} is no number"));
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match name.as_str() {
            "--events" => options.events = number()?,
            "--rounds" => options.rounds = number()? as usize,
            "--long-rounds" => options.long_rounds = number()? as usize,
            "--engines" => options.engines = Some(list()),
            "--workloads" => options.workloads = list(),
            "--directory" => options.directory = value.into(),
            "--output" => options.output = Some(value.into()),
            _ => return Err(format!("there is no option {name}")),
        }
    }
    Ok(Some(options))
}

fn run(options: &Options) -> ExitCode {
    let wanted = |name: &str| match &options.engines {
        Some(engines) => engines.iter().any(|engine| engine == name),
        None => true,
    };
    let engines: Vec<_> = engine::all().into_iter().filter(|e| wanted(e.name())).collect();
    let mut figures = report::Figures::default();
    for workload in &options.workloads {
        let rounds = if workload == "bulk" { options.long_rounds } else { options.rounds };
        for round in 1..=rounds {
            for engine in &engines {
                eprintln!("{workload}, round {round} of {rounds}: {}", engine.name());
                let directory = tempfile::tempdir_in(&options.directory).expect("a directory");
                let measured = Command::new(std::env::current_exe().expect("this program"))
                    .args(["measure", workload, engine.name(), &options.events.to_string()])
                    .arg(directory.path())
                    .stderr(std::process::Stdio::inherit())
                    .output()
                    .expect("a process");
                if !measured.status.success() {
                    eprintln!("{} failed at {workload}: {}", engine.name(), measured.status);
                    return ExitCode::FAILURE;
                }
                figures.take(engine.name(), &String::from_utf8_lossy(&measured.stdout));
            }
        }
    }
    let report = report::write(options, &engines, &figures);
    match &options.output {
        Some(path) => std::fs::write(path, report).expect("the report can be written"),
        None => print!("{report}"),
    }
    ExitCode::SUCCESS
}
