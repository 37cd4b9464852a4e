//! `film`: the events of a stream in order, and what each of them changed.

use crate::changes::{Change, Fields};
use crate::fault::Fault;
use crate::look::found::Named;
use crate::out::{Out, Style};
use crate::payload;
use crate::stores;
use crate::text::{cut, escaped};
use clap::Args;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::read::PayloadFormat;
use filmstrip::uuid::Uuid;
use filmstrip::{RecordedEvent, StreamId, Version};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// Columns of a value on a terminal.
const VALUE_COLUMNS: usize = 60;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop film Order-1001
  filmstrip -d shop film Order-1001 --from 5 --until 9
  filmstrip -d shop film Order-1001 --as-of 2026-01-31T23:59:59Z --state
  filmstrip -d shop --json film Order-1001 | jq '.changes[].field'

The states of an aggregate are computed by the application, which this command does not have. What it shows instead
is the difference between payloads: the fields of all payloads so far are merged, object into object, and those that
an event sets to another value are marked: + a new field, ~ another value, - a field that another one replaces.
A payload that is not an object is a field with the name of the event's type; bytes are shown and not compared.

With --state, the merged fields are printed once, as they are after the last event that was asked for.

With --json, each line is one event: position, version, id, type, recorded_at, and changes, each with field, before
and after (JSON values; null where there was no field). With --state: stream, version, position, recorded_at, fields.")]
pub(crate) struct Options {
    /// The stream's name
    #[arg(value_name = "STREAM")]
    stream: String,

    /// Print from this version on; earlier events are merged, but not printed
    #[arg(long, value_name = "VERSION", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,

    /// Print up to this version
    #[arg(long, value_name = "VERSION", default_value_t = u64::MAX, hide_default_value = true,
        value_parser = clap::value_parser!(u64).range(1..))]
    until: u64,

    /// Print up to this time, as in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = stores::parsed_time)]
    as_of: Option<DateTime<Utc>>,

    /// Print the merged fields after the last of these events, and not the events
    #[arg(long)]
    state: bool,
}

/// An event of the film as JSON.
#[derive(Serialize)]
struct Frame<'a> {
    position: u64,
    version: u64,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: &'a str,
    recorded_at: DateTime<Utc>,
    changes: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    field: &'a str,
    before: Option<&'a RawValue>,
    after: Option<&'a RawValue>,
}

/// The merged fields after an event, as JSON.
#[derive(Serialize)]
struct State<'a> {
    stream: &'a str,
    version: u64,
    position: u64,
    recorded_at: DateTime<Utc>,
    fields: BTreeMap<String, &'a RawValue>,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let Options { from, until, .. } = options;
    if from > until {
        return Err(Fault::bad(format!(
            "--from {from} is after --until {until}: nothing is between them"
        )));
    }
    let follower = stores::follow(store)?;
    let stream = StreamId::new(&options.stream)?;
    let (mut fields, mut last) = (Fields::default(), None);
    for event in stores::events_of(&follower, &stream, Version::NONE)? {
        let event = event?;
        let is_past = options.as_of.is_some_and(|time| event.recorded_at > time);
        if event.version.get() > options.until || is_past && last.is_some() {
            break;
        }
        if is_past {
            let first = stores::time(event.recorded_at);
            let message = format!("the stream {stream} is younger: its first event is of {first}");
            return Err(Fault::bad(message));
        }
        let changes = fields.merge(&event)?;
        if event.version.get() >= options.from && !options.state {
            print(&event, &changes, out)?;
        }
        last = Some(event);
    }
    match last {
        None => Err(Named::Stream(stream).missing(&follower)),
        Some(last) if options.state => print_state(&last, &fields, out),
        Some(last) if last.version.get() < options.from => {
            let (from, last) = (options.from, last.version);
            Err(Fault::bad(format!(
                "there is no version {from} of {stream}: the last one is {last}"
            )))
        }
        Some(_) => Ok(()),
    }
}

fn print_state(last: &RecordedEvent, fields: &Fields, out: &mut Out) -> Result<(), Fault> {
    if out.json {
        let fields =
            fields.iter().filter_map(|(field, value)| Some((field, borrowed(Some(value))?)));
        return out.document(&State {
            stream: last.stream.as_str(),
            version: last.version.get(),
            position: last.position.get(),
            recorded_at: last.recorded_at,
            fields: fields.collect(),
        });
    }
    let (stream, time) = (escaped(last.stream.as_str()), stores::time(last.recorded_at));
    out.line(out.styled(Style::Faint, &format!("{stream}@{}  {time}", last.version)))?;
    let max = if out.is_terminal { VALUE_COLUMNS } else { usize::MAX };
    for (field, value) in fields.iter() {
        out.line(format!("  {}: {}", escaped(&field), cut(&escaped(value), max)))?;
    }
    Ok(())
}

fn print(event: &RecordedEvent, changes: &[Change], out: &mut Out) -> Result<(), Fault> {
    if out.json {
        let shown = changes.iter().map(|change| Shown {
            field: &change.field,
            before: borrowed(change.before.as_deref()),
            after: borrowed(change.after.as_deref()),
        });
        return out.document(&Frame {
            position: event.position.get(),
            version: event.version.get(),
            id: event.id,
            event_type: &event.event_type,
            recorded_at: event.recorded_at,
            changes: shown.collect(),
        });
    }
    let version = out.styled(Style::Faint, &format!("{:>5}", event.version));
    let time = out.styled(Style::Faint, &stores::time(event.recorded_at));
    let event_type = out.styled(Style::Strong, &escaped(&event.event_type));
    let user = event.metadata.user.as_deref().map(|user| format!("  by {}", escaped(user)));
    out.line(format!("{version}  {time}  {event_type}{}", user.unwrap_or_default()))?;
    if event.format != PayloadFormat::Json {
        return out.line(format!("         {}", payload::summary(event, VALUE_COLUMNS)));
    }
    changes.iter().try_for_each(|change| out.line(line(change, out)))
}

fn borrowed(value: Option<&str>) -> Option<&RawValue> {
    serde_json::from_str(value?).ok()
}

/// A change as a line, with its mark.
fn line(change: &Change, out: &Out) -> String {
    let max = if out.is_terminal { VALUE_COLUMNS } else { usize::MAX };
    let value = |value: &str| cut(&escaped(value), max).into_owned();
    let field = escaped(&change.field);
    let (style, text) = match (&change.before, &change.after) {
        (None, Some(after)) => (Style::Good, format!("+ {field}: {}", value(after))),
        (Some(before), Some(after)) => {
            (Style::Changed, format!("~ {field}: {} → {}", value(before), value(after)))
        }
        (before, None) => {
            (Style::Bad, format!("- {field}: {}", value(before.as_deref().unwrap_or("null"))))
        }
    };
    format!("       {}", out.styled(style, &text))
}
