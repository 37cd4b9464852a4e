//! One stream as a film: frames in time, and for one of them the event and the state after it.

use super::parts::{events, gap, number, time};
use super::{Answer, Faulty, Page, Tab, value};
use crate::fault::Fault;
use crate::limits::STRIP_SIDE;
use crate::place::Place;
use crate::shared::Shared;
use crate::source::{Brief, Listed};
use crate::states::{Around, NoState};
use crate::text::{Visible, plain};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use filmstrip::chrono::{DateTime, NaiveDateTime, Utc};
use filmstrip::{RecordedEvent, StreamId, Version};
use maud::{Markup, html};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Wanted {
    /// Where the path does not name it.
    stream: Option<String>,
    version: Option<String>,
    /// The last frame at or before this time.
    at: Option<String>,
}

/// What the page shows.
struct Film {
    stream: Listed,
    /// The frames around the one that is shown.
    strip: Vec<Brief>,
    event: RecordedEvent,
    /// `None` if no aggregate of the category is registered.
    state: Option<Result<Around, NoState>>,
}

pub(crate) async fn of_path(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Path(stream): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    film(shared, place, stream, wanted).await
}

pub(crate) async fn of_query(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Query(mut wanted): Query<Wanted>,
) -> Response {
    match wanted.stream.take() {
        Some(stream) => film(shared, place, stream, wanted).await,
        None => Redirect::to(&place.page("/streams")).into_response(),
    }
}

async fn film(shared: Arc<Shared>, place: Place, stream: String, wanted: Wanted) -> Response {
    let stream = match StreamId::new(stream) {
        Ok(stream) => stream,
        Err(error) => return Faulty(place, error.into()).into_response(),
    };
    match wanted.at.as_deref().filter(|at| !at.is_empty()) {
        Some(at) => match frame_at(&shared, &stream, at).await {
            Ok(version) => Redirect::to(&place.film(&stream, Some(version))).into_response(),
            Err(fault) => Faulty(place, fault).into_response(),
        },
        None => answer(shared, place, stream, wanted.version).await.into_response(),
    }
}

async fn frame_at(shared: &Arc<Shared>, stream: &StreamId, at: &str) -> Result<Version, Fault> {
    let time = parse_time(at)?;
    let stream = stream.clone();
    let at = plain(at, 100);
    shared
        .blocking(move |shared| match shared.source.version_at(&stream, time)? {
            Version::NONE => {
                let name = plain(stream.as_str(), 200);
                let why = format!("{name} has no event at or before {at}");
                Err(Fault::not_found(why).beside(&stream))
            }
            version => Ok(version),
        })
        .await
}

/// A time as RFC 3339 writes it, or as a browser's field does, which is then in UTC.
pub(crate) fn parse_time(text: &str) -> Result<DateTime<Utc>, Fault> {
    if let Ok(time) = text.parse::<DateTime<Utc>>() {
        return Ok(time);
    }
    let forms = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f"];
    let time = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    time.map(|time| time.and_utc()).ok_or_else(|| {
        let met = plain(text, 100);
        Fault::bad_request(format!("{met:?} is not a time such as 2026-01-31T09:30 (UTC)"))
    })
}

async fn answer(
    shared: Arc<Shared>,
    place: Place,
    stream: StreamId,
    version: Option<String>,
) -> Answer {
    let film = shared.blocking(move |shared| read(shared, &stream, version.as_deref())).await;
    let film = film.map_err(|fault| Faulty(place.clone(), fault))?;
    let title = format!("{} @{}", film.stream.stream, film.event.version);
    let body = page(&place, &film);
    Ok(Page { place, tab: Some(Tab::Streams), title, script: Some("film.js"), body })
}

fn read(shared: &Shared, stream: &StreamId, version: Option<&str>) -> Result<Film, Fault> {
    let name = || plain(stream.as_str(), 200);
    let Some(listed) = shared.source.stream(stream)? else {
        return Err(Fault::not_found(format!("there is no stream {}", name())));
    };
    let last = listed.version.get();
    let version = match version.filter(|version| !version.is_empty()) {
        None => last,
        Some(text) => text.parse().ok().filter(|v| (1..=last).contains(v)).ok_or_else(|| {
            let met = plain(text, 40);
            let why = format!("{} has the versions 1 to {last}; {met:?} is none of them", name());
            Fault::not_found(why).beside(stream)
        })?,
    };
    let first = version.saturating_sub(STRIP_SIDE + 1);
    // Not beyond the last one: looking for later events beside a busy writer reads all that its index lacks.
    let until = Version::new(version.saturating_add(STRIP_SIDE)).min(listed.version);
    let (mut strip, mut shown) = (Vec::new(), None);
    for event in shared.source.events(stream, Version::new(first), until)? {
        let event = event?;
        strip.push(Brief::of(&event));
        if event.version.get() == version {
            shown = Some(event);
        }
    }
    let event = shown.ok_or_else(|| {
        let why = format!("version {version} of {} was not found where it should be", name());
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    })?;
    let states = shared.states.get(stream.category());
    let state = states.map(|states| states.around(&*shared.source, stream, event.version));
    Ok(Film { stream: listed, strip, event, state })
}

fn page(place: &Place, film: &Film) -> Markup {
    let Film { stream, strip, event, state } = film;
    html! {
        section.film id="film" data-version=(event.version) data-last=(stream.version) {
            div.title {
                h1 { (Visible(stream.stream.as_str())) }
                p.about {
                    a href=(place.with("/streams", &[("category", stream.stream.category())])) {
                        (Visible(stream.stream.category()))
                    }
                    " · " (events(stream.version.get())) " · "
                    (time(stream.created)) " to " (time(stream.last_written))
                }
            }
            ol.strip id="strip" aria-label="Frames" { (frames(place, strip, event)) }
            (controls(place, stream, event))
            article.frame id="frame" { (frame(place, event, state.as_ref())) }
        }
    }
}

fn frames(place: &Place, strip: &[Brief], shown: &RecordedEvent) -> Markup {
    let before = std::iter::once(None).chain(strip.iter().map(Some));
    html! {
        @for (brief, before) in strip.iter().zip(before) {
            @let is_shown = brief.version == shown.version;
            li {
                a.cell href=(place.film(&shown.stream, Some(brief.version)))
                    aria-current=[is_shown.then_some("true")] {
                    span.version { (number(brief.version.get())) }
                    span.type { (humps(&brief.event_type)) }
                    span.gap {
                        @match before {
                            Some(before) => (gap(brief.recorded_at - before.recorded_at)),
                            None => (brief.recorded_at.format("%Y-%m-%d")),
                        }
                    }
                }
            }
        }
    }
}

/// A name that may be broken before its capital letters.
fn humps(name: &str) -> Markup {
    let starts = name.char_indices().filter(|(at, char)| *at > 0 && char.is_uppercase());
    let ends = starts.map(|(at, _)| at).take(8).chain([name.len()]);
    let mut from = 0;
    html! {
        @for end in ends {
            @if from > 0 { wbr; }
            (Visible(&name[std::mem::replace(&mut from, end)..end]))
        }
    }
}

/// Links to other frames, and fields that name one.
fn controls(place: &Place, stream: &Listed, event: &RecordedEvent) -> Markup {
    let (version, last) = (event.version.get(), stream.version.get());
    let steps = [
        ("first", "First frame", "M3 3h2v10H3zM13 3v10L6 8z", 1),
        ("previous", "Previous frame", "M11 3v10L4 8z", version.saturating_sub(1).max(1)),
        ("next", "Next frame", "M5 3v10l7-5z", (version + 1).min(last)),
        ("last", "Last frame", "M11 3h2v10h-2zM3 3v10l7-5z", last),
    ];
    let address = place.film(&event.stream, None);
    let (action, query) = address.split_once('?').unwrap_or((&address, ""));
    let stream =
        html! { @if !query.is_empty() { input type="hidden" name="stream" value=(event.stream); } };
    html! {
        div.controls role="group" aria-label="Move through the film" {
            @for (id, name, shape, to) in steps {
                @if id == "next" {
                    button.step id="play" type="button" hidden aria-pressed="false" aria-label="Play" {
                        (icon("M5 2v12l8-6z")) (icon("M4 4h8v8H4z"))
                    }
                }
                a.step data-step=(id) aria-label=(name) title=(name)
                    href=(place.film(&event.stream, Some(Version::new(to)))) {
                    (icon(shape))
                }
            }
            form.scrub action=(action) method="get" {
                (stream)
                input id="scrub" type="range" name="version" min="1" max=(last) value=(version)
                    aria-label="Version" autocomplete="off";
                button.plain id="show" { "Show" }
            }
            output id="place" for="scrub" { (number(version)) " of " (number(last)) }
            form.jump action=(action) method="get" {
                (stream)
                label for="version" { "Version" }
                input id="version" name="version" type="number" min="1" max=(last) required;
                button { "Go" }
            }
            form.jump action=(action) method="get" {
                (stream)
                label for="at" { "Time (UTC)" }
                input id="at" name="at" type="datetime-local" step="1" required;
                button { "Go" }
            }
        }
    }
}

/// A sign drawn as a path, in a square of 16.
fn icon(path: &str) -> Markup {
    html! { svg.icon viewBox="0 0 16 16" aria-hidden="true" { path d=(path) fill-rule="evenodd" {} } }
}

fn frame(place: &Place, event: &RecordedEvent, state: Option<&Result<Around, NoState>>) -> Markup {
    html! {
        header {
            h2 { (Visible(&event.event_type)) }
            p.about { "version " (number(event.version.get())) " · " (time(event.recorded_at)) }
        }
        div.columns {
            section { h3 { "Data" } (value::payload(place, event)) }
            @if let Some(state) = state {
                section.state {
                    h3 { "State after it" }
                    @match state {
                        Ok(Around { before, after }) => (value::state(before.as_ref(), after)),
                        Err(why) => p.error { (Visible(&why.to_string())) },
                    }
                }
            }
            section { h3 { "Event" } (about(place, event)) }
        }
    }
}

/// Everything about an event but its payload.
fn about(place: &Place, event: &RecordedEvent) -> Markup {
    let metadata = &event.metadata;
    html! {
        dl.about {
            (row("position", html! { (number(event.position.get())) }))
            (row("id", html! { code { (event.id) } " " a href=(place.why(event.id)) { "Why?" } }))
            @if event.occurred_at != event.recorded_at {
                (row("occurred", time(event.occurred_at)))
            }
            (row("schema", html! { (event.schema_version) }))
            @if event.tags().len() > 0 {
                (row("tags", html! {
                    @for tag in event.tags() {
                        a.tag href=(place.with("/live", &[("tag", tag)])) { (Visible(tag)) } " "
                    }
                }))
            }
            @if let Some(user) = &metadata.user { (row("user", html! { (Visible(user)) })) }
            @if let Some(id) = metadata.causation_id {
                (row("caused by", html! { a href=(place.why(id)) { code { (id) } } }))
            }
            @if let Some(id) = metadata.correlation_id {
                (row("correlation", html! { code { (id) } }))
            }
            @if let Some(id) = metadata.command_id { (row("command", html! { code { (id) } })) }
            @for (key, value) in &metadata.entries { (row(key, html! { (Visible(value)) })) }
        }
    }
}

fn row(key: &str, value: Markup) -> Markup {
    html! { div.row { dt { (Visible(key)) } dd { (value) } } }
}
