//! From an event up to what caused it, and down to what it caused.

use super::parts::{nothing, number, time};
use super::{Answer, Faulty, Page};
use crate::fault::Fault;
use crate::limits::CAUSES_SHOWN;
use crate::place::Place;
use crate::shared::Shared;
use crate::source::{Cause, Why};
use crate::text::{Visible, plain};
use axum::extract::{Path, State};
use filmstrip::uuid::Uuid;
use maud::{Markup, html};
use std::collections::HashMap;
use std::sync::Arc;

/// Levels that are indented.
const INDENTS: usize = 12;

pub(crate) async fn why(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Path(id): Path<String>,
) -> Answer {
    let read = shared.blocking(move |shared| {
        let id = Uuid::parse_str(&id).map_err(|_| {
            Fault::bad_request(format!("{:?} is not the id of an event", plain(&id, 60)))
        })?;
        Ok((id, shared.source.why(id)?))
    });
    let (id, why) = read.await.map_err(|fault| Faulty(place.clone(), fault))?;
    let body = page(&place, id, &why);
    Ok(Page { place, tab: None, title: format!("Why {id}"), script: Some("page.js"), body })
}

fn page(place: &Place, id: Uuid, why: &Why) -> Markup {
    html! {
        h1 { "Why?" }
        @match &why.event {
            Some(event) => {
                p.about {
                    "What led to " (Visible(&event.event_type)) " in " (Visible(event.stream.as_str()))
                    ", and what followed from it. Correlation: " code { (event.correlation_id) }
                }
                (tree(place, event, why))
                @if why.causes.is_empty() && why.effects.is_empty() && why.unknown_cause.is_none() {
                    (nothing("It names no cause, and no event names it as its cause."))
                }
            }
            None => (nothing(&format!(
                "No event with the id {id} was found among those looked at. It may be the id of a command, or of an \
                 event of another store."
            ))),
        }
        @if !why.is_complete {
            p.more { "Only a part of the log was looked at, so there may be more." }
        }
    }
}

fn tree(place: &Place, event: &Cause, why: &Why) -> Markup {
    let skipped = why.causes.len().saturating_sub(CAUSES_SHOWN);
    let causes = &why.causes[skipped..];
    let effects = under(event.id, &why.effects);
    html! {
        ol.tree {
            @if let Some(id) = why.unknown_cause {
                li.d0.unknown {
                    span.arrow aria-hidden="true" { "○" }
                    "a command, or an event of another store: " code { (id) }
                }
            }
            @if skipped > 0 { li.d0 { (skipped) " earlier causes" } }
            @for (depth, cause) in causes.iter().enumerate() { (line(place, cause, depth, "cause")) }
            (line(place, event, causes.len(), "this"))
            @for (depth, effect) in effects.iter().take(CAUSES_SHOWN) {
                (line(place, effect, causes.len() + depth, "effect"))
            }
        }
        @if effects.len() > CAUSES_SHOWN {
            p.more { (effects.len() - CAUSES_SHOWN) " more effects." }
        }
    }
}

/// The effects of an event, each after its cause, with the steps that it is away.
fn under(event: Uuid, effects: &[Cause]) -> Vec<(usize, &Cause)> {
    let mut of: HashMap<Uuid, Vec<&Cause>> = HashMap::new();
    for effect in effects.iter().rev() {
        if let Some(cause) = effect.causation_id {
            of.entry(cause).or_default().push(effect);
        }
    }
    let (mut lines, mut left) = (Vec::new(), vec![(0, event)]);
    let mut seen: HashMap<Uuid, &Cause> =
        effects.iter().map(|effect| (effect.id, effect)).collect();
    while let Some((depth, id)) = left.pop() {
        // Each once, whatever ids events claim to be caused by.
        if let Some(effect) = seen.remove(&id) {
            lines.push((depth, effect));
        }
        left.extend(of.remove(&id).into_iter().flatten().map(|effect| (depth + 1, effect.id)));
    }
    lines
}

fn line(place: &Place, event: &Cause, depth: usize, what: &str) -> Markup {
    let is_this = what == "this";
    html! {
        li class=(format!("d{} {what}", depth.min(INDENTS))) aria-current=[is_this.then_some("true")] {
            span.arrow aria-hidden="true" { @match what { "cause" => "○", "this" => "●", _ => "└" } }
            a.type href=(place.film(&event.stream, Some(event.version))) { (Visible(&event.event_type)) }
            span.name { (Visible(event.stream.as_str())) span.version { "@" (event.version) } }
            (time(event.recorded_at))
            span.version { "#" (number(event.position.get())) }
            @if !is_this { a.again href=(place.why(event.id)) { "Why?" } }
        }
    }
}
