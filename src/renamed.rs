//! Public names that were replaced, or moved into a module, for programs that still use them. The
//! next release removes them.

use crate::value::error::ErrorKind;

pub use crate::follow::follower::{FollowerRead, Following};
pub use crate::follow::group::consumer::Delivery;
pub use crate::follow::group::ledger::Nack;
pub use crate::follow::group::{ConsumerGroup as Group, GroupBuilder};
pub use crate::follow::parked::Parked;
pub use crate::follow::stopper::{Stopper, Stopper as FollowingStopper};
pub use crate::follow::subscription::SubscriptionBuilder;
pub use crate::journal::torn::TornWrite;
pub use crate::model::bus::{BusBuilder, CommandBuilder, CommandBuilder as Sending};
pub use crate::model::event_set::set::StoredEvent;
pub use crate::model::policy::{ErrorAction, ErrorAction as Then, OnError, Retrying};
pub use crate::model::process::contract::Trigger;
pub use crate::model::process::effects::Effects;
pub use crate::model::process::status::{ProcessState, ProcessStatus};
pub use crate::model::process::{ProcessBuilder, ProcessHandle};
pub use crate::model::projection::status::{ProjectionState, ProjectionStatus as Status};
pub use crate::model::projection::view::ViewReader;
pub use crate::model::projection::{ProjectionBuilder, ProjectionHandle};
pub use crate::model::read_model::ReadModelHandle;
pub use crate::model::repository::outcome::{AsOf, Executed, HistoryEntry as Frame, Loaded};
pub use crate::model::ticket::{SendError, SendError as NotSent, Ticket};
pub use crate::store::backup::Backup;
pub use crate::store::repair::{CutStream, Exported, IndexRebuilt, Renumbered, Repair};
pub use crate::store::verify::Verification;
pub use crate::store::{ReadAll, ReadStream, StreamInfo, Streams};
pub use crate::value::clock::{ClockWatch, SystemClock};
pub use crate::value::error::Damage;
pub use crate::value::event::{PayloadFormat as Format, RecordedMetadata};
pub use crate::value::finding::{Finding, FindingKind};
pub use crate::value::head_hash::{HashCheck as History, HeadHash};
pub use crate::value::limits::{
    COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX, COMMIT_STREAMS_MAX, CONSUMER_NAME_BYTES_MAX,
    EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX, STREAM_NAME_BYTES_MAX, SUBSCRIPTION_BUFFER_MAX,
};

#[allow(non_upper_case_globals, reason = "they were variants")]
impl ErrorKind {
    #[doc(hidden)]
    #[deprecated(note = "it is `ErrorKind::ReadOnly`")]
    pub const Refusing: ErrorKind = ErrorKind::ReadOnly;
}

#[allow(non_upper_case_globals, reason = "they were variants")]
impl FindingKind {
    #[doc(hidden)]
    #[deprecated(note = "it is `FindingKind::DurableWatermark`")]
    pub const DurableMark: FindingKind = FindingKind::DurableWatermark;
}
