//! The commands that a stream's events answer, so that none runs twice.
//!
//! * An entry never becomes wrong: an event that answers a command is never removed.
//! * It is complete once it has every event of the stream, and stays complete as long as every later event is added.

use crate::value::position::Version;
use parking_lot::Mutex;
use std::collections::HashMap;
use uuid::Uuid;

/// The commands, each with the version of the last event that answers it.
#[derive(Debug, Default)]
pub(super) struct Commands(Mutex<HashMap<Uuid, Version>>);

impl Commands {
    /// Adds that the event at `version` answers `command`.
    pub(super) fn answered(&self, command: Uuid, version: Version) {
        let mut commands = self.0.lock();
        let last = commands.entry(command).or_insert(version);
        *last = version.max(*last);
    }

    /// The version of the last event that answers `command`, if it has run.
    pub(super) fn ran(&self, command: Uuid) -> Option<Version> {
        self.0.lock().get(&command).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
