//! Events as they are recorded.

use super::{with_browser, with_shop};
use crate::common::Served;
use fantoccini::key::Key;
use filmstrip::{ExpectedVersion, NewEvent};
use filmstrip_studio::Studio;
use serde_json::json;

#[tokio::test]
async fn new_events_appear_by_themselves_and_only_those_that_are_wanted() {
    with_shop(async |browser, served, shop| {
        let append = |stream: &str, event_type: &str| {
            let event = NewEvent::json(event_type, &"\u{202E}<b>x</b>").unwrap();
            shop.store.append(stream, ExpectedVersion::Any, [event]).unwrap();
        };
        browser.open(&served.page("/live?category=Door")).await;
        browser.until("document.getElementById('state').innerText === 'live'").await;
        append("Door-1", "Opened");
        append("Lamp-1", "Lit");
        append("Door-1", "Closed");
        browser.until("document.querySelectorAll('#events tr').length === 2").await;
        let rows = browser.text("#events").await;
        assert!(
            rows.find("Closed").unwrap() < rows.find("Opened").unwrap() && !rows.contains("Lit"),
            "{rows}"
        );
        assert!(rows.contains("⟨U+202E⟩<b>x</b>"), "{rows}");
        assert_eq!(browser.script("return document.querySelectorAll('#events b').length").await, 0);
        browser.until("document.getElementById('head').innerText === '15'").await;

        browser.find("#pause").await.click().await.unwrap();
        append("Door-1", "Opened");
        append("Door-1", "Locked");
        assert_eq!(
            browser.script("return document.querySelectorAll('#events tr').length").await,
            2
        );
        browser.find("#pause").await.click().await.unwrap();
        browser.until("document.querySelectorAll('#events tr').length === 4").await;
        assert!(browser.text("#events tr:first-child").await.contains("Locked"));
        browser.find("#events tr:first-child a").await.click().await.unwrap();
        browser.until("document.getElementById('film')?.dataset.version === '4'").await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    })
    .await;
}

/// The token moves from the address into a cookie, which pages, scripts and live events send by themselves.
#[tokio::test]
async fn a_person_with_the_token_signs_in_once() {
    let shop = crate::common::shop();
    let served = Served::new(Studio::new(&shop.store).token("a-token-of-a-test")).await;
    with_browser(async |browser| {
        browser.open(&served.page("/film/Customer-1001")).await;
        assert!(browser.text("h1").await.contains("Unauthorized"));
        browser.open(&served.url).await;
        browser.until("location.pathname === '/streams' && location.search === ''").await;
        assert_eq!(browser.script("return document.cookie").await, "", "no script can read it");
        browser.open(&served.page("/film/Customer-1001?version=2")).await;
        browser.until("!document.getElementById('play').hidden").await;
        browser.key(Key::Right).await;
        browser.until("document.getElementById('film').dataset.version === '3'").await;
        browser.open(&served.page("/live")).await;
        browser.until("document.getElementById('state').innerText === 'live'").await;
    })
    .await;
}

#[tokio::test]
async fn nothing_moves_for_a_person_who_prefers_that() {
    with_shop(async |browser, served, shop| {
        browser.look(1_280, 800, "light").await;
        browser.open(&served.page("/live")).await;
        browser.until("document.getElementById('state').innerText === 'live'").await;
        let append = || {
            let event = NewEvent::json("Opened", &1).unwrap();
            shop.store.append("Door-1", ExpectedVersion::Any, [event]).unwrap();
        };
        append();
        browser.until("document.querySelector('#events .new')").await;
        let moves = "return getComputedStyle(document.querySelector('#events .new')).animationName";
        assert_eq!(browser.script(moves).await, "arrive");
        let calm = json!([{"name": "prefers-reduced-motion", "value": "reduce"}]);
        browser.tools("Emulation.setEmulatedMedia", json!({"features": calm})).await;
        assert_eq!(browser.script(moves).await, "none");
    })
    .await;
}
