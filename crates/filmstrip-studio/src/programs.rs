//! Answers for programs, such as the command line: what runs and what it has parked, as JSON.
//!
//! They pass the same guard as pages. To a program that accepts `application/json`, a refusal is JSON too.

use crate::fault::Fault;
use crate::followers::{Waiting, error_of, has_group, parked, unknown};
use crate::limits::PARKED_LISTED_MAX;
use crate::page::Faulty;
use crate::place::Place;
use crate::shared::Shared;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use filmstrip::Store;
use filmstrip::health::{FollowerKind, FollowerStats};
use serde::Serialize;
use std::sync::Arc;

/// Why a request was refused or has failed, which its answer carries beside the page that says so.
#[derive(Clone)]
pub(crate) struct Why(pub(crate) String);

#[derive(Serialize)]
struct Running {
    followers: Vec<Follower>,
}

#[derive(Serialize)]
struct Follower {
    #[serde(flatten)]
    stats: FollowerStats,
    /// The error that has stopped it, if one has.
    error: Option<String>,
}

#[derive(Serialize)]
struct Parked {
    parked: Vec<Waiting>,
    /// How many are not in the list.
    more: usize,
}

/// Whether the program that asks wants JSON.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|it| it.to_str().ok());
    accepted.flat_map(|it| it.split(',')).any(|kind| kind.trim() == "application/json")
}

/// The same refusal as JSON, if `response` is one.
pub(crate) fn refusal(response: Response) -> Response {
    let Some(Why(why)) = response.extensions().get().cloned() else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, JSON);
    (parts, serde_json::json!({ "error": why }).to_string()).into_response()
}

const JSON: header::HeaderValue = header::HeaderValue::from_static("application/json");

pub(crate) async fn running(State(shared): State<Arc<Shared>>, place: Place) -> Response {
    let read = shared.blocking(|shared| {
        let store = open(shared)?;
        let (stats, health) = (store.stats()?, store.health()?);
        let follower = |stats: FollowerStats| Follower { error: error_of(&health, &stats), stats };
        let followers = stats.followers.into_iter().map(follower).collect();
        Ok(Running { followers })
    });
    answer(place, read.await)
}

pub(crate) async fn waiting(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Path((kind, name)): Path<(String, String)>,
) -> Response {
    let read = shared.blocking(move |shared| {
        let store = open(shared)?;
        let (of_kind, is_known) = match kind.as_str() {
            "projection" => (FollowerKind::Projection, shared.projections.contains_key(&name)),
            "process" => (FollowerKind::Process, shared.processes.contains_key(&name)),
            "group" => (FollowerKind::Group, has_group(store, &name)?),
            _ => return Err(unknown("follower", &name)),
        };
        if !is_known {
            return Err(unknown(&kind, &name));
        }
        let mut parked = parked(shared, of_kind, &name)?;
        let more = parked.len().saturating_sub(PARKED_LISTED_MAX);
        parked.truncate(PARKED_LISTED_MAX);
        Ok(Parked { parked, more })
    });
    answer(place, read.await)
}

fn open(shared: &Shared) -> Result<&Store, Fault> {
    shared.store.as_ref().ok_or_else(|| {
        Fault::not_found(
            "what follows the log runs in the process that has the store open; this studio reads beside it",
        )
    })
}

fn answer(place: Place, read: Result<impl Serialize, Fault>) -> Response {
    let json = read.and_then(|read| {
        serde_json::to_string(&read)
            .map_err(|error| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error))
    });
    match json {
        Ok(json) => ([(header::CONTENT_TYPE, JSON)], json).into_response(),
        Err(fault) => Faulty(place, fault).into_response(),
    }
}
