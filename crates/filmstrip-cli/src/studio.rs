//! `studio`: a store in the browser, read-only, beside the process that writes it.

use crate::fault::Fault;
use crate::out::Out;
use crate::stores;
use clap::Args;
use filmstrip_studio::Studio;
use serde::Serialize;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop studio
  filmstrip -d shop studio --port 0                       a port that the system chooses
  filmstrip -d shop studio --listen 0.0.0.0 --allow-host shop.example.org

The address to open is printed once the server listens; it serves until it is interrupted. The pages show the film of
each stream, what caused what, and events as they come, beside the process that writes the store. They never write.

Other machines can reach it only if --listen is not a loopback address. Then the printed address contains a token that
each request needs, and --allow-host must name this machine as browsers do. Nothing is encrypted.

With --json, one document is printed: url.")]
pub(crate) struct Options {
    /// The port to listen on; 0 for one that the system chooses
    #[arg(long, value_name = "PORT", default_value_t = 4780)]
    port: u16,

    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,

    /// A name of this machine that browsers may use, besides loopback ones
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
}

#[derive(Serialize)]
struct Listening<'a> {
    url: &'a str,
}

/// Serves the store in `store` until the process is ended.
pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let mut studio = Studio::follow(&stores::follow(store)?);
    for name in &options.allow_host {
        studio = studio.allow_host(name);
    }
    if !options.listen.is_loopback() {
        studio = studio.allow_remote();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Fault::bad(format!("cannot start the server: {error}")))?;
    let address = SocketAddr::new(options.listen, options.port);
    let failed = |what: &str, error: &io::Error| Fault::bad(format!("{what} {address}: {error}"));
    runtime.block_on(async {
        let server = studio.bind(address).await;
        let server = server.map_err(|error| failed("cannot listen on", &error))?;
        let url = server.url();
        if out.json {
            out.document(&Listening { url: &url })?;
        } else {
            out.line(&url)?;
        }
        out.flush()?;
        server
            .run()
            .await
            .map_err(|error| failed("the server has ended, which listened on", &error))
    })
}
