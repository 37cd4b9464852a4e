//! Public names that were replaced, or moved into a module, for programs that still use them. The
//! next release removes them.

use crate::value::error::ErrorKind;

#[doc(hidden)]
pub use crate::follow::follower::{FollowerRead, Following};
#[doc(hidden)]
pub use crate::follow::group::consumer::Delivery;
#[doc(hidden)]
pub use crate::follow::group::ledger::Nack;
#[doc(hidden)]
pub use crate::follow::group::{ConsumerGroup as Group, GroupBuilder};
#[doc(hidden)]
pub use crate::follow::parked::Parked;
#[doc(hidden)]
pub use crate::follow::stopper::{Stopper, Stopper as FollowingStopper};
#[doc(hidden)]
pub use crate::follow::subscription::SubscriptionBuilder;
#[doc(hidden)]
pub use crate::journal::torn::TornWrite;
#[doc(hidden)]
pub use crate::log::read::stream_info::StreamInfo;
#[doc(hidden)]
pub use crate::model::bus::{BusBuilder, CommandBuilder, CommandBuilder as Sending};
#[doc(hidden)]
pub use crate::model::event_set::set::StoredEvent;
#[doc(hidden)]
pub use crate::model::policy::{ErrorAction, ErrorAction as Then, OnError, Retrying};
#[doc(hidden)]
pub use crate::model::process::builder::ProcessBuilder;
#[doc(hidden)]
pub use crate::model::process::contract::Trigger;
#[doc(hidden)]
pub use crate::model::process::effects::Effects;
#[doc(hidden)]
pub use crate::model::process::handle::ProcessHandle;
#[doc(hidden)]
pub use crate::model::process::status::{ProcessState, ProcessStatus};
#[doc(hidden)]
pub use crate::model::projection::status::{ProjectionState, ProjectionStatus as Status};
#[doc(hidden)]
pub use crate::model::projection::view::ViewReader;
#[doc(hidden)]
pub use crate::model::projection::{ProjectionBuilder, ProjectionHandle};
#[doc(hidden)]
pub use crate::model::read_model::ReadModelHandle;
#[doc(hidden)]
pub use crate::model::repository::outcome::{AsOf, Executed, HistoryEntry as Frame, Loaded};
#[doc(hidden)]
pub use crate::model::ticket::{SendError, SendError as NotSent, Ticket};
#[doc(hidden)]
pub use crate::store::backup::Backup;
#[doc(hidden)]
pub use crate::store::repair::{CutStream, Exported, IndexRebuilt, Renumbered, Repair};
#[doc(hidden)]
pub use crate::store::verify::Verification;
#[doc(hidden)]
pub use crate::store::{ReadAll, ReadStream, Streams};
#[doc(hidden)]
pub use crate::value::clock::{ClockWatch, SystemClock};
#[doc(hidden)]
pub use crate::value::error::Damage;
#[doc(hidden)]
pub use crate::value::event::{PayloadFormat as Format, RecordedMetadata};
#[doc(hidden)]
pub use crate::value::finding::{Finding, FindingKind};
#[doc(hidden)]
pub use crate::value::head_hash::{HashCheck as History, HeadHash};
#[doc(hidden)]
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
