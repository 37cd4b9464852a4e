//! Seeded bugs: defects that a proof must catch. They exist in the tests' build of the library only.
//!
//! `FILMSTRIP_SEEDED_BUG` names the one that a process has; without it there is none. The tests in
//! `proof::seeded` run the proofs in processes of their own, once with each, and expect a failure.

use std::sync::OnceLock;

/// A defect that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    AcknowledgeBeforeSync,
    SkipDirectorySync,
    AcceptBadChecksum,
    TruncateAtMidLogDamage,
    PublishBeforeDurable,
    CheckpointBeforeView,
    CheckpointBeforeIndex,
    LoseTailOnFailedIndexWrite,
    ReusePositionAfterFailedGroup,
    LeaveSledLogUnsynced,
    ShowLastFrameUnsynced,
    DropHalfTakenBatch,
    OverlookLostLastFrame,
    LeaveFailedFrame,
    ReuseUnchecked,
}

/// All of them.
pub(crate) const BUGS: [Bug; 15] = [
    Bug::AcknowledgeBeforeSync,
    Bug::SkipDirectorySync,
    Bug::AcceptBadChecksum,
    Bug::TruncateAtMidLogDamage,
    Bug::PublishBeforeDurable,
    Bug::CheckpointBeforeView,
    Bug::CheckpointBeforeIndex,
    Bug::LoseTailOnFailedIndexWrite,
    Bug::ReusePositionAfterFailedGroup,
    Bug::LeaveSledLogUnsynced,
    Bug::ShowLastFrameUnsynced,
    Bug::DropHalfTakenBatch,
    Bug::OverlookLostLastFrame,
    Bug::LeaveFailedFrame,
    Bug::ReuseUnchecked,
];

/// The variable that names the bug of this process.
pub(crate) const VARIABLE: &str = "FILMSTRIP_SEEDED_BUG";

/// Whether this process has `bug`.
pub(crate) fn has(bug: Bug) -> bool {
    static SEEDED: OnceLock<Option<Bug>> = OnceLock::new();
    *SEEDED.get_or_init(named) == Some(bug)
}

fn named() -> Option<Bug> {
    let name = std::env::var(VARIABLE).ok()?;
    let bug = BUGS.into_iter().find(|bug| format!("{bug:?}") == name);
    Some(bug.unwrap_or_else(|| panic!("there is no bug {name}")))
}
