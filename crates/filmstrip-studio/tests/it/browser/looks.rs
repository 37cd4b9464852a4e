//! The pages at several sizes, light and dark: nothing sticks out, and pictures to look at.

use super::driver::Browser;
use super::with_browser;
use crate::common::{ByCity, Customer, Served, Shop, address, shop};
use filmstrip::projection::{ErrorAction, OnError, ProjectionHandle};
use filmstrip_studio::Studio;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A store with something on every page.
fn full() -> (Shop, ProjectionHandle) {
    let shop = shop();
    let park = OnError::default().retries(0).then(ErrorAction::ParkEvent);
    let by_city = shop.store.project(ByCity).on_error(park).start().unwrap();
    let lost = shop.store.repository::<Customer>().execute("1009", &address("1 Reef", "Atlantis"));
    by_city.wait_for(lost.unwrap().position, Duration::from_secs(10)).unwrap();
    shop.clock.advance(Duration::from_secs(90));
    (shop, by_city)
}

#[tokio::test]
async fn pages_fit_into_narrow_and_wide_windows() {
    let (shop, by_city) = full();
    let studio =
        Studio::new(&shop.store).aggregate::<Customer>().projection(&by_city).past(|| ByCity);
    let served = Served::new(studio.allow_writes()).await;
    let why = format!("/why/{}", shop.counted);
    let pages = [
        ("film", "/film/Customer-1001?version=6"),
        ("streams", "/streams"),
        ("why", &why),
        ("live", "/live"),
        ("view", "/views/by_city"),
        ("row", "/views/by_city/row?key=Customer-1001"),
        ("running", "/running"),
        ("store", "/store"),
        ("fault", "/film/Customer-1001?version=77"),
    ];
    let pictures = std::env::var_os("FILMSTRIP_SCREENSHOTS").map(PathBuf::from);
    with_browser(async |browser| {
        // The picture of the README.
        if let Some(directory) = &pictures {
            browser.look(1_200, 640, "light").await;
            browser.open(&served.page(pages[0].1)).await;
            browser.until("!document.getElementById('play').hidden").await;
            keep(browser, directory, "studio.png").await;
        }
        for (width, height) in [(360, 760), (1280, 800), (2560, 1440)] {
            for scheme in ["light", "dark"] {
                browser.look(width, height, scheme).await;
                for (name, path) in &pages {
                    browser.open(&served.page(path)).await;
                    browser.until("document.readyState === 'complete'").await;
                    browser
                        .script("document.querySelectorAll('details').forEach(e => e.open = true)")
                        .await;
                    fits(browser, &format!("{name} at {width}")).await;
                    if let Some(directory) = &pictures {
                        keep(browser, directory, &format!("{name}-{width}-{scheme}.png")).await;
                    }
                }
            }
        }
    })
    .await;
}

async fn keep(browser: &Browser, directory: &Path, name: &str) {
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join(name), browser.client.screenshot().await.unwrap()).unwrap();
}

/// Nothing is wider than the window, but for what scrolls by itself.
pub(super) async fn fits(browser: &Browser, what: &str) {
    let wide = "const w = document.documentElement.clientWidth; return [...document.querySelectorAll('body *')]\
        .filter(e => !e.closest('.strip, .wide, .hidden, .skip, pre') && e.getBoundingClientRect().right > w + 1)\
        .map(e => e.outerHTML.slice(0, 120))";
    let wide = browser.script(wide).await;
    assert!(wide.as_array().unwrap().is_empty(), "{what}: {wide}");
    let scrolls =
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(browser.script(scrolls).await, false, "{what}");
}
