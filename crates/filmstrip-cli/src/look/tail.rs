//! `tail`: the last events, and those that follow.

use crate::fault::Fault;
use crate::out::{Out, Style};
use crate::payload;
use crate::progress::Progress;
use crate::record::Record;
use crate::selection::Selection;
use crate::stores;
use crate::text::{cut, escaped};
use clap::Args;
use filmstrip::follow::FollowerRead;
use filmstrip::{Follower, Position, RecordedEvent};
use std::collections::VecDeque;
use std::path::Path;

/// Columns of a payload on a terminal.
const PAYLOAD_COLUMNS: usize = 60;

/// Events that are looked back at: they are in memory until the end was found.
const EVENTS_MAX: u64 = 100_000;

/// Bytes of their payloads that are in memory.
const BYTES_MAX: usize = 256 << 20;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop tail
  filmstrip -d shop tail -f --category Order --type Placed --type Paid
  filmstrip -d shop tail -n 100 --tag course:chemistry-2
  filmstrip -d shop tail --from 4711 -n 20         20 events from position 4711 on
  filmstrip -d shop --json tail -f | jq .stream

On a terminal, payloads are cut to a line; `filmstrip show POSITION` prints all of one.
With --json, each line is one event, as `filmstrip export` writes it.")]
pub(crate) struct Options {
    /// Keep printing new events as they are recorded, until interrupted
    #[arg(short, long)]
    follow: bool,

    /// How many events to print [default: the last 10, or all from --from on]
    #[arg(short = 'n', long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(..=EVENTS_MAX))]
    events: Option<u64>,

    /// Begin at this position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,

    #[command(flatten)]
    selection: Selection,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let follower = stores::follow(store)?;
    let head = follower.head()?;
    if let Some(from) = options.from.filter(|from| *from > head.get() && !options.follow) {
        let message = format!("there is no position {from}: the last event is at position {head}");
        return Err(Fault::bad(message));
    }
    let read = || options.selection.narrow(follower.read());
    match options.from {
        Some(from) => {
            let read =
                read()?.after(Position::new(from - 1)).limit(options.events.unwrap_or(u64::MAX));
            return print_all(read, options.follow, out);
        }
        None => {
            for event in last(&follower, head, options)? {
                print(&event, out)?;
            }
        }
    }
    match options.follow {
        true => print_all(read()?.after(head), true, out),
        false => Ok(()),
    }
}

fn print_all(read: FollowerRead, is_endless: bool, out: &mut Out) -> Result<(), Fault> {
    out.flush()?;
    if !is_endless {
        return read.iter()?.try_for_each(|event| print(&event?, out));
    }
    for event in read.follow() {
        print(&event?, out)?;
        out.flush()?;
    }
    Ok(())
}

/// The last selected events up to `head`.
fn last(
    follower: &Follower,
    head: Position,
    options: &Options,
) -> Result<VecDeque<RecordedEvent>, Fault> {
    let wanted = options.events.unwrap_or(10);
    let mut read = options.selection.narrow(follower.read())?.until(head);
    if options.selection.is_everything() {
        read = read.after(Position::new(head.get().saturating_sub(wanted)));
    }
    let (mut last, mut bytes) = (VecDeque::new(), 0);
    let mut progress = Progress::events("looking for the last events", head.get());
    for event in read.iter()? {
        let event = event?;
        progress.reached(event.position.get());
        bytes += event.payload.len();
        last.push_back(event);
        while last.len() as u64 > wanted || bytes > BYTES_MAX {
            bytes -= last.pop_front().map_or(0, |gone| gone.payload.len());
        }
    }
    Ok(last)
}

fn print(event: &RecordedEvent, out: &mut Out) -> Result<(), Fault> {
    if out.json {
        return out.document(&Record::of(event));
    }
    let max = if out.is_terminal { PAYLOAD_COLUMNS } else { usize::MAX };
    let position = out.styled(Style::Faint, &format!("{:>8}", event.position));
    let time = out.styled(Style::Faint, &stores::time(event.recorded_at));
    let stream = escaped(event.stream.as_str());
    let stream = if out.is_terminal { cut(&stream, 48) } else { stream };
    let event_type = out.styled(Style::Strong, &escaped(&event.event_type));
    let (version, payload) = (event.version, payload::summary(event, max));
    out.line(format!("{position}  {time}  {stream}@{version}  {event_type}  {payload}"))
}
