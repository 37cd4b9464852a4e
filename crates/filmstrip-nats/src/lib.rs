//! A relay from a store of [filmstrip] to a stream of NATS JetStream: each event once, in order, as a
//! [CloudEvent](filmstrip_cloudevents).
//!
//! ```no_run
//! use filmstrip::Store;
//! use filmstrip_nats::CloudEvents;
//!
//! let store = Store::open("orders")?;
//! let target = CloudEvents::to("nats://a,nats://b,nats://c", "orders.events").create();
//! let relay = store.relay(target).start()?;
//! # Ok::<(), filmstrip::Error>(())
//! ```
//!
//! See [`CloudEvents`] for what it promises, and `docs/book/relays.md` for when to use a relay.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]

mod acks;
mod checks;
mod failpoint;
mod link;
mod settings;
mod target;

pub use async_nats;
pub use target::CloudEvents;
