//! An embedded event store and CQRS engine: what SQLite is to tables, filmstrip is to event streams.
//!
//! Most systems keep a photograph: the current state, but not how it came about. A [`Store`] keeps the
//! film: it records every event in order, and any state, present or past, is computed from those
//! events. There is no server: a store is a directory, and the engine runs in your process.
//!
//! # Concepts
//!
//! * An **event** is a fact, with a type, a payload and an id. A writer appends a [`NewEvent`]; a reader
//!   gets a [`RecordedEvent`], which also has a version, a position and a time.
//! * A **stream** is the sequence of events about one thing, named `Category-id` ([`StreamId`]). An
//!   event's [`Version`] is its place in its stream, counted from 1.
//! * The **global sequence** contains the events of all streams in the order in which they became durable.
//!   An event's [`Position`] is its place in this sequence, counted from 1 without gaps.
//! * A [`Commit`] writes events to one or more streams; they become durable together or not at all.
//! * An [`ExpectedVersion`] is the condition for writing to a stream: what the writer's decision assumed
//!   about the stream, usually its version. If it does not hold, the append returns a [`Conflict`] and writes nothing.
//! * A [`Subscription`] follows the global sequence: it delivers the recorded events first, then new ones.
//!
//! For whole applications, the crate builds on these:
//!
//! * An [`Aggregate`] decides on commands: a command and the current state produce events, and the events
//!   produce the next state. A [`Repository`] loads aggregates, runs commands on them, and loads their
//!   earlier states.
//! * A [`Consumer`] handles events in parallel with the other consumers of its group; each event is
//!   delivered at least once.
//! * A [`Projection`] builds a durable view that answers one question; a [`ReadModel`] does so in memory.
//!   Both can be rebuilt from the events at any time.
//! * A [`ProcessManager`] coordinates work across several streams: it follows their events, gives
//!   commands, and acts when an expected event does not come in time.
//!
//! The [`book`] has a chapter for each part of an application, with a complete program.
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
//! | retry after a lost reply | the same event ids again: nothing is written twice ([`Store::append`]) |
//! | read the last event of a stream | [`Store::read_stream`] with `.backwards().limit(1)` |
//! | read the state at an earlier time | `.as_of(time)` on a read, or [`Repository::load_as_of`] |
//! | follow new events only | [`Store::subscribe`] with `.after(store.head())` |
//! | share events among several consumers, each delivered at least once | [`SubscriptionBuilder::group`] |
//! | resume a subscription after a restart | store the last position you handled; `.after(position)` |
//! | ingest another store's events exactly once | [`Commit::tracking`] and [`Store::tracked`] |
//! | commit only if another stream is unchanged | [`Commit::check`] |
//! | turn the events of one stream into commands for another | [`ProcessManager`] |
//! | act when an expected event does not come in time | [`ProcessManager::deadline`] |
//! | test without a directory to clean up | [`Store::temporary`], [`testing`] |
//! | see whether a crash cut a write short | [`Store::torn_write`] |
//! | check a store for damage | [`Store::verify`]; [`Store::verify_at`] if it does not open |
//! | recover what is still readable in a damaged store | [`Store::repair`], then [`Repair::export`] |
//! | back up while writers continue | [`Store::backup`], each time into the same directory |
//! | read from another process | [`Follower`] |
//! | prove later that nothing was changed | keep [`Store::head_hash`] elsewhere; [`Store::check_hash`] |
//!
//! # Guarantees and limits
//!
//! An append returns only after an `fdatasync` of the journal, which concurrent appends share; no setting
//! weakens this. Damaged data is never returned: reading it is an error that says where the damage is. After a
//! write whose outcome is unknown, the store refuses further writes until it is reopened, because only reading
//! the disk again can show what is durable. A lost or damaged index is rebuilt automatically.
//!
//! Only one process at a time can have a store open for writing; others can read and follow it
//! ([`Follower`]). Calls block; there is no async runtime. There is no replication. Encryption and the deletion
//! of single events are not implemented yet, but the format has room for both. Durability was measured and
//! tested on Linux. Windows is not supported, because the journal uses Unix's positioned reads and writes.
//!
//! Memory is bounded by named limits and by [`StoreBuilder::cache_bytes`]. An input over a limit is refused with
//! an error that names the limit and the value. An event may have up to 16 MiB ([`EVENT_BYTES_MAX`]); a commit, up
//! to 64 MiB ([`COMMIT_BYTES_MAX`]) and 65,536 events ([`COMMIT_EVENTS_MAX`]); a stream's name, up to 1,024 bytes
//! ([`STREAM_NAME_BYTES_MAX`]).
//!
//! The crate prints nothing. It reports what an operator should know (a torn write, a rebuild of the index, a
//! failing disk) as [`tracing`] events.
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
mod renamed;
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
#[doc(hidden)]
pub use renamed::*;
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
