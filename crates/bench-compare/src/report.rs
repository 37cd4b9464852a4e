//! The tables: medians, with the spread in brackets.

use crate::Options;
use crate::engine::Engine;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Every figure of every engine, each as often as it was measured.
#[derive(Default)]
pub struct Figures {
    values: BTreeMap<(String, String), Vec<f64>>,
    /// In the order in which they were first met.
    names: Vec<String>,
}

impl Figures {
    /// Takes in what one measurement printed.
    pub fn take(&mut self, engine: &str, printed: &str) {
        for line in printed.lines() {
            let Some((name, value)) = line.split_once('\t') else { continue };
            let value: f64 = value.parse().expect("a figure is a number");
            if !self.names.iter().any(|known| known == name) {
                self.names.push(name.to_owned());
            }
            self.values.entry((engine.to_owned(), name.to_owned())).or_default().push(value);
        }
    }

    /// What was measured, from the lowest to the highest; nothing if it was not.
    fn sorted(&self, engine: &str, name: &str) -> Vec<f64> {
        let values = self.values.get(&(engine.to_owned(), name.to_owned()));
        let mut values = values.cloned().unwrap_or_default();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    fn median(&self, engine: &str, name: &str) -> Option<f64> {
        let values = self.sorted(engine, name);
        values.get(values.len() / 2).copied()
    }

    fn cell(&self, engine: &str, name: &str) -> String {
        let values = self.sorted(engine, name);
        match values[..] {
            [] => "–".to_owned(),
            [value] => show(value),
            [low, .., high] => {
                format!("{} ({}–{})", show(values[values.len() / 2]), show(low), show(high))
            }
        }
    }

    /// How many times as good filmstrip is as the best of its peers, which the raw file is not.
    fn against_the_best(&self, engines: &[Box<dyn Engine>], name: &str) -> String {
        let peers = engines.iter().map(|engine| engine.name());
        let peers = peers.filter(|peer| !matches!(*peer, "filmstrip" | "raw file"));
        let peers = peers.filter_map(|peer| self.median(peer, name));
        let ratio = match is_better_low(name) {
            true => peers.reduce(f64::min).zip(self.median("filmstrip", name)),
            false => self.median("filmstrip", name).zip(peers.reduce(f64::max)),
        };
        ratio.map_or("–".to_owned(), |(above, below)| format!("{:.2}", above / below))
    }
}

fn is_better_low(name: &str) -> bool {
    ["p50", "p99", "memory", "disk", "open"].iter().any(|word| name.contains(word))
}

/// Three digits that count, and thousands apart.
fn show(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

pub fn write(options: &Options, engines: &[Box<dyn Engine>], figures: &Figures) -> String {
    let mut out = String::new();
    out.push_str("# filmstrip beside other engines\n\n");
    let _ = writeln!(
        out,
        "Written by `just compare`. The same payloads (300 bytes of JSON, half of them random digits), 20 events in each \
         stream, in turn; {} events where a workload is long. Medians, with the lowest and the highest \
         in brackets. Rates are events per second, p50 and p99 microseconds for one commit. Only the \
         ratios within one run mean anything: a disk, a machine and a day differ from another.\n",
        options.events
    );
    let _ = writeln!(out, "{}\n", machine());
    let _ = writeln!(
        out,
        "The last column says how many times as good filmstrip is as the best of the others, the raw \
         file excepted: above 1 it is ahead.\n"
    );
    out.push_str("| |");
    for engine in engines {
        let _ = write!(out, " {} |", engine.name());
    }
    out.push_str(" against the best |\n| --- |");
    out.push_str(&" ---: |".repeat(engines.len() + 1));
    out.push('\n');
    for name in &figures.names {
        let _ = write!(out, "| {name} |");
        for engine in engines {
            let _ = write!(out, " {} |", figures.cell(engine.name(), name));
        }
        let _ = writeln!(out, " {} |", figures.against_the_best(engines, name));
    }
    out.push_str("\nWhat stands on disk when an append returns:\n\n");
    for engine in engines {
        let version = version(engine.package());
        let _ = writeln!(out, "* **{}**{version}: {}.", engine.name(), engine.durability());
    }
    out
}

/// The version of a package, as the lock file says.
fn version(package: Option<&str>) -> String {
    let lock = include_str!("../Cargo.lock");
    let entry =
        package.and_then(|package| lock.split_once(&format!("name = \"{package}\"\nversion = \"")));
    let version = entry.and_then(|(_, behind)| behind.split('"').next());
    package
        .zip(version)
        .map_or(String::new(), |(package, version)| format!(" ({package} {version})"))
}

/// The day, and the processor, its cores and the kernel, as Linux tells them.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let date = std::process::Command::new("date").args(["-u", "+%F"]).output();
    let date =
        date.map_or(String::new(), |date| String::from_utf8_lossy(&date.stdout).into_owned());
    format!("{}: {model}, {cores} cores, Linux {}.", date.trim(), kernel.trim())
}
