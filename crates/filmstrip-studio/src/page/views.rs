//! The rows of views: now, or as they were.

use super::film::parse_time;
use super::parts::{nothing, number, time};
use super::value;
use super::{Answer, Faulty, Page, Tab};
use crate::fault::Fault;
use crate::limits::PAGE_ROWS;
use crate::past::{Explanation, Then};
use crate::place::{Place, encoded};
use crate::shared::Shared;
use crate::text::{Visible, plain};
use crate::view_rows::{ViewRow, newest};
use axum::extract::{Path, Query, State};
use filmstrip::Store;
use filmstrip::chrono::Utc;
use filmstrip::projection::ProjectionHandle;
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize, Clone)]
pub(crate) struct Wanted {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: String,
    /// The view as it was at this time.
    #[serde(default)]
    at: String,
}

#[derive(Deserialize)]
pub(crate) struct WantedRow {
    #[serde(default)]
    key: String,
}

struct Rows {
    rows: Vec<ViewRow>,
    has_more: bool,
    /// `None`: as they are now.
    then: Option<Then>,
    can_go_back: bool,
}

pub(crate) async fn views(State(shared): State<Arc<Shared>>, place: Place) -> Answer {
    let body = html! {
        h1 { "Views" }
        @if shared.store.is_none() {
            (nothing("Views are read in the process that has the store open. This page reads beside it."))
        } @else if shared.projections.is_empty() && shared.pasts.is_empty() {
            (nothing("No view is shown: the application registers its projections with Studio::projection."))
        }
        ul.cards {
            @for (name, handle) in &shared.projections { li { (card(&place, name, handle)) } }
            @for name in shared.pasts.keys().filter(|name| !shared.projections.contains_key(**name)) {
                li { a.card href=(place.page(&format!("/views/{}", encoded(name)))) {
                    strong { (Visible(name)) } span { "only as of an earlier time" }
                } }
            }
        }
    };
    let title = "Views".to_owned();
    Ok(Page { place, tab: Some(Tab::Views), title, script: Some("page.js"), body })
}

fn card(place: &Place, name: &str, handle: &ProjectionHandle) -> Markup {
    let status = handle.status();
    html! {
        a.card href=(place.page(&format!("/views/{}", encoded(name)))) {
            strong { (Visible(name)) }
            span { "up to " (number(status.checkpoint.get())) }
            @if status.lag > 0 { span.warn { (number(status.lag)) " behind" } }
        }
    }
}

pub(crate) async fn view(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer {
    let (asked, view) = (wanted.clone(), name.clone());
    let read = move |shared: &Shared| read(shared, &view, &asked);
    // Folding a view again reads all of its events.
    let rows = match wanted.at.is_empty() {
        true => shared.blocking(read).await,
        false => shared.heavy(read).await,
    };
    let rows = rows.map_err(|fault| Faulty(place.clone(), fault))?;
    let body = page(&place, &name, &wanted, &rows);
    let title = format!("View {name}");
    Ok(Page { place, tab: Some(Tab::Views), title, script: Some("page.js"), body })
}

fn unknown(name: &str) -> Fault {
    Fault::not_found(format!("no view {:?} is registered with the studio", plain(name, 100)))
}

fn store(shared: &Shared) -> Result<&Store, Fault> {
    shared
        .store
        .as_ref()
        .ok_or_else(|| Fault::not_found("views are read in the process that has them"))
}

fn read(shared: &Shared, name: &str, wanted: &Wanted) -> Result<Rows, Fault> {
    let (prefix, after) = (wanted.prefix.as_str(), wanted.after.as_str());
    let past = shared.pasts.get(name);
    let (mut rows, then) = match (wanted.at.as_str(), past, shared.projections.get(name)) {
        ("", _, Some(handle)) => (newest(handle, prefix, after)?, None),
        (at, Some(past), _) => {
            let time = if at.is_empty() { Utc::now() } else { parse_time(at)? };
            let (rows, then) = past.rows(store(shared)?, time, prefix, after)?;
            (rows, Some(then))
        }
        (_, None, Some(_)) => {
            let why = format!(
                "{name} is not registered with Studio::past, so only its newest rows are known"
            );
            return Err(Fault::bad_request(why));
        }
        (_, None, None) => return Err(unknown(name)),
    };
    let has_more = rows.len() > PAGE_ROWS;
    rows.truncate(PAGE_ROWS);
    Ok(Rows { rows, has_more, then, can_go_back: past.is_some() })
}

fn page(place: &Place, name: &str, wanted: &Wanted, rows: &Rows) -> Markup {
    let path = format!("/views/{}", encoded(name));
    let next = rows.rows.last().filter(|_| rows.has_more).map(|last| {
        place.with(&path, &[("prefix", &wanted.prefix), ("at", &wanted.at), ("after", &last.key)])
    });
    html! {
        div.bar {
            h1 { (Visible(name)) }
            form action=(place.page(&path)) method="get" {
                span.field {
                    label for="prefix" { "Key begins with" }
                    input id="prefix" name="prefix" type="search" value=(wanted.prefix) autocomplete="off"
                        spellcheck="false";
                }
                @if rows.can_go_back {
                    span.field {
                        label for="at" { "As of (UTC)" }
                        input id="at" name="at" type="datetime-local" step="1" value=(wanted.at);
                    }
                }
                button { "Show" }
            }
        }
        @if let Some(Then { time: at, position, skipped }) = rows.then {
            p.about {
                "As it was at " (time(at)) ", up to position " (number(position.get())) ". "
                a href=(place.with(&path, &[("prefix", &wanted.prefix)])) { "As it is now" }
            }
            (left_out(skipped))
        }
        @if rows.rows.is_empty() { (nothing("No row has such a key.")) }
        div.rows {
            @for row in &rows.rows {
                section.viewrow {
                    h2 {
                        (Visible(&row.key))
                        @if rows.can_go_back {
                            " " a.again href=(place.with(&format!("{path}/row"), &[("key", &row.key)])) { "Why?" }
                        }
                    }
                    (value::json(&row.json))
                }
            }
        }
        @if let Some(next) = next { p.pages { a rel="next" href=(next) { "The next " (PAGE_ROWS) } } }
    }
}

/// The events that wrote a row.
pub(crate) async fn row(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Path(name): Path<String>,
    Query(WantedRow { key }): Query<WantedRow>,
) -> Answer {
    let (view, asked) = (name.clone(), key.clone());
    let explained = shared.heavy(move |shared| {
        let past = shared.pasts.get(view.as_str()).ok_or_else(|| unknown(&view))?;
        Ok(past.explain(store(shared)?, &asked)?)
    });
    let explained = explained.await.map_err(|fault| Faulty(place.clone(), fault))?;
    let body = explanation(&place, &name, &key, &explained);
    let title = format!("Why {key}");
    Ok(Page { place, tab: Some(Tab::Views), title, script: Some("page.js"), body })
}

fn explanation(place: &Place, name: &str, key: &str, explained: &Explanation) -> Markup {
    html! {
        div.bar { h1 { "Why does " (Visible(name)) " have this row?" } }
        p.about {
            (Visible(key)) " · "
            a href=(place.with(&format!("/views/{}", encoded(name)), &[("prefix", key)])) { "The row as it is now" }
        }
        @if explained.changes.is_empty() { (nothing("No event that was looked at wrote a row with this key.")) }
        (left_out(explained.skipped))
        @if explained.earlier > 0 { p.more { (explained.earlier) " earlier changes are not shown." } }
        @if !explained.is_complete { p.more { "Only a part of the log was looked at." } }
        ol.changes {
            @for change in &explained.changes {
                li {
                    p {
                        a.type href=(place.film(&change.event.stream, Some(change.event.version))) {
                            (Visible(&change.event.event_type))
                        }
                        " " span.name { (Visible(change.event.stream.as_str())) }
                        " " (time(change.event.recorded_at))
                    }
                    @match &change.after {
                        Some(after) => (value::state(change.before.as_ref(), after)),
                        None => p.removed { "The row was deleted." },
                    }
                }
            }
        }
    }
}

fn left_out(events: u64) -> Markup {
    html! {
        @if events > 0 {
            p.warn { "Events that were left out, because the projection fails on them: " (number(events)) "." }
        }
    }
}
