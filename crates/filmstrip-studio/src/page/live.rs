//! The global sequence as it grows.

use super::events::Wanted;
use super::parts::{event_heading, event_rows, nothing, number};
use super::{Answer, Faulty, Page, Tab};
use crate::limits::PAGE_ROWS;
use crate::place::Place;
use crate::shared::Shared;
use crate::source::Brief;
use axum::extract::{Query, State};
use filmstrip::Position;
use maud::{Markup, html};
use std::sync::Arc;

pub(crate) async fn live(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Query(wanted): Query<Wanted>,
) -> Answer {
    let filter = wanted.filter();
    let read = shared.blocking(move |shared| {
        // The head first: what comes between the two is shown twice, and known by its position.
        let head = shared.source.head()?;
        Ok((head, shared.source.latest(filter, PAGE_ROWS)?.rows))
    });
    let (head, rows) = read.await.map_err(|fault| Faulty(place.clone(), fault))?;
    let body = page(&place, &wanted, head, &rows);
    let title = "Live".to_owned();
    Ok(Page { place, tab: Some(Tab::Live), title, script: Some("live.js"), body })
}

fn page(place: &Place, wanted: &Wanted, head: Position, rows: &[Brief]) -> Markup {
    let field = |name: &str, label: &str, value: &str| {
        html! {
            span.field {
                label for=(name) { (label) }
                input id=(name) name=(name) value=(value) autocomplete="off" spellcheck="false";
            }
        }
    };
    let events = place.with("/live/events", &wanted.parameters());
    html! {
        div.bar {
            h1 { "Live" }
            form action=(place.page("/live")) method="get" {
                (field("category", "Category", &wanted.category))
                (field("type", "Type", &wanted.event_type))
                (field("tag", "Tag", &wanted.tag))
                button { "Filter" }
            }
        }
        div.meter id="live" data-events=(events) data-head=(head) data-rows=(PAGE_ROWS) {
            span.state id="state" role="status" { "Reload the page to see what is new" }
            span { "head " output id="head" { (number(head.get())) } }
            span { output id="rate" { "–" } " events/s" }
            svg id="spark" class="spark" viewBox="0 0 120 24" preserveAspectRatio="none" aria-hidden="true" {
                polyline points="" {}
            }
            button id="pause" type="button" hidden aria-pressed="false" { "Pause" }
        }
        div.wide {
            table.events aria-label="Events, the newest first" {
                thead { (event_heading()) }
                tbody id="events" { (event_rows(place, rows)) }
            }
            (nothing("No such event among the newest ones."))
        }
    }
}
