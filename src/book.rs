//! The book: a chapter for each part of an application, with a program that runs.
//!
//! Each chapter says what its subject is for, how it behaves when something goes wrong (a conflict, a crash, a
//! handler that fails, events of an older program), and what to use instead.
//!
//! | for | chapters |
//! | --- | --- |
//! | events | [`events`] |
//! | commands | [`aggregates`], with [`transactions`], [`snapshots`], [`time_travel`] and the command [`bus`]; [`decisions`] across streams |
//! | queries | [`projections`] |
//! | following the log | [`subscriptions`] |
//! | reacting to events | [`groups`] of consumers, and [`processes`] |
//! | other systems | [`relays`] |
//! | tasks of an async runtime | `async_services`, with the feature `async` (`docs/book/async.md`) |
//! | another machine | [`replicas`] |
//! | people, who may ask to be forgotten | `people`, with the feature `erasure` (`docs/book/people.md`) |
//! | tests | [`testing`] |
//! | operation | [`operating`], the [`command_line`], and the studio (`docs/book/studio.md`) |
//!
//! The [first page](crate) of the crate covers what is beneath: appending, reading, following.

// Each chapter is a file in docs/book, in the order in which they build on each other. They link to nothing in
// the crate, because a repository's page shows them too: tests/it/tidy.rs holds their form.

#[doc = include_str!("../docs/book/events.md")]
pub mod events {}

#[doc = include_str!("../docs/book/aggregates.md")]
pub mod aggregates {}

#[doc = include_str!("../docs/book/transactions.md")]
pub mod transactions {}

#[doc = include_str!("../docs/book/decisions.md")]
pub mod decisions {}

#[doc = include_str!("../docs/book/snapshots.md")]
pub mod snapshots {}

#[doc = include_str!("../docs/book/time_travel.md")]
pub mod time_travel {}

#[doc = include_str!("../docs/book/bus.md")]
pub mod bus {}

#[doc = include_str!("../docs/book/projections.md")]
pub mod projections {}

#[doc = include_str!("../docs/book/subscriptions.md")]
pub mod subscriptions {}

#[doc = include_str!("../docs/book/groups.md")]
pub mod groups {}

#[doc = include_str!("../docs/book/processes.md")]
pub mod processes {}

#[doc = include_str!("../docs/book/relays.md")]
pub mod relays {}

#[cfg(feature = "async")]
#[doc = include_str!("../docs/book/async.md")]
pub mod async_services {}

#[doc = include_str!("../docs/book/replicas.md")]
pub mod replicas {}

#[cfg(feature = "erasure")]
#[doc = include_str!("../docs/book/people.md")]
pub mod people {}

#[doc = include_str!("../docs/book/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/book/operating.md")]
pub mod operating {}

#[doc = include_str!("../docs/book/command_line.md")]
pub mod command_line {}
