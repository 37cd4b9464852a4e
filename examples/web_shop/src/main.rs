//! A shop over HTTP: customers with unique e-mail addresses, stock, orders, live events.
//!
//! ```text
//! cargo run --release --manifest-path examples/web_shop/Cargo.toml -- [--listen ADDRESS] [--store DIRECTORY]
//! ```
//!
//! Copy it as the start of a service. `README.md` beside it has requests to try.

mod api;
mod context;
mod live;
mod operate;
mod problem;
mod shop;
mod state;
mod studio;
mod view;

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use filmstrip::Store;
use state::Shop;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A larger body is refused before it is read.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long an end waits for the requests that are under way.
const SERVE_PATIENCE: Duration = Duration::from_secs(10);
/// How long an end waits for the views to hold everything.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

struct Options {
    listen: String,
    store: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let options = options()?;
    let recorder = operate::record()?;

    // Opening reads the disk, and has nobody to serve yet.
    let store = Store::builder().metrics_name("shop").open(&options.store)?;
    let orders = store.project(view::Orders).start()?;
    let shop = Shop::new(&store, &orders);
    let listener = TcpListener::bind(&options.listen).await?;
    let mut routes = api::routes()
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(live::routes())
        .merge(operate::routes(recorder));
    // Nobody signs in to this shop, so only this machine may see its store.
    if listener.local_addr()?.ip().is_loopback() {
        routes = routes.nest("/studio", studio::routes(&store, &orders, shop.ends.clone()));
    }
    let routes = routes.layer(middleware::from_fn(operate::measure)).with_state(shop.clone());

    println!("listening on http://{}", listener.local_addr()?);
    let ends = shop.ends.clone();
    let serves = axum::serve(listener, routes).with_graceful_shutdown(async move {
        asked_to_end().await;
        // Requests that are under way are answered; live events would go on, so they end.
        ends.cancel();
    });
    let is_late = async {
        shop.ends.cancelled().await;
        // For a client that does not send the rest of its request, or does not read its answer.
        tokio::time::sleep(SERVE_PATIENCE).await;
    };
    tokio::select! {
        served = serves => served?,
        () = is_late => tracing::warn!("some requests were cut off"),
    }

    // What a view lacks it gets when the store is opened again.
    if let Err(error) = shop.store.drain(DRAIN_PATIENCE).await {
        tracing::warn!(%error, "the views are behind");
    }
    shop.store.close().await?;
    println!("closed");
    Ok(())
}

fn options() -> Result<Options, Error> {
    let mut options = Options { listen: "127.0.0.1:3000".into(), store: "web-shop-data".into() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--listen" => options.listen = value()?,
            "--store" => options.store = value()?.into(),
            unknown => {
                let usage = "usage: web_shop [--listen ADDRESS] [--store DIRECTORY]";
                return Err(format!("{unknown} is unknown; {usage}").into());
            }
        }
    }
    Ok(options)
}

/// Ctrl-C, or the signal by which a supervisor ends a service.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
