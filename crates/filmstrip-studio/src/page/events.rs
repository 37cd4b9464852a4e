//! Live events as server-sent events, which a browser resumes by itself after a lost connection.
//!
//! Of a browser only its position is held: it reads for itself, a page at a time, when its connection has room. So a
//! slow one holds no memory and delays nobody.

use super::Faulty;
use crate::fault::Fault;
use crate::limits::{LIVE_EVENTS_MAX, LIVE_LAG_MAX, LIVE_POLL, LIVE_STEP, PREVIEW_BYTES};
use crate::place::Place;
use crate::shared::Shared;
use crate::source::Brief;
use crate::text::plain;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use filmstrip::chrono::SecondsFormat;
use filmstrip::{Filter, Position};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

/// What a browser wants to see.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    pub(crate) category: String,
    #[serde(default, rename = "type")]
    pub(crate) event_type: String,
    #[serde(default)]
    pub(crate) tag: String,
    /// The position that the page was made at.
    after: Option<u64>,
}

impl Wanted {
    pub(crate) fn filter(&self) -> Filter {
        let mut filter = Filter::all();
        if !self.category.is_empty() {
            filter = filter.and_category(self.category.as_str());
        }
        if !self.event_type.is_empty() {
            filter = filter.and_event_type(self.event_type.as_str());
        }
        if !self.tag.is_empty() {
            filter = filter.tagged(self.tag.as_str());
        }
        filter
    }

    pub(crate) fn parameters(&self) -> [(&str, &str); 3] {
        [("category", &self.category), ("type", &self.event_type), ("tag", &self.tag)]
    }
}

/// What a browser gets of an event. All text is as it may be shown.
#[derive(Serialize)]
struct Shown {
    position: u64,
    recorded: String,
    stream: String,
    version: u64,
    #[serde(rename = "type")]
    event_type: String,
    preview: String,
    film: String,
}

/// One browser.
struct Client {
    shared: Arc<Shared>,
    place: Place,
    filter: Filter,
    /// The position up to which it has everything that it wants.
    after: Position,
    /// The head that it was last told.
    told: Option<Position>,
    waiting: VecDeque<Event>,
    has_ended: bool,
    /// Free again when the browser leaves, because that drops this.
    _place: OwnedSemaphorePermit,
}

/// The events after `Last-Event-ID`; without it, after the page was made; otherwise, those that come from now on. The
/// id of each is its position.
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    match client(shared, place.clone(), &wanted, &headers).await {
        Ok(client) => {
            let ends = client.shared.ends.clone();
            let events = stream::unfold(client, next).map(Ok::<_, Infallible>);
            let keep_alive = KeepAlive::default();
            match ends {
                Some(ends) => {
                    Sse::new(events.take_until(ends)).keep_alive(keep_alive).into_response()
                }
                None => Sse::new(events).keep_alive(keep_alive).into_response(),
            }
        }
        Err(fault) => Faulty(place, fault).into_response(),
    }
}

async fn client(
    shared: Arc<Shared>,
    place: Place,
    wanted: &Wanted,
    headers: &HeaderMap,
) -> Result<Client, Fault> {
    let live = Arc::clone(&shared.bounds.live);
    let permit = live.try_acquire_owned().map_err(|_| {
        let why = "as many browsers as are allowed follow live events already";
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, why)
    })?;
    let last = headers.get("last-event-id").map(|id| {
        let position = id.to_str().ok().and_then(|id| id.parse().ok());
        position
            .map(Position::new)
            .ok_or_else(|| Fault::bad_request("Last-Event-ID is not the position of an event"))
    });
    let last = last.transpose()?;
    let filter = wanted.filter();
    let asked = filter.clone();
    let head = shared.blocking(move |shared| {
        let head = shared.source.head()?;
        // A filter that cannot be used is refused now, not in the stream.
        drop(shared.source.all(head, head, asked)?);
        Ok(head)
    });
    let head = head.await?;
    let after = last.or(wanted.after.map(Position::new)).unwrap_or(head).min(head);
    let (waiting, has_ended) = (VecDeque::new(), false);
    Ok(Client { shared, place, filter, after, told: None, waiting, has_ended, _place: permit })
}

async fn next(mut client: Client) -> Option<(Event, Client)> {
    loop {
        if let Some(event) = client.waiting.pop_front() {
            return Some((event, client));
        }
        if client.has_ended {
            return None;
        }
        match client.read().await {
            Ok(()) if client.waiting.is_empty() => sleep(LIVE_POLL).await,
            Ok(()) => {}
            Err(fault) => {
                client.has_ended = true;
                client
                    .waiting
                    .push_back(Event::default().event("fault").data(plain(&fault.why, 500)));
            }
        }
    }
}

impl Client {
    /// Reads what came since, if anything did.
    async fn read(&mut self) -> Result<(), Fault> {
        let (after, filter, place) = (self.after, self.filter.clone(), self.place.clone());
        let told = self.told;
        let read = self.shared.live(move |shared| {
            let head = shared.source.head()?;
            if told == Some(head) && after == head {
                return Ok(None);
            }
            let start = match head.get().saturating_sub(after.get()) > LIVE_LAG_MAX {
                true => Position::new(head.get() - LIVE_EVENTS_MAX as u64),
                false => after,
            };
            let until = Position::new(head.get().min(start.get() + LIVE_STEP));
            let mut reached = until;
            let mut events = Vec::new();
            for event in shared.source.all(start, until, filter)?.take(LIVE_EVENTS_MAX) {
                let event = Brief::of(&event?);
                reached = event.position;
                events.push(shown(&place, &event));
            }
            if events.len() < LIVE_EVENTS_MAX {
                reached = until;
            }
            Ok(Some((head, start, reached, events)))
        });
        let Some((head, start, reached, events)) = read.await? else { return Ok(()) };
        if start > self.after {
            let skipped = (start.get() - self.after.get()).to_string();
            self.waiting.push_back(Event::default().event("skipped").data(skipped));
        }
        self.waiting.extend(events);
        // After the events, so that a browser that resumes at this id has them.
        let id = reached.to_string();
        self.waiting.push_back(Event::default().event("head").id(id).data(head.to_string()));
        (self.after, self.told) = (reached, Some(head));
        Ok(())
    }
}

fn shown(place: &Place, event: &Brief) -> Event {
    let shown = Shown {
        position: event.position.get(),
        recorded: event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        stream: plain(event.stream.as_str(), PREVIEW_BYTES),
        version: event.version.get(),
        event_type: plain(&event.event_type, PREVIEW_BYTES),
        preview: plain(&event.preview, PREVIEW_BYTES),
        film: place.film(&event.stream, Some(event.version)),
    };
    let data = serde_json::to_string(&shown).expect("text and numbers can be written");
    Event::default().id(event.position.to_string()).event("recorded").data(data)
}
