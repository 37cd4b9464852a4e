//! An embedded event store and CQRS engine: what SQLite is to tables, for event streams.
//!
//! Most systems keep state as a photograph: when somebody asks why it is as it is, nobody knows. A
//! [`Store`] keeps the film. It stores what happened, in order, and every state, present or past, is
//! computed from that. There is no server: a store is a directory, and the engine runs in your process.
//!
//! # The nouns
//!
//! * An **event** is a fact: a type, a payload, an id. A writer passes a [`NewEvent`]; the store
//!   returns a [`RecordedEvent`], which also has a version, a position and a time.
//! * A **stream** is the ordered events of one thing, named `Category-id` ([`StreamId`]). An event's
//!   place in it is its [`Version`], from 1.
//! * The **global sequence** is all events of all streams in the order in which they became durable.
//!   An event's place in it is its [`Position`], from 1, without a gap.
//! * A [`Commit`] is events for one or several streams that become durable together or not at all.
//! * An [`ExpectedVersion`] is the condition for writing to a stream: what the writer knew when
//!   it decided. If it does not hold, the append returns a [`Conflict`] and writes nothing.
//! * A [`Subscription`] follows the global sequence: first the recorded events, then new ones.
//!
//! On top of these, for whole applications:
//!
//! * An [`Aggregate`] decides: a command and the present state make events, and events make the state.
//!   A [`Repository`] loads it, runs commands on it, and loads its earlier states.
//! * A [`Consumer`] handles events in parallel with others of its group: each event at least once.
//! * A [`Projection`] builds a durable view for one question; a [`ReadModel`] one in memory. Both can be
//!   rebuilt from the events at any time.
//! * A [`ProcessManager`] coordinates work across several streams: it follows their
//!   events, gives commands, and notices when nothing happens.
//!
//! The [`book`] has a chapter for each of these.
//!
//! # Appending and reading
//!
//! ```
//! use filmstrip::{AppendError, Commit, ExpectedVersion, NewEvent, Position, Store, Version};
//!
//! let store = Store::temporary()?; // or Store::open("my-store")?
//! let opened = NewEvent::json("Opened", &100)?;
//! store.append("Account-a", ExpectedVersion::NoStream, [opened])?; // durable when it returns
//!
//! // Several streams, all or nothing, each at the version that the decision was based on.
//! let transfer = Commit::new()
//!     .append("Account-a", Version::new(1), [NewEvent::json("Withdrawn", &30)?])
//!     .append("Account-b", ExpectedVersion::NoStream, [NewEvent::json("Deposited", &30)?]);
//! assert_eq!(store.commit(transfer)?.position, Position::new(3));
//!
//! // A writer that decided on the older state gets a conflict.
//! let late = store.append("Account-a", Version::new(1), [NewEvent::json("Withdrawn", &90)?]);
//! assert!(matches!(late, Err(AppendError::Conflict(conflict)) if conflict.actual == Version::new(2)));
//!
//! let film = store.read_stream("Account-a").collect()?;
//! assert_eq!(film.iter().map(|e| e.event_type.as_str()).collect::<Vec<_>>(), ["Opened", "Withdrawn"]);
//! let accounts = store.read_all().category("Account").collect()?;
//! assert_eq!(accounts.len(), 3);
//! # Ok::<(), filmstrip::Error>(())
//! ```
//!
//! # Cookbook
//!
//! | you want to | use |
//! | --- | --- |
//! | append only if the stream is new | [`ExpectedVersion::NoStream`] |
//! | retry after a lost reply | the same event ids: nothing is written twice ([`Store::append`]) |
//! | read the last event of a stream | [`Store::read_stream`] with `.backwards().limit(1)` |
//! | read the state at an earlier moment | `.as_of(time)` on a read, or [`Repository::load_as_of`] |
//! | follow live events only | [`Store::subscribe`] with `.after(store.head())` |
//! | share the handling of events, each at least once | [`SubscriptionBuilder::group`] |
//! | continue where a consumer stopped | store the last position it saw; `.after(position)` |
//! | ingest another store's events exactly once | [`Commit::tracking`] and [`Store::tracked`] |
//! | commit only if another stream is unchanged | [`Commit::check`] |
//! | turn one stream's events into another's commands | [`ProcessManager`] |
//! | act when nothing has happened in time | [`ProcessManager::deadline`] |
//! | test without a directory to clean up | [`Store::temporary`], [`testing`] |
//! | see what a crash left | [`Store::torn_write`] |
//! | check that everything is whole | [`Store::verify`]; [`Store::verify_at`] if it does not open |
//! | save what can be read of a damaged store | [`Store::repair`], then [`Repair::export`] |
//! | back up beside writers | [`Store::backup`], again and again into one directory |
//! | read from another process | [`Follower`] |
//! | prove later that nothing was changed | note [`Store::head_hash`]; [`Store::check_hash`] |
//!
//! # What it does, and what it does not
//!
//! An append returns after one `fdatasync` of the journal; no setting weakens this.
//! Concurrent appends share one. Damage is an error that names its place, and is never returned as data. After
//! a failed write the store refuses further writes until it is reopened, because only reading the disk again can
//! show what is durable. A lost or damaged index is rebuilt automatically.
//!
//! One process at a time has a store open for writing; others may follow it by reading
//! ([`Follower`]). Calls block; there is no async runtime. There is no replication, and as yet no encryption and
//! no deletion of single events; the format has room for both. Durability was measured and tested on Linux.
//! Windows is not supported, because the journal uses Unix's positioned reads and writes.
//!
//! Memory is bounded, by limits that have names and by [`StoreBuilder::cache_bytes`]. An input over a limit is
//! refused with the limit and the value: an event has at most 16 MiB ([`EVENT_BYTES_MAX`]), a commit 64 MiB
//! ([`COMMIT_BYTES_MAX`]) and 65,536 events ([`COMMIT_EVENTS_MAX`]), a stream's name 1,024 bytes
//! ([`STREAM_NAME_BYTES_MAX`]).
//!
//! The crate prints nothing. What an operator should know (a torn write, a rebuild of the index, a
//! failing disk) is a [`tracing`] event.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]

pub mod book;
mod codec;
mod doctor;
mod follow;
#[cfg(any(test, feature = "__internal"))]
#[doc(hidden)]
pub mod fuzz;
mod index;
mod journal;
mod kv;
mod log;
mod model;
#[cfg(test)]
mod proof;
mod sst;
mod storage;
mod store;
pub mod testing;
mod value;
mod views;

pub use follow::follower::{Follower, FollowerRead, Following};
pub use follow::group::consumer::{Consumer, Delivery};
pub use follow::group::ledger::Nack;
pub use follow::group::{Group, GroupBuilder};
pub use follow::parked::Parked;
pub use follow::stopper::Stopper;
pub use follow::subscription::{Subscription, SubscriptionBuilder};
pub use journal::recover::TornWrite;
pub use log::commit::Commit;
pub use log::commit::outcome::{AppendError, Appended, Committed, Conflict};
pub use model::aggregate::{Aggregate, Snapshot};
pub use model::bus::{Bus, BusBuilder, CommandBuilder, SendError, Ticket};
pub use model::event_set::set::{Event, StoredEvent};
pub use model::policy::{ErrorAction, OnError, Retrying};
pub use model::process::contract::{ProcessManager, Trigger};
pub use model::process::effects::Effects;
pub use model::process::status::{ProcessState, ProcessStatus};
pub use model::process::{ProcessBuilder, ProcessHandle};
pub use model::projection::contract::Projection;
pub use model::projection::status::{ProjectionState, Status};
pub use model::projection::view::{View, ViewReader};
pub use model::projection::writer::ViewWriter;
pub use model::projection::{ProjectionBuilder, ProjectionHandle};
pub use model::read_model::{ReadModel, ReadModelHandle};
pub use model::repository::Repository;
pub use model::repository::outcome::{AsOf, ExecuteError, Executed, Frame, Loaded};
pub use store::backup::Backup;
pub use store::repair::{CutStream, Exported, IndexRebuilt, Renumbered, Repair};
pub use store::verify::Verification;
pub use store::{ReadAll, ReadStream, Store, StoreBuilder, StreamInfo, Streams};
pub use value::clock::{Clock, ClockWatch, SystemClock};
pub use value::error::{Damage, Error, ErrorKind, HandlerError, Result};
pub use value::event::{EventType, Format, Metadata, NewEvent, RecordedEvent, RecordedMetadata};
pub use value::filter::Filter;
pub use value::finding::{Finding, FindingKind};
pub use value::head_hash::{HeadHash, History};
pub use value::limits::{
    COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX, COMMIT_STREAMS_MAX, CONSUMER_NAME_BYTES_MAX,
    EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX, STREAM_NAME_BYTES_MAX, SUBSCRIPTION_BUFFER_MAX,
};
pub use value::position::{ExpectedVersion, Position, Version};
pub use value::stream::StreamId;

/// The README's program is compiled and run like every other example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
