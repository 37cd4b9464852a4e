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

    fn cell(&self, engine: &str, name: &str) -> String {
        let Some(values) = self.values.get(&(engine.to_owned(), name.to_owned())) else {
            return "–".to_owned();
        };
        let mut values = values.clone();
        values.sort_unstable_by(f64::total_cmp);
        let (low, high) = (values[0], values[values.len() - 1]);
        let median = values[values.len() / 2];
        match values.len() {
            1 => show(median),
            _ => format!("{} ({}–{})", show(median), show(low), show(high)),
        }
    }
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
    out.push_str("| |");
    for engine in engines {
        let _ = write!(out, " {} |", engine.name());
    }
    out.push_str("\n| --- |");
    out.push_str(&" ---: |".repeat(engines.len()));
    out.push('\n');
    for name in &figures.names {
        let _ = write!(out, "| {name} |");
        for engine in engines {
            let _ = write!(out, " {} |", figures.cell(engine.name(), name));
        }
        out.push('\n');
    }
    out.push_str("\nWhat stands on disk when an append returns:\n\n");
    for engine in engines {
        let _ = writeln!(out, "* **{}**: {}.", engine.name(), engine.durability());
    }
    out
}

/// The processor, its cores and the kernel, as Linux tells them.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("Machine: {model}, {cores} cores, Linux {}.", kernel.trim())
}
