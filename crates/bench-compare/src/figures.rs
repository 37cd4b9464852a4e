//! Every figure of every engine, each as often as it was measured.

use crate::engine::Engine;
use crate::tables::{Better, Table};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Figures {
    values: BTreeMap<Key, Vec<f64>>,
    /// The names of each table's figures, in the order in which they were first met.
    names: BTreeMap<String, Vec<String>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    engine: String,
    table: String,
    name: String,
}

/// The median, and the lowest and highest of several.
pub struct Spread {
    pub median: f64,
    pub range: Option<(f64, f64)>,
}

impl Figures {
    /// Takes in what one measurement printed, but for what an engine said itself.
    pub fn take(&mut self, engine: &str, printed: &str) {
        for line in printed.lines() {
            let mut fields = line.splitn(3, '\t').map(str::to_owned);
            let (Some(table), Some(name), Some(value)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let value = value.parse().expect("a figure is a number");
            let names = self.names.entry(table.clone()).or_default();
            if !names.contains(&name) {
                names.push(name.clone());
            }
            let key = Key { engine: engine.to_owned(), table, name };
            self.values.entry(key).or_default().push(value);
        }
    }

    pub fn names(&self, table: &Table) -> &[String] {
        self.names.get(table.key).map_or(&[], Vec::as_slice)
    }

    pub fn spread(&self, table: &Table, engine: &str, name: &str) -> Option<Spread> {
        let (engine, table, name) = (engine.to_owned(), table.key.to_owned(), name.to_owned());
        let mut values = self.values.get(&Key { engine, table, name })?.clone();
        values.sort_unstable_by(f64::total_cmp);
        let middle = &values[(values.len() - 1) / 2..=values.len() / 2];
        let median = middle.iter().sum::<f64>() / middle.len() as f64;
        let range = (values.len() > 1).then(|| (values[0], values[values.len() - 1]));
        Some(Spread { median, range })
    }

    /// Those of the engines that have a figure in this table.
    pub fn engines<'a>(&self, table: &Table, engines: &'a [Box<dyn Engine>]) -> Vec<&'a str> {
        let names = engines.iter().map(|engine| engine.name());
        let has_one = |engine: &&str| {
            self.names(table).iter().any(|name| self.spread(table, engine, name).is_some())
        };
        names.filter(has_one).collect()
    }

    /// How many times as good filmstrip is as the best of its peers, which the raw file is not.
    pub fn against_the_best(&self, table: &Table, engines: &[&str], name: &str) -> Option<f64> {
        let median = |engine| self.spread(table, engine, name).map(|spread| spread.median);
        let peers = engines.iter().filter(|peer| !matches!(**peer, "filmstrip" | "raw file"));
        let peers = peers.filter_map(|peer| median(peer));
        let own = median("filmstrip")?;
        let ratio = match table.better {
            Better::High => own / peers.reduce(f64::max)?,
            Better::Low => peers.reduce(f64::min)? / own,
        };
        // What is next to nothing, or below it, has no ratio to anything.
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    }
}

/// To two decimals below a hundred; thousands apart.
pub fn show(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}
