//! An embedded event store and CQRS engine: what SQLite is to tables, for event streams.
//!
//! State in most systems is a photograph: when somebody asks why it is as it is, nobody knows. A
//! [`Store`] keeps the film. What is stored is what happened, in order, for good; any state, of any
//! moment, is folded from it. There is no server: a store is a directory, and the engine runs in your
//! process.
//!
//! # The nouns
//!
//! * An **event** is a fact: a type, a payload, an id. A writer hands in a [`NewEvent`]; the store
//!   gives back a [`RecordedEvent`], which has its places and its time.
//! * A **stream** is the ordered events of one thing, named `Category-id` ([`StreamId`]). An event's
//!   place in it is its [`Version`], from 1 on.
//! * The **global sequence** is all events of all streams in the order in which they became durable.
//!   An event's place in it is its [`Position`]: from 1 on, without a gap.
//! * A [`Commit`] is events for one or several streams that become durable together or not at all.
//! * An [`ExpectedVersion`] is the condition under which a stream is written: what the writer knew when
//!   it decided. If it does not hold, the answer is a [`Conflict`] and nothing is written.
//! * A [`Subscription`] follows the global sequence: what was recorded, then what is.
//!
//! On top of these, for whole applications:
//!
//! * An [`Aggregate`] decides: a command and the present state make events, and events make the state.
//!   A [`Repository`] loads it, runs commands on it, and rewinds it.
//! * A [`Consumer`] handles events side by side with others of its group: each event at least once.
//! * A [`Projection`] builds a durable view for one question; a [`ReadModel`] one in memory. Both can be
//!   built again from the events whenever wanted.
//! * A [`ProcessManager`] sees a matter through that several streams are part of: it follows their
//!   events, gives commands, and notices when nothing happens.
//!
//! The [`book`] has a chapter for each of these.
//!
//! # Appending and reading
//!
//! ```
//! use filmstrip::{AppendError, Commit, ExpectedVersion, NewEvent, Position, Store, Version};
//!
//! let store = Store::temporary()?; // a store of your own: Store::open("my-store")?
//! let opened = NewEvent::json("Opened", &100)?;
//! store.append("Account-a", ExpectedVersion::NoStream, [opened])?; // durable when it returns
//!
//! // Several streams, all or nothing, each as it was when this was decided.
//! let transfer = Commit::new()
//!     .append("Account-a", Version::new(1), [NewEvent::json("Withdrawn", &30)?])
//!     .append("Account-b", ExpectedVersion::NoStream, [NewEvent::json("Deposited", &30)?]);
//! assert_eq!(store.commit(transfer)?.position, Position::new(3));
//!
//! // Somebody who had decided on the older state is told.
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
//! | ask again after a lost answer | the same event ids: nothing is written twice ([`Store::append`]) |
//! | read the last event of a stream | [`Store::read_stream`] with `.backwards().limit(1)` |
//! | read the state of a moment | `.as_of(time)` on a read, or [`Repository::load_as_of`] |
//! | follow live events only | [`Store::subscribe`] with `.after(store.head())` |
//! | share the work of handling events, each at least once | [`SubscriptionBuilder::group`] |
//! | go on where a consumer stopped | keep the last position it saw; `.after(position)` |
//! | take in another store's events exactly once | [`Commit::tracking`] and [`Store::tracked`] |
//! | commit only if another stream is unchanged | [`Commit::check`] |
//! | let one thing's events lead to another's commands | [`ProcessManager`] |
//! | do something when nothing has happened in time | [`ProcessManager::deadline`] |
//! | test without a directory to clean up | [`Store::temporary`], [`testing`] |
//! | tell what a crash left | [`Store::torn_write`] |
//! | know that everything is whole | [`Store::verify`]; [`Store::verify_at`] if it does not open |
//! | save what can be read of a damaged store | [`Store::repair`], then [`Repair::export`] |
//! | back up beside writers | [`Store::backup`], again and again into one directory |
//! | read from another process | [`Follower`] |
//! | prove later that nothing was changed | note [`Store::head_hash`]; [`Store::check_hash`] |
//!
//! # What it does, and what it does not
//!
//! An append returns after one `fdatasync` of the journal; there is no setting that weakens this.
//! Concurrent appends share one. Damage is an error that names its place, never data. After a failed
//! write the store refuses further ones until it is reopened, because only reading the disk again can
//! tell what is durable. An index that is lost or damaged is built again by itself.
//!
//! One process at a time has a store open for writing; others may follow it by reading
//! ([`Follower`]). Calls block; there is no async runtime. Memory is
//! bounded, by limits that have names ([`EVENT_BYTES_MAX`], [`COMMIT_BYTES_MAX`], …) and by
//! [`StoreBuilder::cache_bytes`]; an input over a limit is refused with the limit and the value.
//!
//! Nothing is printed; what an operator should know (a torn write, an index that is built again, a
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
