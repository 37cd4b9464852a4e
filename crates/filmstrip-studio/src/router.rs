//! The pages by their paths, behind the guard.

use crate::fault::Fault;
use crate::guard::{Admission, protect};
use crate::limits::BODY_BYTES_MAX;
use crate::page::{Faulty, events, film, go, live, running, store, streams, views, why};
use crate::place::Place;
use crate::shared::Shared;
use crate::{assets, operate, programs};
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, OriginalUri, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use std::sync::Arc;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(async |place: Place| Redirect::to(&place.page("/streams"))))
        .route("/streams", get(streams::streams))
        .route("/film", get(film::of_query))
        .route("/film/{stream}", get(film::of_path))
        .route("/payload/{position}", get(go::payload))
        .route("/why/{event}", get(why::why))
        .route("/live", get(live::live))
        .route("/live/events", get(events::events))
        .route("/views", get(views::views))
        .route("/views/{name}", get(views::view))
        .route("/views/{name}/row", get(views::row))
        .route("/running", get(running::running))
        .route("/running.json", get(programs::running))
        .route("/running/{kind}/{name}/parked.json", get(programs::waiting))
        .route("/running/{kind}/{name}/{action}", post(operate::act))
        .route("/store", get(store::store))
        .route("/store/verify", post(operate::verify))
        .route("/go", get(go::go))
        .route("/assets/{edition}/{name}", get(assets::asset))
        .fallback(async |place: Place| Faulty(place, Fault::not_found("there is no such page")))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&shared), guarded))
        .with_state(shared)
}

async fn guarded(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let wants_json = programs::wants_json(request.headers());
    let (mut parts, body) = request.into_parts();
    let Ok(place) = Place::from_request_parts(&mut parts, &()).await;
    let whole = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
    let mut response = match shared.guard.admit(&parts.method, whole, &parts.headers) {
        Admission::Admitted => next.run(Request::from_parts(parts, body)).await,
        Admission::SignedIn { cookie, to } => {
            let mut response = Redirect::to(&to).into_response();
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Admission::Refused(status, why) => {
            let mut response = Faulty(place, Fault::new(status, why)).into_response();
            if status == StatusCode::UNAUTHORIZED {
                let bearer = header::HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
            }
            response
        }
    };
    if wants_json {
        response = programs::refusal(response);
    }
    protect(response.headers_mut());
    response
}
