//! `top`: the busiest categories and types, and the largest streams.

use crate::fault::Fault;
use crate::out::Out;
use crate::progress::Progress;
use crate::stores;
use crate::table::{Side, Table};
use crate::text::{count, size};
use clap::Args;
use filmstrip::{Position, RecordedEvent};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Categories, and types, that are counted one by one; further ones are counted together.
const NAMES_MAX: usize = 10_000;
const OTHERS: &str = "(all others)";

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop top
  filmstrip -d shop top -n 3 --from 1000000

It reads every event from the first position to the end of the log.
With --json: from, until, and the lists categories and types, each with name, events and bytes (of payloads), and
streams, each with name and events. The events of a stream are all that it has, whatever --from is.")]
pub(crate) struct Options {
    /// How many of each to print
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=10_000))]
    number: u64,

    /// Count from this position on
    #[arg(long, value_name = "POSITION", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
}

#[derive(Default, Serialize)]
struct Top {
    from: u64,
    until: u64,
    categories: Vec<Counted>,
    types: Vec<Counted>,
    streams: Vec<Stream>,
}

#[derive(Serialize)]
struct Counted {
    name: String,
    events: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Stream {
    name: String,
    events: u64,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let top = count_all(store, options)?;
    if out.json {
        return out.document(&top);
    }
    for (title, counted) in [("category", &top.categories), ("type", &top.types)] {
        let columns = [(title, Side::Left), ("events", Side::Right), ("payloads", Side::Right)];
        let mut table = Table::new(&columns);
        for Counted { name, events, bytes } in counted {
            table.row([name.clone(), count(*events), size(*bytes)]);
        }
        table.print(out)?;
        out.line("")?;
    }
    let mut table = Table::new(&[("stream", Side::Left), ("events", Side::Right)]);
    for Stream { name, events } in top.streams {
        table.row([name, count(events)]);
    }
    table.print(out)
}

fn count_all(store: &Path, options: &Options) -> Result<Top, Fault> {
    let follower = stores::follow(store)?;
    let until = follower.head()?;
    if options.from > until.get().max(1) {
        let from = options.from;
        let message = format!("there is no position {from}: the last event is at position {until}");
        return Err(Fault::bad(message));
    }
    let (mut categories, mut types) = (Counts::default(), Counts::default());
    let mut largest = Largest::new(options.number as usize);
    let mut progress = Progress::events("reading", until.get());
    let read = follower.read().after(Position::new(options.from - 1)).until(until);
    for event in read.iter()? {
        let event = event?;
        progress.reached(event.position.get());
        categories.add(event.stream.category(), &event);
        types.add(&event.event_type, &event);
        largest.see(event.stream.as_str(), event.version.get());
    }
    Ok(Top {
        from: options.from,
        until: until.get(),
        categories: categories.most(options.number as usize),
        types: types.most(options.number as usize),
        streams: largest.streams(),
    })
}

/// Events and bytes by name.
#[derive(Default)]
struct Counts(HashMap<String, (u64, u64)>);

impl Counts {
    fn add(&mut self, name: &str, event: &RecordedEvent) {
        let name = match self.0.len() < NAMES_MAX || self.0.contains_key(name) {
            true => name,
            false => OTHERS,
        };
        let counts = match self.0.get_mut(name) {
            Some(counts) => counts,
            None => self.0.entry(name.to_owned()).or_default(),
        };
        *counts = (counts.0 + 1, counts.1 + event.payload.len() as u64);
    }

    fn most(self, number: usize) -> Vec<Counted> {
        let all = self.0.into_iter().map(|(name, (events, bytes))| Counted { name, events, bytes });
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.name.cmp(&b.name)));
        all.truncate(number);
        all
    }
}

/// The streams with the most events. An event's version says how many its stream has, so a stream can be forgotten and
/// comes back with its next event; at its last event it is held if it is one of the largest.
struct Largest {
    number: usize,
    by_name: HashMap<String, u64>,
    by_events: BTreeSet<(u64, String)>,
}

impl Largest {
    fn new(number: usize) -> Largest {
        Largest { number, by_name: HashMap::new(), by_events: BTreeSet::new() }
    }

    fn see(&mut self, stream: &str, events: u64) {
        if let Some(before) = self.by_name.get_mut(stream) {
            let old = (std::mem::replace(before, events), stream.to_owned());
            self.by_events.remove(&old);
            self.by_events.insert((events, old.1));
            return;
        }
        if self.by_name.len() == self.number {
            let is_larger = self.by_events.first().is_some_and(|(least, _)| events > *least);
            if !is_larger {
                return;
            }
            if let Some((_, gone)) = self.by_events.pop_first() {
                self.by_name.remove(&gone);
            }
        }
        self.by_name.insert(stream.to_owned(), events);
        self.by_events.insert((events, stream.to_owned()));
    }

    fn streams(self) -> Vec<Stream> {
        let all = self.by_events.into_iter().rev();
        all.map(|(events, name)| Stream { name, events }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_streams_are_found_whatever_the_order_of_events() {
        let mut largest = Largest::new(2);
        for round in 1..=4 {
            for (stream, events) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
                if round <= events {
                    largest.see(stream, round);
                }
            }
        }
        let names: Vec<_> = largest.streams().into_iter().map(|s| (s.name, s.events)).collect();
        assert_eq!(names, [("d".to_owned(), 4), ("c".to_owned(), 3)]);
    }
}
