//! How a replica does.

use crate::value::error::{Error, under_error};
use crate::value::position::Position;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How a replica follows its source; see [`Store::replication`](crate::Store::replication).
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Replication {
    /// Whether it takes frames.
    pub state: ReplicationState,
    /// The replica's head.
    pub position: Position,
    /// The source's head when it was last heard; `None` if it was not heard since the replica was opened.
    pub source: Option<Position>,
    /// The events that the source had when it was last heard, and the replica lacks; 0 if it was not heard.
    pub lag: u64,
    /// How long ago the source was last heard, whether or not it had something new. What it has recorded since is not
    /// known here.
    pub heard_ago: Option<Duration>,
    /// How long ago the replica last had everything that the source was known to have.
    pub level_ago: Option<Duration>,
    /// The frames that it has taken since it was opened.
    pub frames: u64,
    /// How often an attempt to take frames has failed since it was opened, and was or will be repeated.
    pub retries: u64,
}

/// Whether a replica takes frames from its source.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ReplicationState {
    /// It has not heard the source yet.
    Connecting,
    /// It takes what comes.
    Following,
    /// The source could not be read, or its frames could not be written; the replica tries again.
    Retrying(#[serde(serialize_with = "under_error")] Error),
    /// It takes nothing further from this source. Reads go on.
    Stopped(#[serde(serialize_with = "under_error")] Error),
}

/// What is known while it goes on.
pub(super) struct Standing {
    state: ReplicationState,
    source: Option<Position>,
    heard: Option<Instant>,
    level: Option<Instant>,
    frames: u64,
    retries: u64,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing {
            state: ReplicationState::Connecting,
            source: None,
            heard: None,
            level: None,
            frames: 0,
            retries: 0,
        }
    }
}

impl Standing {
    pub(super) fn shown(&self, position: Position) -> Replication {
        let source = self.source;
        Replication {
            state: self.state.clone(),
            position,
            source,
            lag: source.map_or(0, |source| source.get().saturating_sub(position.get())),
            heard_ago: self.heard.map(|heard| heard.elapsed()),
            level_ago: self.level.map(|level| level.elapsed()),
            frames: self.frames,
            retries: self.retries,
        }
    }

    /// The source has said that its head is at `source`; the replica's own is at `position`.
    pub(super) fn heard(&mut self, source: Position, position: Position) {
        let now = Instant::now();
        (self.source, self.heard) = (Some(source), Some(now));
        if position >= source {
            self.level = Some(now);
        }
    }

    pub(super) fn becomes(&mut self, state: ReplicationState) {
        self.retries += u64::from(matches!(state, ReplicationState::Retrying(_)));
        self.state = state;
    }

    /// One more frame is shown.
    pub(super) fn took_a_frame(&mut self) {
        self.frames += 1;
    }
}
