//! Styles and scripts, which are parts of the program.

use crate::place::Place;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 6] = [
    Asset { name: "studio.css", kind: CSS, text: include_str!("../assets/studio.css") },
    Asset { name: "film.svg", kind: "image/svg+xml", text: include_str!("../assets/film.svg") },
    Asset { name: "page.js", kind: SCRIPT, text: include_str!("../assets/page.js") },
    Asset { name: "film.js", kind: SCRIPT, text: include_str!("../assets/film.js") },
    Asset { name: "live.js", kind: SCRIPT, text: include_str!("../assets/live.js") },
    Asset { name: "actions.js", kind: SCRIPT, text: include_str!("../assets/actions.js") },
];

/// Changes when any of them does, so that a browser can keep them. In the path, because modules import each other by
/// names beside their own.
const EDITION: u64 = {
    let (mut hash, mut asset) = (0xCBF2_9CE4_8422_2325_u64, 0);
    while asset < ASSETS.len() {
        let (bytes, mut at) = (ASSETS[asset].text.as_bytes(), 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01B3);
            at += 1;
        }
        asset += 1;
    }
    hash
};

pub(crate) fn address(place: &Place, name: &str) -> String {
    place.page(&format!("/assets/{EDITION:x}/{name}"))
}

pub(crate) async fn asset(Path((_, name)): Path<(String, String)>) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(Asset { kind, text, .. }) => {
            let forever = "private, max-age=31536000, immutable";
            let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, forever)];
            (headers, *text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
    }
}
