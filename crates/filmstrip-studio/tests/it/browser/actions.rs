//! What changes something is asked for first, and a page that is old says so.

use super::with_browser;
use crate::common::{ByCity, Customer, Served, Shop, address, shop};
use fantoccini::key::Key;
use filmstrip::projection::{ErrorAction, OnError, ProjectionHandle};
use filmstrip_studio::Studio;
use std::time::Duration;

/// A shop whose view has parked one event, and a studio that may act.
async fn parked() -> (Shop, ProjectionHandle, Served) {
    let shop = shop();
    let park = OnError::default().retries(0).then(ErrorAction::ParkEvent);
    let by_city = shop.store.project(ByCity).on_error(park).start().unwrap();
    let lost = shop.store.repository::<Customer>().execute("1009", &address("1 Reef", "Atlantis"));
    by_city.wait_for(lost.unwrap().position, Duration::from_secs(10)).unwrap();
    let studio = Studio::new(&shop.store).projection(&by_city).allow_writes();
    let served = Served::new(studio).await;
    (shop, by_city, served)
}

const IS_OPEN: &str = "document.getElementById('confirm').open";
const DISCARD: &str = "button[data-label='Discard parked']:not([hidden])";

/// A person who is asked confirms, and only then something happens.
#[tokio::test]
async fn actions_are_confirmed() {
    let shop = shop();
    let by_city = shop.store.project(ByCity).start().unwrap();
    let studio = Studio::new(&shop.store).projection(&by_city).allow_writes();
    let served = Served::new(studio).await;
    let is_paused = || format!("{:?}", by_city.status().state) == "Paused";
    with_browser(async |browser| {
        browser.open(&served.page("/running")).await;
        let pause = "button[data-label=Pause]:not([hidden])";
        browser.find(pause).await.click().await.unwrap();
        browser.until("document.getElementById('confirm').open").await;
        // Cancel has the focus, so that a key pressed by habit does nothing.
        browser.key(Key::Enter).await;
        browser.until("!document.getElementById('confirm').open").await;
        assert!(!is_paused());
        browser.find(pause).await.click().await.unwrap();
        browser.find("#confirm-yes").await.click().await.unwrap();
        browser.until("document.querySelector('.badge.busy')?.innerText === 'paused'").await;
        assert!(is_paused());
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    })
    .await;
}

/// By the keyboard alone: what cannot be undone asks for one thing more, says how much it is about, and looks it.
#[tokio::test]
async fn what_cannot_be_undone_asks_twice() {
    let (_shop, by_city, served) = parked().await;
    with_browser(async |browser| {
        browser.open(&served.page("/running")).await;
        browser.find(DISCARD).await;
        let color =
            |of: &str| format!("return getComputedStyle(document.querySelector({of:?})).color");
        let neighbour = browser.script(&color("button[data-label='Replay parked']")).await;
        assert_ne!(browser.script(&color(DISCARD)).await, neighbour);
        browser.script(&format!("document.querySelector({DISCARD:?}).focus()")).await;
        browser.key(Key::Enter).await;
        browser.until(IS_OPEN).await;
        let asked = browser.text("#confirm").await;
        assert!(asked.contains("1 of by_city") && asked.contains("cannot be undone"), "{asked}");
        let named =
            "return document.querySelector('#confirm input').labels[0].innerText.trim().length";
        assert!(browser.script(named).await.as_u64() > Some(0));

        // From Cancel on to the other button, which the browser refuses.
        browser.key(Key::Tab).await;
        browser.until("document.activeElement.id === 'confirm-yes'").await;
        browser.key(Key::Enter).await;
        browser.until("document.activeElement === document.querySelector('#confirm input')").await;
        assert_eq!(browser.script(&format!("return {IS_OPEN}")).await, true);
        assert_eq!(by_city.status().parked, 1);

        // Cancel needs no box, and the next question has an empty one.
        browser.keys(" ").await;
        browser.until("document.querySelector('#confirm input').checked").await;
        browser.key(Key::Tab).await;
        browser.key(Key::Enter).await;
        browser.until(&format!("!{IS_OPEN}")).await;
        assert_eq!(by_city.status().parked, 1);
        browser.find(DISCARD).await.click().await.unwrap();
        browser.until(IS_OPEN).await;
        browser.until("!document.querySelector('#confirm input').checked").await;

        browser.find("#confirm input").await.click().await.unwrap();
        browser.find("#confirm-yes").await.click().await.unwrap();
        browser.until("!document.querySelector('ul.parked')").await;
        assert_eq!(by_city.status().parked, 0);

        // The next question is about something else, and asks only once.
        browser.find("button[data-label=Pause]:not([hidden])").await.click().await.unwrap();
        browser.until(IS_OPEN).await;
        assert!(!browser.text("#confirm").await.contains("cannot be undone"));
        browser.find("#confirm-yes").await.click().await.unwrap();
        browser.until("document.querySelector('.badge.busy')?.innerText === 'paused'").await;
        assert_eq!(browser.complaints().await, Vec::<String>::new());
    })
    .await;
}

/// It used to go on showing what was true when the store was still open.
#[tokio::test]
async fn what_runs_is_marked_as_old_when_the_studio_does_not_answer() {
    let (shop, _by_city, served) = parked().await;
    with_browser(async |browser| {
        browser.open(&served.page("/running")).await;
        browser.find(DISCARD).await;
        assert_eq!(
            browser.script("return document.querySelector('.old')").await,
            serde_json::Value::Null
        );
        shop.store.clone().close().unwrap();
        browser.until("document.getElementById('followers').classList.contains('old')").await;
        let said = browser.text("#done").await;
        assert!(said.contains("has not answered since"), "{said}");
    })
    .await;
}
