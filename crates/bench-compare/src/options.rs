//! The command line.

use crate::engines::all;
use crate::workloads::{self, Length, Workload};
use std::path::PathBuf;

pub const HELP: &str = "\
Measures filmstrip beside other engines, and writes the tables.

  --events N         events of the long workloads, a multiple of 2000; 2000000 unless said otherwise
  --rounds N         how often each short workload runs; 5 unless said otherwise
  --long-rounds N    how often each long one does; 3 unless said otherwise
  --engines A,B      only these: filmstrip, raw file, tephra, umadb-core, evento, sled, SQLite, redb, fjall
  --workloads A,B    only these:
      commits        (short) 1, 4, 16 and 64 writers at once
      bulk           (long)  writing many events, memory, disk, opening, reading warm and cold, a kill
      large          (once)  five times as many, without the reading: a quarter of an hour
      payloads       (long)  64 bytes, 1 KiB and 64 KiB
      zipf           (long)  streams of very different lengths
      following      (short) a subscriber that waits, and one under full write load
      models         (long)  filmstrip alone: views built again, commands
      model          (long)  filmstrip alone: processes, subscriptions, views and transactions under load
      async          (long)  filmstrip alone: tasks beside threads and spawn_blocking, streams beside iterators
      conditions     (long)  filmstrip, tephra and umadb-core: conditional appends, uniqueness, reading by tag
      history        (long)  a git repository's history; left out without --repository
  --repository PATH  the git repository of `history`: its first so many events
  --directory DIR    where the stores are made, on the disk to be measured; the system's temporary
                     directory unless said otherwise
  --output FILE      writes the tables there, and pictures of them to `plots` beside it; to the terminal,
                     without pictures, unless said otherwise
  --help             this text

Reading cold drops the machine's page cache, which only root may do; it is left out otherwise. Before the
first measurement nearly all of the machine's free memory is written once, because a virtual machine's
is slow when it is new: a few seconds for each 10 GiB, a minute on a machine that has just started.
";

/// What is to be run.
pub struct Options {
    pub events: u64,
    rounds: u64,
    long_rounds: u64,
    engines: Option<Vec<String>>,
    pub workloads: Vec<&'static Workload>,
    pub repository: Option<PathBuf>,
    pub directory: PathBuf,
    pub output: Option<PathBuf>,
}

impl Options {
    pub fn wants(&self, engine: &str) -> bool {
        self.engines.as_ref().is_none_or(|engines| engines.iter().any(|wanted| wanted == engine))
    }

    pub fn rounds_of(&self, workload: &Workload) -> u64 {
        match workload.length {
            Length::Short => self.rounds,
            Length::Long => self.long_rounds,
            Length::VeryLong => 1,
        }
    }
}

/// The options in `arguments`; nothing if help is asked for.
pub fn parse(arguments: &[&str]) -> Result<Option<Options>, String> {
    let mut options = Options {
        events: 2_000_000,
        rounds: 5,
        long_rounds: 3,
        engines: None,
        workloads: workloads::ALL.iter().collect(),
        repository: None,
        directory: std::env::temp_dir(),
        output: None,
    };
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        if *name == "--help" {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} {value} is no number"));
        match *name {
            "--events" => options.events = number()?,
            "--rounds" => options.rounds = number()?,
            "--long-rounds" => options.long_rounds = number()?,
            "--engines" => options.engines = Some(engines(value)?),
            "--workloads" => options.workloads = workloads(value)?,
            "--repository" => options.repository = Some(value.into()),
            "--directory" => options.directory = value.into(),
            "--output" => options.output = Some(value.into()),
            _ => return Err(format!("there is no option {name}")),
        }
    }
    if options.repository.is_none() {
        // Of the workloads that are run unless said otherwise, it goes by itself.
        options.workloads.retain(|workload| workload.name != "history");
    }
    if options.workloads.is_empty() {
        return Err("there is nothing to run; history needs --repository".to_owned());
    }
    if options.events == 0 || !options.events.is_multiple_of(2_000) {
        return Err(format!("--events is {}; a multiple of 2000 is allowed", options.events));
    }
    Ok(Some(options))
}

fn engines(list: &str) -> Result<Vec<String>, String> {
    let engines: Vec<_> = list.split(',').map(str::to_owned).collect();
    let known = all();
    let unknown = engines.iter().find(|engine| known.iter().all(|known| known.name() != **engine));
    unknown.map_or(Ok(()), |unknown| Err(format!("there is no engine {unknown}")))?;
    Ok(engines)
}

fn workloads(list: &str) -> Result<Vec<&'static Workload>, String> {
    let named = |name| workloads::named(name).ok_or_else(|| format!("there is no workload {name}"));
    list.split(',').map(named).collect()
}
