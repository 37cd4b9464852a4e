//! The film: scrubber, keys, play, addresses.

use super::with_shop;
use crate::common::address;
use fantoccini::key::Key;

const VERSION: &str = "Number(document.getElementById('film').dataset.version)";

#[tokio::test]
async fn the_scrubber_moves_through_the_film() {
    with_shop(async |browser, served, _| {
        browser.open(&served.page("/film/Customer-1001")).await;
        browser.until(&format!("{VERSION} === 8")).await;
        let scrub = "const s = document.getElementById('scrub'); s.value = arguments[0] ?? 3; \
                     s.dispatchEvent(new Event('input'));";
        browser.script(scrub).await;
        browser.until(&format!("{VERSION} === 3")).await;
        let frame = browser.text("#frame").await;
        assert!(frame.contains("Tagged") && frame.contains("newsletter"), "{frame}");
        assert!(browser.client.current_url().await.unwrap().as_str().ends_with("version=3"));
        assert!(browser.text("#place").await.contains("3 of 8"));
        assert!(browser.text(".cell[aria-current]").await.contains("Tagged"));
        let current = "document.querySelectorAll('#strip [aria-current]').length === 1";
        browser.until(current).await;
        // A drag asks for many frames, and ends at the last one.
        browser.script("for (const v of [4,5,6,7,6,5,2]) { const s = document.getElementById('scrub'); s.value = v; \
            s.dispatchEvent(new Event('input')); }").await;
        browser.until(&format!("{VERSION} === 2")).await;
        assert!(browser.text(".state").await.contains("Mill Lane"));
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn keys_move_through_the_film() {
    with_shop(async |browser, served, _| {
        browser.open(&served.page("/film/Customer-1001?version=4")).await;
        browser.until("!document.getElementById('play').hidden").await;
        let steps = [
            (Key::Left, 3),
            (Key::Left, 2),
            (Key::Right, 3),
            (Key::Home, 1),
            (Key::Left, 1),
            (Key::End, 8),
            (Key::Right, 8),
            (Key::PageUp, 1),
        ];
        for (key, version) in steps {
            browser.key(key).await;
            browser.until(&format!("{VERSION} === {version}")).await;
        }
        // In a field the keys belong to the field.
        browser.keys("/").await;
        browser.until("document.activeElement.id === 'go'").await;
        browser.key(Key::Right).await;
        browser.keys("Customer-1003").await;
        browser.key(Key::Enter).await;
        browser.until("location.pathname === '/film/Customer-1003'").await;
        assert!(browser.text("h1").await.contains("Customer-1003"));
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn it_plays_to_the_end_and_stops_when_asked() {
    with_shop(async |browser, served, _| {
        browser.open(&served.page("/film/Customer-1001?version=6")).await;
        browser.until("!document.getElementById('play').hidden").await;
        browser.keys(" ").await;
        browser.until("document.getElementById('play').ariaPressed === 'true'").await;
        browser.until(&format!("{VERSION} === 8")).await;
        browser.until("document.getElementById('play').ariaPressed === 'false'").await;
        browser.find("#play").await.click().await.unwrap();
        browser.until(&format!("{VERSION} === 2")).await;
        browser.find("#play").await.click().await.unwrap();
        browser.until("document.getElementById('play').ariaPressed === 'false'").await;
    })
    .await;
}

#[tokio::test]
async fn the_address_of_a_frame_shows_that_frame() {
    with_shop(async |browser, served, _| {
        browser.open(&served.page("/film/Customer-1001?version=2")).await;
        assert!(browser.text("h2").await.contains("AddressUpdated"));
        browser.find("#strip li:nth-child(5) a").await.click().await.unwrap();
        browser.until(&format!("{VERSION} === 5")).await;
        let address = browser.client.current_url().await.unwrap();
        browser.open("about:blank").await;
        browser.open(address.as_str()).await;
        browser.until(&format!("{VERSION} === 5")).await;
        assert!(browser.text("#frame").await.contains("vip"));
        browser.find("#frame a[href*='/why/']").await.click().await.unwrap();
        browser.until("document.querySelector('.tree .this')").await;
        browser.find(".tree .cause .type").await.click().await.unwrap();
        browser.until("document.getElementById('film')").await;
    })
    .await;
}

/// Links and forms do all of it, with more loading.
#[tokio::test]
async fn without_scripts_links_and_forms_lead_to_frames() {
    with_shop(async |browser, served, _| {
        browser
            .tools("Emulation.setScriptExecutionDisabled", serde_json::json!({"value": true}))
            .await;
        browser.open(&served.page("/film/Customer-1001?version=4")).await;
        browser.find("[data-step=previous]").await.click().await.unwrap();
        browser.find("#film[data-version='3']").await;
        browser.find("#version").await.send_keys("7").await.unwrap();
        browser.find("#version + button").await.click().await.unwrap();
        browser.find("#film[data-version='7']").await;
        browser.find("#show").await.click().await.unwrap();
        browser.find("#film[data-version='7']").await;
        browser
            .tools("Emulation.setScriptExecutionDisabled", serde_json::json!({"value": false}))
            .await;
    })
    .await;
}

/// What comes while the film is open is in it at the next step.
#[tokio::test]
async fn a_film_grows() {
    with_shop(async |browser, served, shop| {
        browser.open(&served.page("/film/Customer-1001")).await;
        browser.until("!document.getElementById('play').hidden").await;
        let moved = address("9 New Road", "Leeds");
        shop.store.repository::<crate::common::Customer>().execute("1001", &moved).unwrap();
        browser.key(Key::Left).await;
        browser.until(&format!("{VERSION} === 7")).await;
        browser.key(Key::End).await;
        browser.until(&format!("{VERSION} === 9")).await;
        assert!(browser.text("#frame").await.contains("Leeds"));
    })
    .await;
}
