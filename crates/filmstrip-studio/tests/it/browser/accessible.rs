//! What a screen reader is told, and what the keyboard alone reaches.

use super::driver::Browser;
use super::with_browser;
use crate::common::{ByCity, Customer, Served, shop};
use fantoccini::key::Key;
use filmstrip_studio::Studio;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

const PAGES: [&str; 7] = [
    "/streams",
    "/film/Customer-1001?version=6",
    "/live",
    "/views/by_city",
    "/running",
    "/store",
    "/go?q=9999",
];

/// Roles of what a person can use.
const CONTROLS: [&str; 12] = [
    "button",
    "link",
    "textbox",
    "searchbox",
    "slider",
    "spinbutton",
    "combobox",
    "checkbox",
    "Date",
    "DateTime",
    "DisclosureTriangle",
    // No control, but nothing without a name either.
    "image",
];

#[tokio::test]
async fn every_control_has_a_name_and_is_reached_by_the_keyboard() {
    let shop = shop();
    let by_city = shop.store.project(ByCity).start().unwrap();
    by_city.wait_for(shop.store.head(), Duration::from_secs(10)).unwrap();
    let studio =
        Studio::new(&shop.store).aggregate::<Customer>().projection(&by_city).past(|| ByCity);
    let served = Served::new(studio.allow_writes()).await;
    with_browser(async |browser| {
        for page in PAGES {
            browser.open(&served.page(page)).await;
            browser.until("document.readyState === 'complete'").await;
            named(browser, page).await;
            reached(browser, page).await;
        }
    })
    .await;
}

async fn named(browser: &Browser, page: &str) {
    let tree = browser.tools("Accessibility.getFullAXTree", json!({})).await;
    let nodes = tree["nodes"].as_array().unwrap();
    let shown: Vec<_> = nodes.iter().filter(|node| node["ignored"] != true).collect();
    let role = |node: &serde_json::Value| node["role"]["value"].as_str().unwrap_or("").to_owned();
    let mut controls = 0;
    for node in &shown {
        if CONTROLS.contains(&role(node).as_str()) {
            let name = node["name"]["value"].as_str().unwrap_or("").trim();
            assert!(!name.is_empty(), "{page}: without a name: {node}");
            controls += 1;
        }
    }
    assert!(controls >= 7, "{page}: {controls} controls");
    if page == "/store" {
        let count = |wanted: &str| shown.iter().filter(|node| role(node) == wanted).count();
        assert_eq!(
            (count("image"), count("DisclosureTriangle")),
            (2, 1),
            "lines, and their numbers"
        );
    }
    for landmark in ["banner", "main", "navigation", "search", "heading"] {
        assert!(shown.iter().any(|node| role(node) == landmark), "{page}: no {landmark}");
    }
}

/// Presses Tab until the focus comes round, and finds everything that can be used.
async fn reached(browser: &Browser, page: &str) {
    let number = "[...document.querySelectorAll('a[href], button, input, summary')]\
        .filter(e => e.checkVisibility() && e.type !== 'hidden' && !e.closest('dialog'))";
    let all = browser.script(&format!("return {number}.length")).await.as_u64().unwrap();
    browser.script("document.activeElement.blur(); window.scrollTo(0, 0)").await;
    let mut met = BTreeSet::new();
    let presses = 8 * all + 20;
    for _ in 0..presses {
        browser.key(Key::Tab).await;
        let focused =
            browser.script(&format!("return {number}.indexOf(document.activeElement)")).await;
        if let Some(focused) = focused.as_u64() {
            met.insert(focused);
        }
        if met.len() as u64 == all {
            return;
        }
    }
    let missing: Vec<u64> = (0..all).filter(|n| !met.contains(n)).collect();
    let which =
        browser.script(&format!("return {missing:?}.map(n => {number}[n].outerHTML)")).await;
    panic!("{page}: Tab does not come to {which}");
}
