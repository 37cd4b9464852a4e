//! Filmstrip: an embedded event store and CQRS engine.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]

mod clock;
mod codec;
mod error;
mod event;
mod filter;
mod follow;
mod index;
mod journal;
mod json;
mod limits;
mod log;
mod model;
mod position;
mod store;
mod stream;
pub mod testing;

pub use clock::{Clock, SystemClock};
pub use error::{Damage, Error, ErrorKind, HandlerError, Result};
pub use event::{EventType, Format, Metadata, NewEvent, RecordedEvent, RecordedMetadata};
pub use filter::Filter;
pub use follow::subscription::{Stopper, Subscription, SubscriptionBuilder};
pub use journal::recover::TornWrite;
pub use limits::{
    COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX, COMMIT_STREAMS_MAX, CONSUMER_NAME_BYTES_MAX,
    EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX, STREAM_NAME_BYTES_MAX, SUBSCRIPTION_BUFFER_MAX,
};
pub use log::commit::Commit;
pub use log::outcome::{AppendError, Appended, Committed, Conflict};
pub use model::aggregate::{Aggregate, Snapshot};
pub use model::event_set::set::{Event, StoredEvent};
pub use model::projection::contract::Projection;
pub use model::projection::policy::{OnError, Then};
pub use model::projection::status::{Parked, ProjectionState, Status};
pub use model::projection::view::{View, ViewReader};
pub use model::projection::writer::ViewWriter;
pub use model::projection::{ProjectionBuilder, ProjectionHandle};
pub use model::read_model::{ReadModel, ReadModelHandle};
pub use model::repository::Repository;
pub use model::repository::outcome::{AsOf, ExecuteError, Executed, Frame, Loaded};
pub use position::{ExpectedVersion, Position, Version};
pub use store::{ReadAll, ReadStream, Store, StoreBuilder, StreamInfo, Streams};
pub use stream::StreamId;

/// The README's program is compiled and run like every other example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
