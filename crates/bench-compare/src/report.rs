//! The tables: medians, with the spread in brackets.

use crate::Options;
use crate::engine::{CACHE_BYTES, Engine};
use crate::figures::{Figures, show};
use crate::system::{machine, may_drop_page_cache};
use crate::tables::{self, Table};
use std::fmt::Write;

/// With more figures than this, a table has a line for each figure, and not for each engine.
const COLUMNS_MAX: usize = 6;

/// What is to be written down of a run, but for its figures.
pub struct Notes {
    /// What a git repository's history held, if one was read.
    pub history: Option<String>,
    /// Where the pictures are from the report, if there are any.
    pub plots: Option<&'static str>,
}

pub fn write(
    options: &Options,
    engines: &[Box<dyn Engine>],
    figures: &Figures,
    notes: &Notes,
) -> String {
    let mut out = String::new();
    out.push_str(&introduction(options, notes));
    for table in tables::ALL {
        let engines = figures.engines(table, engines);
        if engines.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n## {}\n\n{}\n", table.title, table.about);
        out.push_str(&grid(&cells(table, &engines, figures)));
        if let Some(plots) = notes.plots {
            let (key, title) = (table.key, table.title);
            let _ = writeln!(out, "\n![{title}]({plots}/{key}.svg)\n\n[as PNG]({plots}/{key}.png)");
        }
    }
    out.push_str(&words(engines));
    out
}

fn introduction(options: &Options, notes: &Notes) -> String {
    let mut out = String::new();
    out.push_str("# filmstrip beside other engines\n\n");
    let _ = writeln!(
        out,
        "Written by `just compare`. Every engine does the same work with the same bytes, one durable \
         commit at a time. Each measurement is a process of its own, and the engines take turns in each \
         round. Unless stated otherwise, payloads are 300 bytes of JSON, half of them random digits; each \
         stream has 20 events; a long workload has {} events. Figures are medians, with the lowest and the \
         highest in brackets. Everything that was written is read back, counted and compared. Before the \
         first measurement, nearly all free memory was written once, because the host of a virtual machine \
         allocates a page when it is first written. Only the ratios within one run mean anything: disks, \
         machines and days differ.\n\n\
         {}\n\n\
         The figure \"against the best\" says how many times as good filmstrip is as the best of the others, \
         the raw file excepted. Above 1 it is ahead.",
        options.events,
        machine()
    );
    if !may_drop_page_cache() {
        out.push_str("\nNothing was read cold: dropping the page cache needs root.\n");
    }
    if let Some(history) = &notes.history {
        let _ = writeln!(out, "\nThe git repository's history: {history}.");
    }
    out
}

/// The figures of a table with its headings, as text: a line for each engine, and one against the best.
fn cells(table: &Table, engines: &[&str], figures: &Figures) -> Vec<Vec<String>> {
    let names = figures.names(table);
    let line = |head: &str, cell: &dyn Fn(&str) -> String| {
        let cells = names.iter().map(|name| cell(name));
        std::iter::once(head.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let mut cells = vec![line("", &str::to_owned)];
    for engine in engines {
        let cell = |name: &str| cell(table, engine, name, figures);
        cells.push(line(engine, &cell));
    }
    let best = |name: &str| figures.against_the_best(table, engines, name);
    if names.iter().any(|name| best(name).is_some()) {
        let cell =
            |name: &str| best(name).map_or("–".to_owned(), |ratio| format!("**{ratio:.2}**"));
        cells.push(line("against the best", &cell));
    }
    if names.len() > COLUMNS_MAX { turned(&cells) } else { cells }
}

fn cell(table: &Table, engine: &str, name: &str, figures: &Figures) -> String {
    let Some(spread) = figures.spread(table, engine, name) else { return "–".to_owned() };
    match spread.range {
        None => show(spread.median),
        Some((low, high)) => format!("{} ({}–{})", show(spread.median), show(low), show(high)),
    }
}

fn turned(cells: &[Vec<String>]) -> Vec<Vec<String>> {
    let line = |at: usize| cells.iter().map(|line| line[at].clone()).collect();
    (0..cells[0].len()).map(line).collect()
}

fn grid(cells: &[Vec<String>]) -> String {
    let mut lines = cells.iter().map(|line| format!("| {} |\n", line.join(" | ")));
    let head = lines.next().unwrap_or_default();
    let rule = " ---: |".repeat(cells[0].len() - 1);
    format!("{head}| --- |{rule}\n{}", lines.collect::<String>())
}

fn words(engines: &[Box<dyn Engine>]) -> String {
    let mut out = String::new();
    out.push_str("\n## What is on disk when an append returns\n\n");
    for engine in engines {
        let version = version(engine.package());
        let _ = writeln!(out, "* **{}**{version}: {}.", engine.name(), engine.durability());
    }
    let mib = CACHE_BYTES >> 20;
    out.push_str("\n## What is cached of what was read\n\n");
    let _ = writeln!(out, "Each engine with a setting for it was given {mib} MiB.\n");
    for engine in engines {
        let _ = writeln!(out, "* **{}**: {}.", engine.name(), engine.cache());
    }
    out.push_str("\n## How a subscriber gets new events\n\n");
    for engine in engines {
        if let Some(following) = engine.following() {
            let _ = writeln!(out, "* **{}**: {following}.", engine.name());
        }
    }
    // sled tells of an insertion at once, and its `flush` comes after.
    out.push_str("* the others have no subscriptions, or report what is not yet durable.\n");
    out.push_str("\n## How a condition is judged\n\n");
    for engine in engines {
        if let Some(conditions) = engine.conditions() {
            let _ = writeln!(out, "* **{}**: {conditions}.", engine.name());
        }
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
