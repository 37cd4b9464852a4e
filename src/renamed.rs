//! Public names that have been replaced, for programs that still use them. They go with the next release.

use crate::value::error::ErrorKind;
use crate::value::finding::FindingKind;

pub use crate::follow::stopper::Stopper as FollowingStopper;
pub use crate::model::bus::{CommandBuilder as Sending, SendError as NotSent};
pub use crate::model::policy::ErrorAction as Then;

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
