//! Hostile events in a real browser, which is what they are made for.

use super::looks::fits;
use super::with_browser;
use crate::common::Served;
use crate::hostile::{TEXTS, hostile_store};
use filmstrip::uuid::Uuid;
use filmstrip::{ExpectedVersion, Metadata, NewEvent};
use filmstrip_studio::Studio;
use serde_json::json;

#[tokio::test]
async fn hostile_texts_are_text_in_the_browser() {
    let (store, streams) = hostile_store();
    let long = "W".repeat(1_000);
    let data = json!({"text": long, long.as_str(): {long.as_str(): [long]}});
    let event = NewEvent::json(long[..250].to_owned(), &data).unwrap().tag(long[..250].to_owned());
    let metadata = Metadata::default().user(long.as_str()).entry(long.as_str(), long.as_str());
    let names = ["Long-1".to_owned(), format!("Long-{long}")];
    for name in names {
        let event = event.clone().id(Uuid::now_v7()).metadata(metadata.clone());
        store.append(name, ExpectedVersion::NoStream, [event]).unwrap();
    }
    let served = Served::new(Studio::new(&store)).await;
    with_browser(async |browser| {
        browser.look(360, 760, "light").await;
        for (stream, (kind, text)) in streams.iter().zip(TEXTS) {
            let name: String = stream.as_str().bytes().map(|byte| format!("%{byte:02X}")).collect();
            browser.open(&served.page(&format!("/film/{name}?version=1"))).await;
            browser.until("document.readyState === 'complete'").await;
            assert_eq!(browser.script("return window.hacked ?? null").await, json!(null), "{kind}");
            let foreign = "return document.querySelectorAll('main script, img, iframe, object, style, math, base, \
                main meta, main link').length";
            assert_eq!(browser.script(foreign).await, 0, "{kind}");
            fits(browser, kind).await;
            assert_eq!(browser.script("return location.origin").await, served.page(""), "{kind}");
            // The text is there, as it was written, where it has no invisible characters.
            if text.chars().all(|char| char.is_ascii_graphic() || char == ' ') {
                let shown = "return [...document.querySelectorAll('#frame dd.text')].map(e => e.textContent)";
                let shown = browser.script(shown).await;
                assert!(shown.as_array().unwrap().iter().any(|shown| shown == text), "{kind}: {shown}");
            }
        }
        for page in ["/streams", "/live", "/film/Long-1", "/streams?prefix=Long", "/store"] {
            browser.open(&served.page(page)).await;
            browser.until("document.readyState === 'complete'").await;
            fits(browser, page).await;
            assert_eq!(browser.script("return window.hacked ?? null").await, json!(null), "{page}");
        }
        let complaints = browser.complaints().await;
        assert!(complaints.is_empty(), "{complaints:?}");
    })
    .await;
}
