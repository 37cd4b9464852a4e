//! Where the field at the top leads: a stream, an event by its id, or a position.

use super::Faulty;
use crate::fault::Fault;
use crate::place::Place;
use crate::shared::Shared;
use crate::text::plain;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use filmstrip::read::PayloadFormat;
use filmstrip::uuid::Uuid;
use filmstrip::{Filter, Position, RecordedEvent, StreamId};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    q: String,
}

pub(crate) async fn go(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Query(Wanted { q }): Query<Wanted>,
) -> Response {
    let to = place.clone();
    match shared.blocking(move |shared| find(shared, &to, q.trim())).await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(fault) => Faulty(place, fault).into_response(),
    }
}

fn find(shared: &Shared, place: &Place, wanted: &str) -> Result<String, Fault> {
    if let Ok(id) = Uuid::parse_str(wanted) {
        let event = shared.source.why(id)?.event;
        let event = event.ok_or_else(|| {
            Fault::not_found(format!("no event with the id {id} was found among those looked at"))
        })?;
        return Ok(place.film(&event.stream, Some(event.version)));
    }
    if let Ok(position) = wanted.replace(',', "").parse::<u64>() {
        let event = event_at(shared, position)?;
        return Ok(place.film(&event.stream, Some(event.version)));
    }
    // A stream of this name, or those whose names begin with it.
    match StreamId::new(wanted) {
        Ok(stream) if shared.source.stream(&stream)?.is_some() => Ok(place.film(&stream, None)),
        _ => Ok(place.with("/streams", &[("prefix", wanted)])),
    }
}

fn event_at(shared: &Shared, position: u64) -> Result<RecordedEvent, Fault> {
    let range = (Position::new(position.saturating_sub(1)), Position::new(position));
    let event = shared.source.all(range.0, range.1, Filter::all())?.next().transpose()?;
    event.filter(|event| event.position == range.1).ok_or_else(|| {
        Fault::not_found(format!("there is no event of the application at position {position}"))
    })
}

/// A payload as a file, of which nothing is shown by the browser.
pub(crate) async fn payload(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Path(position): Path<String>,
) -> Response {
    let event = shared.blocking(move |shared| match position.parse() {
        Ok(position) => event_at(shared, position),
        Err(_) => {
            let met = plain(&position, 40);
            Err(Fault::new(StatusCode::BAD_REQUEST, format!("{met:?} is not a position")))
        }
    });
    match event.await {
        Ok(event) => {
            let (kind, ending) = match event.format {
                PayloadFormat::Json => ("text/plain; charset=utf-8", "json.txt"),
                _ => ("application/octet-stream", "bin"),
            };
            let name = format!("attachment; filename=\"event-{}.{ending}\"", event.position);
            let headers =
                [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)];
            (headers, event.payload).into_response()
        }
        Err(fault) => Faulty(place, fault).into_response(),
    }
}
