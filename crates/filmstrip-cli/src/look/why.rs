//! `why`: what led to an event, and what followed from it.

use crate::fault::Fault;
use crate::look::found::Named;
use crate::look::tree::{Node, Tree};
use crate::out::{Out, Style};
use crate::stores;
use crate::text::escaped;
use clap::Args;
use filmstrip::uuid::Uuid;
use std::collections::HashMap;
use std::path::Path;

/// Steps of causation that are shown by more space at the beginning of a line.
const INDENTED_MAX: usize = 24;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop why Order-1001                 its last event
  filmstrip -d shop why 4711                       the event at position 4711
  filmstrip -d shop why 0197c2a0-7e3c-7cc3-98c4-dc0c0c07398f
  filmstrip -d shop --json why 4711 | jq '.causes[].type'

Events are linked by their causation ids, which repositories, buses and processes set. There is no index of them: the
log is read once before the event and once after it. At most 10,000 events are shown; the output says if there are
more. With --json: causes, event, effects (each with id, causation_id, correlation_id, distance, position, stream,
version, type, recorded_at, user), unknown_cause, and complete.")]
pub(crate) struct Options {
    /// A stream's name (then its last event), a position, or an event's id
    #[arg(value_name = "STREAM|POSITION|EVENT-ID")]
    what: String,

    /// Treat a number or a UUID as a stream's name
    #[arg(long)]
    as_stream: bool,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let named = Named::of(&options.what, options.as_stream)?;
    let follower = stores::follow(store)?;
    let tree = Tree::around(&named.event(&follower)?, &follower)?;
    if out.json {
        return out.document(&tree);
    }
    if let Some(id) = tree.unknown_cause {
        let text = format!("{id}  which is no event of this store: a command, for example");
        out.line(out.styled(Style::Faint, &text))?;
    }
    let first = usize::from(tree.unknown_cause.is_some());
    for (depth, cause) in tree.causes.iter().enumerate() {
        out.line(line(cause, first + depth, "", out))?;
    }
    let depth = first + tree.causes.len();
    let mark = out.styled(Style::Good, "  ← this event");
    out.line(line(&tree.event, depth, &mark, out))?;
    print_effects(&tree, depth + 1, out)?;
    match tree.complete {
        true => Ok(()),
        false => out.line("There is more: a limit was reached."),
    }
}

/// Prints the effects, each below its cause.
fn print_effects(tree: &Tree, first: usize, out: &mut Out) -> Result<(), Fault> {
    let mut by_cause = HashMap::<Uuid, Vec<&Node>>::new();
    for effect in &tree.effects {
        by_cause.entry(effect.causation_id.unwrap_or_default()).or_default().push(effect);
    }
    // The next to print is the last one.
    let mut waiting = by_cause.remove(&tree.event.id).unwrap_or_default();
    waiting.reverse();
    while let Some(effect) = waiting.pop() {
        let depth = usize::try_from(effect.distance - 1).unwrap_or_default();
        out.line(line(effect, first + depth, "", out))?;
        waiting.extend(by_cause.remove(&effect.id).unwrap_or_default().into_iter().rev());
    }
    Ok(())
}

fn line(node: &Node, depth: usize, mark: &str, out: &Out) -> String {
    let branch = match depth {
        0 => String::new(),
        depth => format!("{}└─ ", "   ".repeat(depth.min(INDENTED_MAX) - 1)),
    };
    let event_type = out.styled(Style::Strong, &escaped(&node.event_type));
    let place = format!("{}@{}", escaped(node.stream.as_str()), node.version);
    let user = node.user.as_deref().map(|user| format!("  by {}", escaped(user)));
    let when = format!("position {}  {}", node.position, stores::time(node.recorded_at));
    let when = out.styled(Style::Faint, &when);
    format!("{branch}{event_type}  {place}  {when}{}{mark}", user.unwrap_or_default())
}
