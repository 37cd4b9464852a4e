//! What an operator asks: is it well, and how much does it do?

use crate::problem::Problem;
use crate::state::Shop;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use filmstrip::health::Writes;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of all histograms in seconds, from a cached read to a slow disk.
const SECONDS: [f64; 12] =
    [0.000_1, 0.000_3, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 5.0];
/// How often the recorder throws away what no scrape needs any more.
const UPKEEP: Duration = Duration::from_secs(5);

pub fn routes(recorder: PrometheusHandle) -> Router<Shop> {
    let scrape = async move |State(shop): State<Shop>| -> Result<Response, Problem> {
        // It looks at files, so not on this thread.
        shop.store.run(|store| store.record_metrics()).await??;
        let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
        Ok((kind, recorder.render()).into_response())
    };
    Router::new().route("/health", get(health)).route("/metrics", get(scrape))
}

/// Takes the metrics of this program, the store's among them. Call it before the store is opened.
pub fn record() -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    let handle = builder.install_recorder()?;
    let kept = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}

/// 200 while the store accepts commits, otherwise 503. The body says more: a view that has stopped at an error is an
/// operator's matter, and no reason to send clients elsewhere.
async fn health(State(shop): State<Shop>) -> Result<Response, Problem> {
    // Not on the store's pool, which may be busy just when this is asked.
    let store = shop.store.sync().clone();
    let health = tokio::task::spawn_blocking(move || store.health()).await;
    let health =
        health.map_err(|panic| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, panic))??;
    let status = match health.writes {
        Writes::Accepting => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, Json(health)).into_response())
}

/// Counts requests by route and status, and their seconds. A route is bounded, a path is not.
pub async fn measure(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let method = match *request.method() {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE => {
            request.method().as_str().to_owned()
        }
        // Any word is a method, and each would be a series of its own.
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    let seconds = begun.elapsed().as_secs_f64();
    let labels = [("method", method), ("route", route)];
    metrics::histogram!("http_request_duration_seconds", &labels).record(seconds);
    let [method, route] = labels;
    metrics::counter!("http_requests_total", &[method, route, ("status", status)]).increment(1);
    response
}
