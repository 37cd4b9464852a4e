//! Live events in the browser: server-sent events, which a browser resumes by itself after a lost connection.

use crate::problem::Problem;
use crate::state::Shop;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use filmstrip::{Position, RecordedEvent};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

pub fn routes() -> Router<Shop> {
    Router::new().route("/events", get(events))
}

#[derive(Deserialize)]
struct Wanted {
    /// Only the events of this category.
    category: Option<String>,
}

/// What a browser gets of an event.
#[derive(Serialize)]
struct Shown<'a> {
    stream: &'a str,
    version: u64,
    recorded_at: chrono::DateTime<chrono::Utc>,
    data: serde_json::Value,
}

/// The events after `Last-Event-ID`; without it, those that come from now on. The id of each is its position.
async fn events(
    State(shop): State<Shop>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = shop.live_clients.clone().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many clients follow live events")
    })?;
    let after = match headers.get("last-event-id") {
        None => shop.store.head(),
        Some(id) => position(id.to_str().ok()).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "Last-Event-ID is not the id of an event")
        })?,
    };
    let mut subscription = shop.store.subscribe().after(after);
    if let Some(category) = &wanted.category {
        subscription = subscription.category(category.as_str());
    }
    let events = subscription.into_stream()?.take_until(shop.ends.clone().cancelled_owned());
    let shown = events.map(move |event| {
        // The place is free again when the browser leaves, because that drops this closure.
        let _ = &place;
        Ok(match event {
            Ok(event) => shown(&event),
            Err(error) => {
                tracing::error!(%error, "live events end");
                Event::default().event("error").data("the events end here")
            }
        })
    });
    Ok(Sse::new(shown).keep_alive(KeepAlive::default()))
}

fn shown(event: &RecordedEvent) -> Event {
    let shown = Shown {
        stream: event.stream.as_str(),
        version: event.version.get(),
        recorded_at: event.recorded_at,
        data: event.json().unwrap_or_default(),
    };
    let id = event.position.to_string();
    let named = Event::default().id(id).event(event.event_type.as_str());
    named.json_data(&shown).unwrap_or_else(|_| Event::default())
}

fn position(id: Option<&str>) -> Option<Position> {
    id?.parse().ok().map(Position::new)
}
