//! A server of the studio's own.

use axum::Router;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// A studio that listens, made by [`Studio::bind`](crate::Studio::bind).
#[must_use = "a server serves while `run` runs"]
pub struct Server {
    listener: TcpListener,
    router: Router,
    address: SocketAddr,
    token: Option<String>,
}

impl Server {
    pub(crate) async fn bind(
        router: Router,
        address: SocketAddr,
        token: Option<String>,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Server { listener, router, address, token })
    }

    /// The address to open in a browser, with the token if one is asked for.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.token {
            Some(token) => format!("http://{}/?token={token}", self.address),
            None => format!("http://{}/", self.address),
        }
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// Errors of accepting connections.
    pub async fn run(self) -> io::Result<()> {
        axum::serve(self.listener, self.router).await
    }
}
