//! The studio over real stores: over HTTP, and in a browser.

mod browser;
mod common;
mod hostile;
mod lives;
mod overview;
mod pages;
mod programs;
mod refusals;
