//! What follows the log: projections, processes, groups and read models, with what they have parked.

use super::parts::{events, nothing, number, time};
use super::{Answer, Faulty, Page, Tab};
use crate::fault::Fault;
use crate::limits::PAGE_ROWS;
use crate::place::{Place, encoded};
use crate::shared::Shared;
use crate::text::{Visible, plain};
use axum::extract::State;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::health::{FollowerKind, FollowerState, FollowerStats, Health, Stats};
use filmstrip::{Filter, Position};
use maud::{Markup, html};
use std::collections::HashMap;
use std::sync::Arc;

/// Something that is parked, whatever has parked it.
struct Waiting {
    what: String,
    /// The event, if it is one.
    position: Option<Position>,
    error: String,
    attempts: u32,
    parked_at: DateTime<Utc>,
    /// The instance of a process that it belongs to.
    instance: Option<String>,
}

/// A follower with what the page says of it.
struct Follower {
    stats: FollowerStats,
    error: Option<String>,
    parked: Vec<Waiting>,
    /// Where its films are, by position.
    films: HashMap<Position, String>,
    /// What may be done with it.
    actions: &'static [Action],
}

/// Something that can be done with a follower.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    label: &'static str,
    /// What is asked before it is done.
    confirm: &'static str,
    /// Whether it cannot be undone.
    is_final: bool,
}

const PAUSE: Action = Action {
    name: "pause",
    label: "Pause",
    confirm: "It stops following the log until it is resumed.",
    is_final: false,
};
const RESUME: Action = Action {
    name: "resume",
    label: "Resume",
    confirm: "It goes on where it stopped, and tries again what it stopped at.",
    is_final: false,
};
const REBUILD: Action = Action {
    name: "rebuild",
    label: "Rebuild",
    confirm: "All of its events are applied again to a new view. The one that is served stays until then.",
    is_final: false,
};
const REPLAY: Action = Action {
    name: "replay",
    label: "Replay parked",
    confirm: "What is parked is tried again. What fails is parked again.",
    is_final: false,
};
const DISCARD: Action = Action {
    name: "discard",
    label: "Discard parked",
    confirm: "What is parked is given up for good. Its events stay in the log, and are not handled any more. What was \
              parked since this page was made is given up too.",
    is_final: true,
};

pub(crate) const PROJECTION_ACTIONS: [Action; 5] = [PAUSE, RESUME, REBUILD, REPLAY, DISCARD];
pub(crate) const PROCESS_ACTIONS: [Action; 2] = [PAUSE, RESUME];
pub(crate) const GROUP_ACTIONS: [Action; 2] = [REPLAY, DISCARD];

pub(crate) async fn running(State(shared): State<Arc<Shared>>, place: Place) -> Answer {
    let to = place.clone();
    let read = shared.blocking(move |shared| match &shared.store {
        Some(store) => {
            let (stats, health) = (store.stats()?, store.health()?);
            let followers = stats.followers.iter();
            let followers = followers.map(|stats| follower(shared, &to, stats, &health));
            let mut followers: Vec<Follower> = followers.collect();
            // What needs a person first.
            followers.sort_by_key(|it| (it.error.is_none(), it.stats.parked == 0));
            Ok(Some((stats, followers)))
        }
        None => Ok(None),
    });
    let read = read.await.map_err(|fault| Faulty(place.clone(), fault))?;
    let body = match &read {
        Some((stats, followers)) => page(&place, stats, followers, shared.guard.writes),
        None => html! {
            h1 { "Running" }
            (nothing("What follows the log runs in the process that has the store open. This page reads beside it."))
        },
    };
    let title = "Running".to_owned();
    Ok(Page { place, tab: Some(Tab::Running), title, script: Some("actions.js"), body })
}

fn follower(shared: &Shared, place: &Place, stats: &FollowerStats, health: &Health) -> Follower {
    let (label, stats) = (format!("{} {}", kind(stats.kind), stats.name), stats.clone());
    let error = health.faults().into_iter().find(|(name, _)| *name == label);
    let error = error.map(|(_, error)| error.to_string());
    // One of them that cannot say what it has parked must not hide the others.
    let (error, parked, actions) = match parked(shared, &stats) {
        Ok((parked, actions)) => (error, parked, actions),
        Err(fault) => (error.or(Some(fault.why)), Vec::new(), &[][..]),
    };
    let films =
        parked.iter().filter_map(|waiting| film(shared, place, waiting.position?)).collect();
    Follower { stats, error, parked, films, actions }
}

fn kind(kind: FollowerKind) -> &'static str {
    match kind {
        FollowerKind::Projection => "projection",
        FollowerKind::ReadModel => "read model",
        FollowerKind::Process => "process",
        FollowerKind::Group => "group",
        FollowerKind::Relay => "relay",
        _ => "follower",
    }
}

/// The address of the frame at a position.
fn film(shared: &Shared, place: &Place, position: Position) -> Option<(Position, String)> {
    let before = Position::new(position.get().saturating_sub(1));
    let mut events = shared.source.all(before, position, Filter::all()).ok()?;
    let event = events.next()?.ok()?;
    Some((position, place.film(&event.stream, Some(event.version))))
}

/// What is parked, the first of it, and what may be done.
fn parked(
    shared: &Shared,
    stats: &FollowerStats,
) -> Result<(Vec<Waiting>, &'static [Action]), Fault> {
    let name = stats.name.as_str();
    let first = |parked: Vec<filmstrip::projection::Parked>| {
        parked.into_iter().take(PAGE_ROWS).map(of_event).collect()
    };
    Ok(match (stats.kind, &shared.store) {
        (FollowerKind::Projection, _) => match shared.projections.get(name) {
            Some(handle) => (first(handle.parked()?), &PROJECTION_ACTIONS[..]),
            None => (Vec::new(), &[]),
        },
        (FollowerKind::Group, Some(store)) => {
            (first(store.group(name).parked()?), &GROUP_ACTIONS[..])
        }
        (FollowerKind::Process, _) => match shared.processes.get(name) {
            Some(handle) => {
                let parked = handle.parked()?.into_iter().take(PAGE_ROWS).map(of_step).collect();
                (parked, &PROCESS_ACTIONS[..])
            }
            None => (Vec::new(), &[]),
        },
        _ => (Vec::new(), &[]),
    })
}

fn of_event(parked: filmstrip::projection::Parked) -> Waiting {
    let error = parked.error.unwrap_or_else(|| "waits for an earlier event of its stream".into());
    Waiting {
        what: format!("{} in {}", parked.event_type, parked.stream),
        position: Some(parked.position),
        error,
        attempts: parked.attempts,
        parked_at: parked.parked_at,
        instance: None,
    }
}

fn of_step(parked: filmstrip::process::Parked) -> Waiting {
    Waiting {
        what: parked.what,
        position: None,
        error: parked.error,
        attempts: parked.attempts,
        parked_at: parked.parked_at,
        instance: Some(parked.id),
    }
}

fn page(place: &Place, stats: &Stats, followers: &[Follower], writes: bool) -> Markup {
    let subscriptions = &stats.subscriptions;
    html! {
        div.bar { h1 { "Running" } }
        @if !writes {
            p.about { "This studio only shows: the application has not called " code { "Studio::allow_writes" } "." }
        }
        @if followers.is_empty() { (nothing("No projection, process, group or read model runs.")) }
        div.followers id="followers" {
            @for follower in followers { (card(place, follower, writes)) }
            section.follower {
                h2 { "subscriptions" }
                dl.facts {
                    (fact("open", html! { (number(subscriptions.open)) }))
                    (fact("lag", html! { (events(subscriptions.lag)) (seconds(subscriptions.lag_seconds)) }))
                }
            }
        }
        (confirmation())
    }
}

/// The dialog that asks before anything is done.
pub(crate) fn confirmation() -> Markup {
    html! {
        dialog id="confirm" aria-labelledby="confirm-title" {
            form method="dialog" {
                h2 id="confirm-title" {}
                p id="confirm-text" {}
                label.sure id="confirm-sure" {
                    input type="checkbox" required; "I know that this cannot be undone"
                }
                div.buttons {
                    button value="no" formnovalidate autofocus { "Cancel" }
                    button.strong value="yes" id="confirm-yes" {}
                }
            }
        }
        p id="done" role="status" aria-live="polite" {}
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds.is_finite() && seconds >= 0.05 => format!(", {seconds:.1} s"),
        _ => String::new(),
    }
}

fn card(place: &Place, follower: &Follower, writes: bool) -> Markup {
    let Follower { stats, error, parked, films, actions } = follower;
    let path = format!("/running/{}/{}", stats.kind.as_str(), encoded(&stats.name));
    html! {
        section.follower {
            h2 { span.kind { (kind(stats.kind)) } " " (Visible(&stats.name)) (state(stats.state)) }
            dl.facts {
                (fact("position", html! { (number(stats.position.get())) }))
                (fact("lag", html! { (events(stats.lag)) (seconds(stats.lag_seconds)) }))
                (fact("parked", html! { (number(stats.parked)) }))
                (fact("retries", html! { (number(stats.retries)) }))
                @if stats.kind == FollowerKind::Process { (fact("deadlines", html! { (number(stats.deadlines)) })) }
            }
            @if let Some(error) = error { p.error { (Visible(error)) } }
            @if !parked.is_empty() {
                ul.parked {
                    @for waiting in parked { (item(place, &path, waiting, films, writes)) }
                }
            }
            @if writes {
                div.buttons {
                    @for action in actions.iter() {
                        @if fits(action, stats) {
                            (button(&place.page(&format!("{path}/{}", action.name)), action, &of_all(action, stats)))
                        }
                    }
                }
            }
        }
    }
}

/// What an action is done to, as the dialog names it.
fn of_all(action: &Action, stats: &FollowerStats) -> String {
    match action.name {
        "replay" | "discard" => format!("{} of {}", number(stats.parked), stats.name),
        _ => stats.name.clone(),
    }
}

/// Whether an action would do anything now.
fn fits(action: &Action, stats: &FollowerStats) -> bool {
    let is_still = matches!(stats.state, FollowerState::Paused | FollowerState::Faulted);
    match action.name {
        "pause" => !is_still,
        "resume" => is_still,
        "replay" | "discard" => stats.parked > 0,
        _ => true,
    }
}

fn state(state: FollowerState) -> Markup {
    let (name, class) = match state {
        FollowerState::Running => ("running", "good"),
        FollowerState::Rebuilding => ("rebuilding", "busy"),
        FollowerState::Paused => ("paused", "busy"),
        FollowerState::Faulted => ("faulted", "bad"),
        FollowerState::Stopped => ("stopped", "idle"),
        _ => ("unknown", "idle"),
    };
    html! { span class=(format!("badge {class}")) { (name) } }
}

fn item(
    place: &Place,
    path: &str,
    waiting: &Waiting,
    films: &HashMap<Position, String>,
    writes: bool,
) -> Markup {
    let film = waiting.position.and_then(|position| films.get(&position));
    html! {
        li {
            p {
                @match film {
                    Some(film) => a href=(film) { (Visible(&waiting.what)) },
                    None => (Visible(&waiting.what)),
                }
                " · " (waiting.attempts) @if waiting.attempts == 1 { " attempt · " } @else { " attempts · " }
                (time(waiting.parked_at))
            }
            p.error { (Visible(&waiting.error)) }
            @if let (Some(instance), true) = (&waiting.instance, writes) {
                div.buttons {
                    @for (name, action) in [("replay", &REPLAY), ("discard", &DISCARD)] {
                        @let address = place.with(&format!("{path}/{name}"), &[("instance", instance)]);
                        (button(&address, action, &waiting.what))
                    }
                }
            }
        }
    }
}

fn button(address: &str, action: &Action, of: &str) -> Markup {
    let title = format!("{}: {}", action.label, plain(of, 100));
    html! {
        button type="button" hidden class=[action.is_final.then_some("final")] data-action=(address)
            data-title=(title) data-confirm=(action.confirm) data-label=(action.label) { (action.label) }
    }
}
