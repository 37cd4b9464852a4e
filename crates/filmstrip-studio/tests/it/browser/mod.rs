//! The pages in Chromium, driven as a person would.
//!
//! Where Chromium or its driver is missing, the tests say so and pass; with `FILMSTRIP_BROWSER` set, they fail.
//! `FILMSTRIP_SCREENSHOTS` names a directory that gets pictures to look at.

mod accessible;
mod actions;
pub(crate) mod driver;
mod films;
mod lives;
mod looks;
mod texts;

use crate::common::{Customer, Served, Shop, shop};
use driver::{Browser, with_browser};
use filmstrip_studio::Studio;

/// A studio over the shop, and a browser.
async fn with_shop(body: impl AsyncFnOnce(&Browser, &Served, &Shop)) {
    let shop = shop();
    let served = Served::new(Studio::new(&shop.store).aggregate::<Customer>()).await;
    with_browser(async |browser| body(browser, &served, &shop).await).await;
}
