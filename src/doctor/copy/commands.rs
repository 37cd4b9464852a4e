//! Which commands a copy forgets: of whose events in a stream none is left.
//!
//! A command's events in a stream are of one commit, and carry its id: by them, a store knows that it has run.

use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::stream::StreamId;
use std::collections::HashSet;
use uuid::Uuid;

/// The commands that the events of one commit answer, and whether the copy has any of their events.
#[derive(Default)]
pub(super) struct Commands {
    /// Those of events that are there. Without one that is not, nobody asks.
    kept: Vec<(StreamId, Uuid)>,
    gone: HashSet<(StreamId, Uuid)>,
}

impl Commands {
    /// Takes in an event of the commit.
    pub(super) fn see(&mut self, event: &RecordedEvent, is_kept: bool) {
        let Some(command) = event.metadata.command_id else { return };
        let command = (event.stream.clone(), command);
        match is_kept {
            true if self.kept.last() == Some(&command) => {}
            true => self.kept.push(command),
            false => {
                self.gone.insert(command);
            }
        }
    }

    /// How many of the commands have no event in the copy.
    pub(super) fn forgotten(mut self) -> u64 {
        if self.gone.is_empty() || failpoint!("doctor::overlook_forgotten_commands") {
            return 0;
        }
        self.kept.iter().for_each(|command| {
            self.gone.remove(command);
        });
        self.gone.len() as u64
    }
}
