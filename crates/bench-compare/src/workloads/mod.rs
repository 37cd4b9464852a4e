//! What is measured. Each figure is a line on the standard output: its table, its name, its value,
//! with tabs between.

mod bulk;
mod commits;
pub mod conditions;
mod following;
pub mod history;
pub mod kill;
mod model;
mod models;
mod payloads;
mod tasks;
mod zipf;

use crate::engine::{Engine, Item, Opened};
use crate::tables::Table;
use std::path::Path;
use std::time::Duration;

/// Something to measure, of each engine that has it.
pub struct Workload {
    pub name: &'static str,
    pub length: Length,
    pub suits: fn(&dyn Engine) -> bool,
    run: fn(&Run<'_>),
}

/// How its rounds are counted.
#[derive(PartialEq)]
pub enum Length {
    Short,
    Long,
    /// One round is enough to wait for.
    VeryLong,
}

/// Engines that would write and read the large workload for a quarter of an hour each.
const TOO_SLOW: [&str; 3] = ["umadb-core", "evento", "sled"];

/// One measurement of one engine.
pub struct Run<'a> {
    pub engine: &'a dyn Engine,
    /// Of a long workload.
    pub events: u64,
    /// For its stores; nothing is in it yet.
    pub directory: &'a Path,
    /// What a workload over real input reads; empty if there is none.
    pub input: &'a Path,
}

pub const ALL: [Workload; 11] = [
    Workload { name: "commits", length: Length::Short, suits: |_| true, run: commits::run },
    Workload { name: "bulk", length: Length::Long, suits: |_| true, run: bulk::run },
    Workload {
        name: "large",
        length: Length::VeryLong,
        suits: |engine| !TOO_SLOW.contains(&engine.name()),
        run: bulk::run_large,
    },
    Workload { name: "payloads", length: Length::Long, suits: |_| true, run: payloads::run },
    Workload { name: "zipf", length: Length::Long, suits: |engine| engine.reads(), run: zipf::run },
    Workload {
        name: "following",
        length: Length::Short,
        suits: |engine| engine.following().is_some(),
        run: following::run,
    },
    Workload {
        name: "models",
        length: Length::Long,
        suits: |engine| engine.name() == "filmstrip",
        run: models::run,
    },
    Workload {
        name: "model",
        length: Length::Long,
        suits: |engine| engine.name() == "filmstrip",
        run: model::run,
    },
    Workload {
        name: "async",
        length: Length::Long,
        suits: |engine| engine.name() == "filmstrip",
        run: tasks::run,
    },
    Workload {
        name: "conditions",
        length: Length::Long,
        suits: |engine| engine.conditions().is_some(),
        run: conditions::run,
    },
    Workload {
        name: "history",
        length: Length::Long,
        suits: |engine| engine.reads(),
        run: history::run,
    },
];

pub fn named(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name)
}

impl Workload {
    pub fn run(&self, run: &Run<'_>) {
        (self.run)(run);
    }
}

fn figure(table: &Table, name: &str, value: f64) {
    println!("{}\t{name}\t{value}", table.key);
}

/// A commit of these payloads, each with its stream.
fn append(opened: &dyn Opened, payloads: &[(u64, Vec<u8>)]) {
    let items =
        payloads.iter().map(|(stream, payload)| Item { stream: *stream, payload, tags: &[] });
    opened.append(&items.collect::<Vec<_>>());
}

/// What this share of the values is at most.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
