//! The state of a consumer group, for other threads.

use crate::codec::group::{Shelf, shelf_prefix};
use crate::follow::group::registry::Groups;
use crate::follow::group::running::RunningGroup;
use crate::log::core::Log;
use crate::value::error::{Error, Result, under_error};
use crate::value::position::Position;
use serde::Serialize;
use std::sync::atomic::Ordering;

/// The state and progress of a consumer group that has consumers. serde writes it as it writes a
/// [projection's](crate::projection::ProjectionStatus).
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GroupStatus {
    /// Its state.
    pub state: GroupState,
    /// The position up to which everything is finished, parked, or not wanted. A moment later it is durable.
    pub cursor: Position,
    /// How many events the head is past that, wanted or not.
    pub lag: u64,
    /// How many events it holds that are not finished: delivered, or waiting for a consumer or for their next attempt.
    pub unfinished: u64,
    /// How many events are parked; while the index is being rebuilt, how many were when that was last asked.
    pub parked: u64,
}

/// The state of a consumer group.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum GroupState {
    /// It delivers events.
    Running,
    /// It has ended with an error, and delivers nothing more until a consumer starts it again.
    Faulted(#[serde(serialize_with = "under_error")] Error),
}

/// A group's status, and how often it has delivered an event again since it began.
pub(crate) struct GroupReport {
    pub(crate) name: String,
    pub(crate) status: GroupStatus,
    pub(crate) redelivered: u64,
}

impl Groups {
    /// The groups that run, by name.
    pub(crate) fn reports(&self, log: &Log) -> Result<Vec<GroupReport>> {
        let mut groups = self.running();
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        groups.iter().map(|group| report(log, group)).collect()
    }
}

fn report(log: &Log, group: &RunningGroup) -> Result<GroupReport> {
    // While the index is being rebuilt this would wait for it, and a page of an operator's with it.
    if !log.index.is_busy() {
        let mut parked = 0;
        log.visit_records(&shelf_prefix(&group.name, Shelf::Parked), |_, _| {
            parked += 1;
            Ok(())
        })?;
        group.parked.store(parked, Ordering::Relaxed);
    }
    let (cursor, unfinished) = group.reached();
    let status = GroupStatus {
        state: group.ended().map_or(GroupState::Running, GroupState::Faulted),
        cursor: Position::new(cursor),
        lag: log.head.position().saturating_sub(cursor),
        unfinished,
        parked: group.parked.load(Ordering::Relaxed),
    };
    Ok(GroupReport { name: group.name.clone(), status, redelivered: group.redelivered.get() })
}
