//! `show`: events in full.

use crate::fault::Fault;
use crate::look::found::Named;
use crate::out::{Out, Style};
use crate::payload;
use crate::record::Record;
use crate::stores;
use crate::text::escaped;
use clap::Args;
use filmstrip::{RecordedEvent, Version};
use std::path::Path;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop show Order-1001
  filmstrip -d shop show Order-1001 -n 3           its first three events
  filmstrip -d shop show 4711                      the event at position 4711
  filmstrip -d shop show 0197c2a0-7e3c-7cc3-98c4-dc0c0c07398f
  filmstrip -d shop show --as-stream 4711          the stream that is named 4711

With --json, each line is one event, as `filmstrip export` writes it.")]
pub(crate) struct Options {
    /// A stream's name, a position, or an event's id
    #[arg(value_name = "STREAM|POSITION|EVENT-ID")]
    what: String,

    /// Treat a number or a UUID as a stream's name
    #[arg(long)]
    as_stream: bool,

    /// Print at most this many events of a stream
    #[arg(short = 'n', long, value_name = "EVENTS", default_value_t = u64::MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let named = Named::of(&options.what, options.as_stream)?;
    let follower = stores::follow(store)?;
    let Named::Stream(stream) = &named else {
        return print(&named.event(&follower)?, out);
    };
    let mut is_there = false;
    let events = stores::events_of(&follower, stream, Version::NONE)?;
    for event in events.take(usize::try_from(options.events).unwrap_or(usize::MAX)) {
        if is_there && !out.json {
            out.line("")?;
        }
        is_there = true;
        print(&event?, out)?;
    }
    match is_there {
        true => Ok(()),
        false => Err(named.missing(&follower)),
    }
}

fn print(event: &RecordedEvent, out: &mut Out) -> Result<(), Fault> {
    if out.json {
        return out.document(&Record::of(event));
    }
    let event_type = out.styled(Style::Strong, &escaped(&event.event_type));
    let (stream, version, position) =
        (escaped(event.stream.as_str()), event.version, event.position);
    out.line(format!("{event_type}  {stream}@{version}  position {position}"))?;
    for (name, value) in facts(event) {
        let name = out.styled(Style::Faint, &format!("{:<14}", escaped(&name)));
        out.line(format!("  {name} {}", escaped(&value)))?;
    }
    out.line(payload::lines(event, "  "))
}

/// What is known of an event besides its payload.
fn facts(event: &RecordedEvent) -> Vec<(String, String)> {
    let mut facts = vec![("id".to_owned(), event.id.to_string())];
    let mut fact = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| (name.to_owned(), value)));
    };
    fact("recorded at", Some(stores::time(event.recorded_at)));
    let occurred =
        (event.occurred_at != event.recorded_at).then(|| stores::time(event.occurred_at));
    fact("occurred at", occurred);
    let metadata = &event.metadata;
    fact("schema version", (event.schema_version != 1).then(|| event.schema_version.to_string()));
    fact("caused by", metadata.causation_id.map(|id| id.to_string()));
    fact("correlation", metadata.correlation_id.map(|id| id.to_string()));
    fact("command", metadata.command_id.map(|id| id.to_string()));
    fact("user", metadata.user.clone());
    let tags: Vec<_> = event.tags().collect();
    fact("tags", (!tags.is_empty()).then(|| tags.join(", ")));
    for (key, value) in &metadata.entries {
        fact(key, Some(value.clone()));
    }
    facts
}
