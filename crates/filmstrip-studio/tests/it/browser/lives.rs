//! Events as they are recorded.

use super::with_shop;
use filmstrip::{ExpectedVersion, NewEvent};

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
