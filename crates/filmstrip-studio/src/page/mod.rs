//! Pages: HTML made here, whole without a script.

pub(crate) mod events;
pub(crate) mod film;
pub(crate) mod go;
mod growth;
pub(crate) mod live;
pub(crate) mod parts;
pub(crate) mod running;
pub(crate) mod store;
pub(crate) mod streams;
pub(crate) mod value;
pub(crate) mod views;
pub(crate) mod why;

use crate::assets;
use crate::fault::Fault;
use crate::place::Place;
use crate::programs::Why;
use crate::text::plain;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

/// The pages that the navigation names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Streams,
    Live,
    Views,
    Running,
    Store,
}

const TABS: [(Tab, &str, &str); 5] = [
    (Tab::Streams, "/streams", "Streams"),
    (Tab::Live, "/live", "Live"),
    (Tab::Views, "/views", "Views"),
    (Tab::Running, "/running", "Running"),
    (Tab::Store, "/store", "Store"),
];

/// A page, or why there is none.
pub(crate) type Answer = Result<Page, Faulty>;

/// What a page is made of.
pub(crate) struct Page {
    pub(crate) place: Place,
    pub(crate) tab: Option<Tab>,
    pub(crate) title: String,
    /// The module that the page works better with.
    pub(crate) script: Option<&'static str>,
    pub(crate) body: Markup,
}

/// A fault, shown in the studio's frame.
pub(crate) struct Faulty(pub(crate) Place, pub(crate) Fault);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (kind, self.render().into_string()).into_response()
    }
}

impl IntoResponse for Faulty {
    fn into_response(self) -> Response {
        let Faulty(place, Fault { status, why, film }) = self;
        let reason = status.canonical_reason().unwrap_or("Error");
        let body = html! {
            section.fault {
                h1 { (reason) }
                p { (crate::text::Visible(&why)) }
                @if let Some(stream) = film {
                    p { a href=(place.film(&stream, None)) { "The newest frame of this stream" } }
                }
            }
        };
        let page = Page { place, tab: None, title: reason.to_owned(), script: None, body };
        let mut response = (status, page).into_response();
        response.extensions_mut().insert(Why(why));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, 2.into());
        }
        response
    }
}

impl Page {
    fn render(self) -> Markup {
        let Page { place, tab, title, script, body } = self;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (plain(&title, 200)) " · filmstrip" }
                    link rel="icon" type="image/svg+xml" href=(assets::address(&place, "film.svg"));
                    link rel="stylesheet" href=(assets::address(&place, "studio.css"));
                    @if let Some(script) = script {
                        script type="module" src=(assets::address(&place, script)) {}
                    }
                }
                body {
                    a.skip href="#main" { "Skip to the page" }
                    (header(&place, tab))
                    main id="main" tabindex="-1" { (body) }
                }
            }
        }
    }
}

fn header(place: &Place, current: Option<Tab>) -> Markup {
    html! {
        header.top {
            a.brand href=(place.page("/streams")) {
                span.reel aria-hidden="true" {}
                "filmstrip"
            }
            nav aria-label="Pages" {
                @for (tab, path, name) in TABS {
                    a href=(place.page(path)) aria-current=[(current == Some(tab)).then_some("page")] {
                        (name)
                    }
                }
            }
            form.go role="search" action=(place.page("/go")) method="get" {
                label for="go" { "Go to" }
                input id="go" name="q" type="search" autocomplete="off" spellcheck="false"
                    placeholder="stream, event id or position";
            }
        }
    }
}
