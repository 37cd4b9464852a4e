//! What follows the log: projections, processes, groups and read models, with what they have parked.

use super::parts::{events, nothing, number, time};
use super::{Answer, Faulty, Page, Tab};
use crate::followers::{Action, DISCARD, REPLAY, Waiting, actions, error_of, kind, parked};
use crate::limits::PAGE_ROWS;
use crate::place::{Place, encoded};
use crate::shared::Shared;
use crate::text::{Visible, plain};
use axum::extract::State;
use filmstrip::health::{FollowerKind, FollowerState, FollowerStats, Health, Stats};
use filmstrip::{Filter, Position};
use maud::{Markup, html};
use std::collections::HashMap;
use std::sync::Arc;

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
    let (stats, error) = (stats.clone(), error_of(health, stats));
    // One of them that cannot say what it has parked must not hide the others.
    let (error, parked, actions) = match parked(shared, stats.kind, &stats.name) {
        Ok(parked) => (error, parked, actions(shared, stats.kind, &stats.name)),
        Err(fault) => (error.or(Some(fault.why)), Vec::new(), &[][..]),
    };
    let parked: Vec<Waiting> = parked.into_iter().take(PAGE_ROWS).collect();
    let films =
        parked.iter().filter_map(|waiting| film(shared, place, waiting.position?)).collect();
    Follower { stats, error, parked, films, actions }
}

/// The address of the frame at a position.
fn film(shared: &Shared, place: &Place, position: Position) -> Option<(Position, String)> {
    let before = Position::new(position.get().saturating_sub(1));
    let mut events = shared.source.all(before, position, Filter::all()).ok()?;
    let event = events.next()?.ok()?;
    Some((position, place.film(&event.stream, Some(event.version))))
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
        "replay" | "discard" | "replay-all" | "discard-all" => {
            format!("{} of {}", number(stats.parked), stats.name)
        }
        _ => stats.name.clone(),
    }
}

/// Whether an action would do anything now.
fn fits(action: &Action, stats: &FollowerStats) -> bool {
    let is_still = matches!(stats.state, FollowerState::Paused | FollowerState::Faulted);
    match action.name {
        "pause" => !is_still,
        "resume" => is_still,
        "replay" | "discard" | "replay-all" | "discard-all" => stats.parked > 0,
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
