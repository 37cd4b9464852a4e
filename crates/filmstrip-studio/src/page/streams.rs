//! The streams of a store: by name, by category, and those written last.

use super::parts::{cell_time, event_heading, event_rows, nothing, number, stream_link, unit};
use super::{Answer, Faulty, Page, Tab};
use crate::limits::{PAGE_ROWS, RECENT_EVENTS};
use crate::place::Place;
use crate::shared::Shared;
use crate::source::{self, Brief, Listed, StreamQuery};
use crate::text::Visible;
use axum::extract::{Query, State};
use filmstrip::{Filter, StreamId};
use maud::{Markup, html};
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;

#[derive(Deserialize, Clone)]
pub(crate) struct Wanted {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    after: String,
}

struct Lists {
    streams: source::Page<Listed>,
    categories: source::Page<String>,
    /// The newest event of each of the streams written last.
    recent: Vec<Brief>,
}

/// Streams among those written last.
const RECENT_STREAMS: usize = 8;

pub(crate) async fn streams(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Query(wanted): Query<Wanted>,
) -> Answer {
    let asked = wanted.clone();
    let read = shared.blocking(move |shared| {
        let source = &shared.source;
        let query = StreamQuery {
            prefix: asked.prefix,
            category: (!asked.category.is_empty()).then_some(asked.category),
            after: (!asked.after.is_empty()).then(|| StreamId::new(asked.after)).transpose()?,
        };
        let mut seen = HashSet::new();
        let mut recent = source.latest(Filter::all(), RECENT_EVENTS as usize)?.rows;
        recent.retain(|event| seen.insert(event.stream.clone()));
        recent.truncate(RECENT_STREAMS);
        Ok(Lists { streams: source.streams(query)?, categories: source.categories()?, recent })
    });
    let lists = read.await.map_err(|fault| Faulty(place.clone(), fault))?;
    let body = page(&place, &wanted, &lists);
    let title = "Streams".to_owned();
    Ok(Page { place, tab: Some(Tab::Streams), title, script: Some("page.js"), body })
}

fn page(place: &Place, wanted: &Wanted, lists: &Lists) -> Markup {
    html! {
        div.bar {
            h1 { "Streams" }
            form action=(place.page("/streams")) method="get" role="search" {
                @if !wanted.category.is_empty() {
                    input type="hidden" name="category" value=(wanted.category);
                }
                span.field {
                    label for="prefix" { "Name begins with" }
                    input id="prefix" name="prefix" type="search" value=(wanted.prefix) autocomplete="off"
                        spellcheck="false";
                }
                button { "Search" }
            }
        }
        (categories(place, wanted, &lists.categories))
        @let is_asked = [&wanted.prefix, &wanted.category, &wanted.after].iter().any(|it| !it.is_empty());
        // Below each other in a narrow window, where the list is long.
        div.split {
            @if is_asked { (list(place, wanted, &lists.streams)) (recent(place, lists)) }
            @else { (recent(place, lists)) (list(place, wanted, &lists.streams)) }
        }
    }
}

fn recent(place: &Place, lists: &Lists) -> Markup {
    html! {
        section aria-labelledby="recent" {
            h2 id="recent" { "Written last" }
            @if lists.recent.is_empty() { (nothing("Nothing was recorded yet.")) }
            @else { div.wide { table.events {
                thead { (event_heading()) }
                tbody { (event_rows(place, &lists.recent)) }
            } } }
        }
    }
}

fn categories(place: &Place, wanted: &Wanted, categories: &source::Page<String>) -> Markup {
    let link = |name: &str, shown: Markup| {
        let is_current = wanted.category == name;
        html! {
            a href=(place.with("/streams", &[("category", name), ("prefix", &wanted.prefix)]))
                aria-current=[is_current.then_some("true")] { (shown) }
        }
    };
    html! {
        nav.categories aria-label="Categories" {
            (link("", html! { "All" }))
            @for category in &categories.rows { (link(category, html! { (Visible(category)) })) }
            @if categories.has_more { span.more { "and more" } }
        }
    }
}

fn list(place: &Place, wanted: &Wanted, page: &source::Page<Listed>) -> Markup {
    let next = page.rows.last().filter(|_| page.has_more).map(|last| {
        let parameters = [
            ("category", wanted.category.as_str()),
            ("prefix", &wanted.prefix),
            ("after", last.stream.as_str()),
        ];
        place.with("/streams", &parameters)
    });
    html! { section aria-labelledby="by-name" {
        h2 id="by-name" { "By name" }
        @if page.rows.is_empty() { (nothing("No stream has such a name.")) }
        @else {
            div.wide {
                table.streams {
                    thead { tr {
                        th scope="col" { "Stream" } th.number scope="col" { "Events" }
                        th scope="col" { "Last written (UTC)" } th scope="col" { "Created (UTC)" }
                    } }
                    tbody { @for listed in &page.rows { tr {
                        td { (stream_link(place, &listed.stream)) }
                        td.number { (number(listed.version.get())) span.unit { (unit(listed.version.get())) } }
                        td { (cell_time(listed.last_written)) }
                        td { (cell_time(listed.created)) }
                    } } }
                }
            }
        }
        @if page.is_partial {
            p.more { "Streams of older events are not listed, because this page reads beside another process." }
        }
        @if let Some(next) = next { p.pages { a rel="next" href=(next) { "The next " (PAGE_ROWS) } } }
    } }
}
