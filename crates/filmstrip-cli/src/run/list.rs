//! Prints what runs, and what is parked.

use crate::fault::Fault;
use crate::out::{Out, Style};
use crate::run::studio::{Parked, Running};
use crate::table::{Side, Table};
use crate::text::{count, escaped};
use serde_json::Value;

/// Prints the followers of one kind.
pub(super) fn running(kind: &str, running: &Running, out: &mut Out) -> Result<(), Fault> {
    let of_kind: Vec<&Value> =
        running.followers.iter().filter(|follower| follower["kind"] == kind).collect();
    if out.json {
        return of_kind.into_iter().try_for_each(|follower| out.document(follower));
    }
    if of_kind.is_empty() {
        return out.line(format!("no {kind} runs there"));
    }
    let mut table = Table::new(&[
        ("name", Side::Left),
        ("state", Side::Left),
        ("position", Side::Right),
        ("lag", Side::Right),
        ("seconds", Side::Right),
        ("parked", Side::Right),
    ]);
    for follower in &of_kind {
        let seconds = follower["lag_seconds"].as_f64();
        table.row([
            text(follower, "name").to_owned(),
            text(follower, "state").to_owned(),
            number(follower, "position"),
            number(follower, "lag"),
            seconds.map(|seconds| format!("{seconds:.1}")).unwrap_or_default(),
            number(follower, "parked"),
        ]);
    }
    table.print(out)?;
    for follower in of_kind.iter().filter(|follower| follower["error"].is_string()) {
        let error = format!("{}: {}", text(follower, "name"), text(follower, "error"));
        out.line(out.styled(Style::Bad, &escaped(&error)))?;
    }
    Ok(())
}

/// Prints what is parked, each with its error.
pub(super) fn parked(parked: &Parked, out: &mut Out) -> Result<(), Fault> {
    if out.json {
        return parked.parked.iter().try_for_each(|waiting| out.document(waiting));
    }
    if parked.parked.is_empty() {
        return out.line("nothing is parked");
    }
    for waiting in &parked.parked {
        let place = match (&waiting["position"], &waiting["instance"]) {
            (Value::Number(position), _) => format!("position {position}"),
            (_, Value::String(instance)) => format!("instance {instance:?}"),
            _ => String::new(),
        };
        let times = number(waiting, "attempts");
        let attempts = if times == "1" { "attempt" } else { "attempts" };
        let (what, since) = (text(waiting, "what"), text(waiting, "parked_at"));
        let line = format!("{place}  {what}  {times} {attempts}, parked {since}");
        out.line(escaped(&line))?;
        out.line(format!("  {}", out.styled(Style::Bad, &escaped(text(waiting, "error")))))?;
    }
    match parked.more {
        0 => Ok(()),
        more => out.line(format!("and {} more", count(more))),
    }
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

fn number(of: &Value, field: &str) -> String {
    of[field].as_u64().map(count).unwrap_or_default()
}
