//! The film of a [filmstrip] store in the browser.
//!
//! A studio answers the question "why is the data in this state?" by looking: it shows a stream as frames in time, the
//! state after each event and what the event changed, what led to an event and what followed from it, events as they
//! are recorded, the rows of views now and at an earlier time, and what runs and what it has parked.
//!
//! [`Studio::router`] is mounted in an application that uses axum; [`Studio::bind`] serves the same pages by itself.
//! Pages are HTML and work without scripts; with scripts they are smoother. Nothing is loaded from elsewhere.
//!
//! ```no_run
//! use filmstrip::Store;
//! use filmstrip_studio::Studio;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("my-store")?;
//! let studio = Studio::new(&store).bind(([127, 0, 0, 1], 7070).into()).await?;
//! println!("{}", studio.url());
//! studio.run().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Safety
//!
//! Events are written by others, and a page must not do what they say.
//!
//! * All text is escaped. Characters that cannot be seen, or that change the order of others, are shown by their
//!   numbers. A Content-Security-Policy allows only the studio's own scripts, and no text to become markup.
//! * A request is refused if its `Host` is neither a loopback address nor [allowed](Studio::allow_host), or if a
//!   browser sends it for a page of another site.
//! * The studio's own server listens on loopback addresses only, unless it is [told otherwise](Studio::allow_remote),
//!   and then asks for a token.
//! * Nothing can be changed unless the application [allows it](Studio::allow_writes).
//! * Pages, payloads, states, and browsers that follow live events are bounded.

mod assets;
mod changes;
mod fault;
mod followers;
mod guard;
mod json;
mod limits;
mod operate;
mod page;
mod past;
mod place;
mod programs;
mod router;
mod server;
mod shared;
mod source;
mod states;
mod studio;
mod text;
mod verifying;
mod view_rows;

/// The program of the book's chapter is compiled like every other example.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/book/studio.md")]
struct Chapter;

pub use server::Server;
pub use studio::Studio;
