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
//! * A **stream** is the sequence of events about one thing, named `Category-id` by convention ([`StreamId`]). An
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
//! * A [`Decision`] depends on events of several streams, found by a [`Filter`]: its events are recorded unless another
//!   one that it depends on came since.
//! * A [`Consumer`] handles events in parallel with the other consumers of its group; each event is
//!   delivered at least once.
//! * A [`Projection`] builds a durable view that answers one question; a [`ReadModel`] does so in memory.
//!   Both can be rebuilt from the events at any time.
//! * A [`ProcessManager`] coordinates work across several streams: it follows their events, gives
//!   commands, and acts when an expected event does not come in time.
//! * A [relay](relay::RelayTarget) sends the events to another system, in order and each once.
//! * A **replica** ([`replica`]) follows a store elsewhere, has the same events, and can take its place.
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
//! # Where things are
//!
//! The names that most programs use are at the root of the crate. The rest is in modules:
//!
//! | module | contents |
//! | --- | --- |
//! | [`read`] | reads of a stream, of the global sequence, and of the list of streams |
//! | [`follow`] | subscriptions in this process, followers in another |
//! | [`group`] | consumers that share events, acknowledgements, parked events |
//! | [`repository`] | aggregates, snapshots, the outcome of commands, earlier states |
//! | [`transaction`] | commands across several aggregates |
//! | [`decision`] | decisions that depend on events of several streams |
//! | [`bus`] | the queue of commands and its tickets |
//! | [`projection`] | views and read models, their handles and states |
//! | [`process`] | process managers, their effects, handles and states |
//! | [`relay`] | sending events to another system |
//! | [`replica`] | copies of a store that follow it, and can take its place |
//! | [`repair`] | backups, verification, findings, export |
//! | [`trace`], [`causation`] | the trace that a command is part of; what led to an event |
//! | [`health`] | what an operator looks at: health and figures |
//! | [`copy`] | copying a store with some of its events changed |
//! | [`clock`] | clocks |
//! | `erasure` | with the feature `erasure`: keys by which a person can be forgotten |
//! | [`limits`] | the largest sizes and counts that are accepted |
//! | the root | events, commits, errors, filters, and the traits that a program implements |
//! | [`testing`] | given-when-then for aggregates, decisions, projections and processes; a clock for tests |
//! | [`book`] | a chapter for each part of an application |
//!
//! [`bytes`], [`chrono`], [`crossbeam_channel`] and [`uuid`] are re-exported, because their types are in the API.
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
//! | share events among several consumers, each delivered at least once | [`SubscriptionBuilder::group`](follow::SubscriptionBuilder::group); each `start` is one [`Consumer`] |
//! | resume a subscription after a restart | store its [`position`](Subscription::position); `.after(position)` |
//! | ingest another store's events exactly once | [`Commit::tracking`] and [`Store::tracked`] |
//! | decide on several aggregates at once | [`Store::transact`] |
//! | decide on events of several streams, keep a name unique, number without gaps | [`Store::decide`] |
//! | commit only if another stream is unchanged | [`Commit::check`] |
//! | turn the events of one stream into commands for another | [`ProcessManager`] |
//! | act when an expected event does not come in time | [`ProcessManager::deadline`] |
//! | test without a directory to clean up | [`Store::temporary`], [`testing`] |
//! | see whether a crash cut a write short | [`Store::torn_write`] |
//! | check a store for damage | [`Store::verify`]; [`Store::verify_at`] if it does not open |
//! | recover what is still readable in a damaged store | [`Store::repair`], then [`Repair::export`](repair::Repair::export) |
//! | split one recorded event into several | [`Store::copy_into`]: into a new store |
//! | back up while writers continue | [`Store::backup`], each time into the same directory |
//! | read from another process | [`Follower`] |
//! | keep a copy that follows, on another machine | [`StoreBuilder::replica`] |
//! | send the events to a broker, or to a file | [`Store::relay`] |
//! | forget a person | with the feature `erasure`: `NewEvent::private`, and then `Store::forget` |
//! | prove later that nothing was changed | keep [`Store::head_hash`] elsewhere; [`Store::check_hash`] |
//!
//! # Guarantees and limits
//!
//! An append returns only after an `fdatasync` of the journal, which concurrent appends share; no setting
//! weakens this. Damaged data is never returned: reading it is an error that says where the damage is. After a
//! write whose outcome is unknown, the store refuses further writes until it is reopened, because only reading
//! the disk again can show what is durable. A lost or damaged index is rebuilt automatically.
//!
//! Only one process at a time can have a store open for writing; others can read and follow it ([`Follower`]), also
//! with a journal and an index of their own ([`replica`]). Calls block; with the feature `async`, a store also has an
//! async API, for any runtime (`filmstrip::aio`). With the feature `erasure`, what is recorded about a person can be
//! forgotten (`filmstrip::erasure`); single events cannot be deleted. Durability was measured and tested on Linux.
//! Windows is not supported, because the journal uses Unix's positioned reads and writes.
//!
//! Memory is bounded by named limits and by [`StoreBuilder::cache_bytes`]. An input over a limit is refused with
//! an error that gives the limit and the value. An event may have up to 16 MiB; a commit, up to 64 MiB and 65,536
//! events; a stream's name, up to 1,024 bytes: [`limits`] has them all.
//!
//! The crate prints nothing. It reports what an operator should know (a torn write, a rebuild of the index, a
//! failing disk) as [`tracing`] events.
#![allow(rustdoc::redundant_explicit_links, reason = "without `renamed` they are not redundant")]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]

#[cfg(feature = "async")]
pub mod aio;
pub mod book;
mod codec;
mod doctor;
pub mod follow;
mod index;
mod journal;
#[cfg(feature = "erasure")]
mod keyring;
mod kv;
mod log;
mod model;
mod renamed;
#[cfg(feature = "erasure")]
mod sealing;
mod sst;
mod storage;
mod store;
mod telemetry;
pub mod testing;
mod value;
mod views;

pub use follow::follower::Follower;
pub use follow::group::consumer::Consumer;
pub use follow::subscription::Subscription;
pub use log::commit::Commit;
pub use log::commit::outcome::{AppendError, Appended, Committed, Conflict, Matched};
pub use model::aggregate::{Aggregate, Snapshot};
pub use model::bus::Bus;
pub use model::decision::Decision;
pub use model::decision::boundary::DecisionModel;
pub use model::decision::outcome::DecideError;
pub use model::event_set::set::Event;
pub use model::process::contract::ProcessManager;
pub use model::projection::contract::Projection;
pub use model::projection::view::View;
pub use model::projection::writer::ViewWriter;
pub use model::read_model::ReadModel;
pub use model::repository::Repository;
pub use model::repository::outcome::ExecuteError;
pub use renamed::*;
pub use store::Store;
pub use store::builder::StoreBuilder;
pub use store::weak::WeakStore;
pub use value::clock::Clock;
pub use value::error::{Error, ErrorKind, HandlerError, Result};
pub use value::event::{EventType, Metadata, NewEvent, RecordedEvent};
pub use value::filter::Filter;
pub use value::position::{ExpectedVersion, Position, Version};
pub use value::stream::StreamId;

// Types of these crates are in the public API. A program that names them through here has the version that
// filmstrip was built with.
pub use {bytes, chrono, crossbeam_channel, uuid};

pub mod read {
    //! What reads take and return, beside [`RecordedEvent`](crate::RecordedEvent).

    pub use crate::log::read::stream_info::StreamInfo;
    pub use crate::store::{ReadAll, ReadStream, Streams};
    pub use crate::value::event::{PayloadFormat, RecordedMetadata};
}

pub mod group {
    //! Consumers that share the events of a subscription: each event is delivered to one of them, at least once.
    //!
    //! [`SubscriptionBuilder::group`](crate::follow::SubscriptionBuilder::group) names one; each `start` with the same
    //! name and settings is one more consumer. The book explains [when to use them](crate::book::groups).

    pub use crate::follow::group::consumer::{Consumer, Delivery};
    pub use crate::follow::group::ledger::Nack;
    pub use crate::follow::group::status::{GroupState, GroupStatus};
    pub use crate::follow::group::{ConsumerGroup, GroupBuilder};
    pub use crate::follow::parked::Parked;
}

pub mod repository {
    //! Aggregates, and the repository that loads them and runs commands on them.
    //!
    //! The book has chapters on [aggregates](crate::book::aggregates),
    //! [transactions](crate::book::transactions), [snapshots](crate::book::snapshots) and
    //! [time travel](crate::book::time_travel).

    pub use crate::model::aggregate::{Aggregate, Snapshot};
    pub use crate::model::envelope::Envelope;
    pub use crate::model::event_set::set::{Event, StoredEvent};
    pub use crate::model::repository::Repository;
    pub use crate::model::repository::outcome::{
        AsOf, ExecuteError, Executed, HistoryEntry, Loaded,
    };
}

pub mod transaction {
    //! Commands across several aggregates, recorded by one commit: see [the book](crate::book::transactions).

    pub use crate::model::transaction::outcome::{DecidedPart, Transacted};
    pub use crate::model::transaction::{Transaction, TransactionBuilder};
}

pub mod decision {
    //! Decisions that depend on events of several streams, found by a filter and recorded on the condition that no
    //! further ones have come: see [the book](crate::book::decisions).

    pub use crate::model::decision::Decision;
    pub use crate::model::decision::boundary::{Boundary, DecisionModel};
    pub use crate::model::decision::outcome::{DecideError, Decided};
    pub use crate::model::decision::run::DecisionBuilder;
}

pub mod bus {
    //! A bounded queue of commands and a pool of threads that runs them: see [the book](crate::book::bus).

    pub use crate::model::bus::{Bus, BusBuilder, CommandBuilder};
    pub use crate::model::ticket::{SendError, Ticket};
}

pub mod projection {
    //! Durable views and read models in memory, both built from the events: see
    //! [the book](crate::book::projections).
    //!
    //! [`Parked`] is a parked event, and the same type as [`group::Parked`](crate::group::Parked).

    pub use crate::follow::parked::Parked;
    pub use crate::model::policy::{ErrorAction, OnError, Retrying};
    pub use crate::model::projection::contract::Projection;
    pub use crate::model::projection::indexed::{IndexRows, IndexedRow};
    pub use crate::model::projection::past::{ExplainStep, Explained, PastView, RowChange};
    pub use crate::model::projection::registry::ReadModelStatus;
    pub use crate::model::projection::rows::Rows;
    pub use crate::model::projection::status::{ProjectionState, ProjectionStatus};
    pub use crate::model::projection::view::{View, ViewReader};
    pub use crate::model::projection::writer::ViewWriter;
    pub use crate::model::projection::{ProjectionBuilder, ProjectionHandle};
    pub use crate::model::read_model::{ReadModel, ReadModelHandle};
}

pub mod process {
    //! Process managers: they follow events, give commands, and act when an event does not come in time. See
    //! [the book](crate::book::processes).
    //!
    //! [`Parked`] is an instance or a single step that is parked. An event that a projection has parked is a
    //! [`projection::Parked`](crate::projection::Parked).

    pub use crate::model::policy::{ErrorAction, OnError, Retrying};
    pub use crate::model::process::builder::ProcessBuilder;
    pub use crate::model::process::contract::{ProcessManager, Trigger};
    pub use crate::model::process::effects::{CommandOutcome, Effects};
    pub use crate::model::process::handle::ProcessHandle;
    pub use crate::model::process::passing_on::PassOn;
    pub use crate::model::process::status::{Parked, ParkedKind, ProcessState, ProcessStatus};
}

pub mod relay {
    //! Sending a store's events to another system: see [the book](crate::book::relays).

    pub use crate::model::policy::Retrying;
    pub use crate::model::relay::builder::RelayBuilder;
    pub use crate::model::relay::failure::RelayError;
    pub use crate::model::relay::handle::RelayHandle;
    pub use crate::model::relay::receipts::Receipts;
    pub use crate::model::relay::status::{RelayState, RelayStatus};
    pub use crate::model::relay::target::{LastEvent, RelaySource, RelayTarget};
}

pub mod replica {
    //! Replicas: stores whose events come from another one, and are kept as they are.
    //!
    //! [`StoreBuilder::replica`](crate::StoreBuilder::replica) opens one. The book explains
    //! [what a replica promises](crate::book::replicas), and what it does not.
    //!
    //! A [`FrameSource`] brings frames from one journal to another. [`StoreDirectory`] reads them from the directory of
    //! a store; what carries them over a network reads them there, and implements the trait at the other end.

    pub use crate::follow::follower::StoreDirectory;
    pub use crate::journal::shipped::{JournalEnd, JournalFrame};
    pub use crate::log::replica::source::{FrameSource, Heard, SourceStore};
    pub use crate::log::replica::status::{Replication, ReplicationState};
}

pub mod repair {
    //! Checking a store for damage, backing it up, and recovering what is readable in a damaged one.
    //!
    //! | you want to | use |
    //! | --- | --- |
    //! | back up while writers continue | [`Store::backup`](crate::Store::backup) |
    //! | check an open store | [`Store::verify`](crate::Store::verify) |
    //! | do either from another process | [`Follower::backup`](crate::Follower::backup),
    //! [`Follower::verify`](crate::Follower::verify) |
    //! | check a store that does not open | [`Store::verify_at`](crate::Store::verify_at) |
    //! | prove later that nothing was changed | [`Store::head_hash`](crate::Store::head_hash) and
    //! [`Store::check_hash`](crate::Store::check_hash) |
    //! | recover what is readable | [`Store::repair`](crate::Store::repair) |

    pub use crate::journal::torn::TornWrite;
    pub use crate::store::backup::{Backup, BackupOptions};
    pub use crate::store::repair::{CutStream, Exported, IndexRebuilt, Renumbered, Repair};
    pub use crate::store::verify::{Unchecked, Verification};
    pub use crate::value::error::Damage;
    pub use crate::value::finding::{Finding, FindingKind};
    pub use crate::value::head_hash::{HashCheck, HeadHash};
    pub use crate::value::progress::Progress;
}

pub mod health {
    //! What a store tells an operator: its health and its figures.
    //!
    //! The book says [what to watch and what to alert on](crate::book::operating).

    pub use crate::journal::extent::SegmentInfo;
    pub use crate::store::figures::{
        CommitStats, DiskStats, FollowerKind, FollowerState, FollowerStats, IndexStats,
        ReplicationStats, Stats, SubscriptionStats, UpkeepStats,
    };
    pub use crate::store::health::{Health, Writes};
}

pub mod causation {
    //! What led to an event, and what followed from it: see [`Store::causation`](crate::Store::causation).

    pub use crate::store::causation::{Causation, CausedEvent};
}

pub mod trace {
    //! Distributed tracing: see [`StoreBuilder::trace_context`](crate::StoreBuilder::trace_context).
    //!
    //! The engine's own spans are those of the crate [`tracing`](https://docs.rs/tracing); the book
    //! [lists them](crate::book::operating).

    pub use crate::telemetry::context::TraceContext;
    pub use tracing::Span;
}

pub mod copy {
    //! A store as a copy of another one, with some of its events split, replaced or left out.
    //!
    //! The book says [when to copy](crate::book::events).

    pub use crate::store::copy::{Copied, CopyAs};
}

pub mod clock {
    //! Where the times of events come from, and what waits for a time.
    //!
    //! [`testing::ManualClock`](crate::testing::ManualClock) is one that a test moves.

    pub use crate::value::clock::{Clock, ClockWatch, SystemClock};
}

#[cfg(feature = "erasure")]
pub mod erasure {
    //! The keys under which private events are sealed, so that a person can be forgotten: forgetting the key makes
    //! what it has sealed unreadable, wherever a copy of it is.
    //!
    //! [`NewEvent::private`](crate::NewEvent::private) makes an event private, and
    //! [`Store::forget`](crate::Store::forget) forgets whom it is about. A [`KeyDirectory`] keeps the keys of all data
    //! subjects, outside of the store and its backups. [`Keys`] is what a store wants of it, and the way to a key
    //! service.

    pub use crate::keyring::directory::KeyDirectory;
    pub use crate::keyring::kek::KeyEncryptingKey;
    pub use crate::keyring::rekey::Rekeyed;
    pub use crate::keyring::{KeyList, Keys, ListedKey};
    pub use crate::sealing::key::{KeyId, SubjectKey};
    pub use crate::store::forgetting::Forgotten;
    pub use crate::value::limits::{SUBJECT_BYTES_MAX, SUBJECT_KEYS_MAX};
}

pub mod limits {
    //! The largest sizes and counts that are accepted. An error gives the limit and the value met.

    pub use crate::value::limits::{
        COMMIT_BYTES_MAX, COMMIT_CONDITIONS_MAX, COMMIT_EVENTS_MAX, COMMIT_STREAMS_MAX,
        CONSUMER_NAME_BYTES_MAX, EVENT_BYTES_MAX, EVENT_TAGS_MAX, EVENT_TYPE_BYTES_MAX,
        FILTER_ALTERNATIVES_MAX, LANES_MAX, STREAM_NAME_BYTES_MAX, SUBSCRIPTION_BUFFER_MAX,
        TAG_BYTES_MAX, VIEW_ENTRIES_BYTES_MAX, VIEW_ENTRY_BYTES_MAX, VIEW_INDEX_NAME_BYTES_MAX,
        VIEW_INDEXES_MAX, VIEW_KEY_BYTES_MAX, VIEW_ROW_BYTES_MAX,
    };
}

/// The README's program is compiled and run like every other example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
