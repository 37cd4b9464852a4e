//! What follows the log, what it has parked, and what may be done with it.

use crate::fault::Fault;
use crate::shared::Shared;
use crate::text::plain;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::health::{FollowerKind, FollowerStats, Health};
use filmstrip::{Position, Store};
use serde::Serialize;

/// Something that is parked, whatever has parked it.
#[derive(Serialize)]
pub(crate) struct Waiting {
    pub(crate) what: String,
    /// The event, if it is one.
    pub(crate) position: Option<Position>,
    pub(crate) error: String,
    pub(crate) attempts: u32,
    pub(crate) parked_at: DateTime<Utc>,
    /// The instance of a process that it belongs to.
    pub(crate) instance: Option<String>,
}

/// Something that can be done with a follower.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// What is asked before it is done.
    pub(crate) confirm: &'static str,
    /// Whether it cannot be undone.
    pub(crate) is_final: bool,
}

const PAUSE: Action = Action {
    name: "pause",
    label: "Pause",
    confirm: "It stops following the log until it is resumed.",
    is_final: false,
};
const RESUME: Action = Action {
    name: "resume",
    label: "Resume",
    confirm: "It goes on where it stopped, and tries again what it stopped at.",
    is_final: false,
};
const REBUILD: Action = Action {
    name: "rebuild",
    label: "Rebuild",
    confirm: "All of its events are applied again to a new view. The one that is served stays until then.",
    is_final: false,
};
pub(crate) const REPLAY: Action = Action {
    name: "replay",
    label: "Replay parked",
    confirm: "What is parked is tried again. What fails is parked again.",
    is_final: false,
};
pub(crate) const DISCARD: Action = Action {
    name: "discard",
    label: "Discard parked",
    confirm: "What is parked is given up for good. Its events stay in the log, and are not handled any more. What was \
              parked since this page was made is given up too.",
    is_final: true,
};

const PROJECTION_ACTIONS: [Action; 5] = [PAUSE, RESUME, REBUILD, REPLAY, DISCARD];
// Of each instance; those of one are beside what it has parked.
const PROCESS_ACTIONS: [Action; 4] = [
    PAUSE,
    RESUME,
    Action { name: "replay-all", ..REPLAY },
    Action { name: "discard-all", ..DISCARD },
];
const GROUP_ACTIONS: [Action; 2] = [REPLAY, DISCARD];

pub(crate) fn kind(kind: FollowerKind) -> &'static str {
    match kind {
        FollowerKind::Projection => "projection",
        FollowerKind::ReadModel => "read model",
        FollowerKind::Process => "process",
        FollowerKind::Group => "group",
        FollowerKind::Relay => "relay",
        _ => "follower",
    }
}

/// The error that has stopped it, if one has.
pub(crate) fn error_of(health: &Health, stats: &FollowerStats) -> Option<String> {
    let label = format!("{} {}", kind(stats.kind), stats.name);
    let error = health.faults().into_iter().find(|(name, _)| *name == label);
    error.map(|(_, error)| error.to_string())
}

/// What may be done with it; nothing, if it is not registered with the studio.
pub(crate) fn actions(shared: &Shared, kind: FollowerKind, name: &str) -> &'static [Action] {
    match kind {
        FollowerKind::Projection if shared.projections.contains_key(name) => &PROJECTION_ACTIONS,
        FollowerKind::Process if shared.processes.contains_key(name) => &PROCESS_ACTIONS,
        FollowerKind::Group if shared.store.is_some() => &GROUP_ACTIONS,
        _ => &[],
    }
}

/// All that it has parked; nothing, if it is not registered with the studio.
pub(crate) fn parked(
    shared: &Shared,
    kind: FollowerKind,
    name: &str,
) -> Result<Vec<Waiting>, Fault> {
    Ok(match (kind, &shared.store) {
        (FollowerKind::Projection, _) => match shared.projections.get(name) {
            Some(handle) => handle.parked()?.into_iter().map(of_event).collect(),
            None => Vec::new(),
        },
        (FollowerKind::Group, Some(store)) => {
            store.group(name).parked()?.into_iter().map(of_event).collect()
        }
        (FollowerKind::Process, _) => match shared.processes.get(name) {
            Some(handle) => handle.parked()?.into_iter().map(of_step).collect(),
            None => Vec::new(),
        },
        _ => Vec::new(),
    })
}

/// Whether the store has a consumer group of this name, or had one that has reached or parked something. The names of
/// those that do not run are in no list.
pub(crate) fn has_group(store: &Store, name: &str) -> Result<bool, Fault> {
    let is_it = |it: &FollowerStats| it.kind == FollowerKind::Group && it.name == name;
    let group = store.group(name);
    Ok(store.stats()?.followers.iter().any(is_it)
        || group.cursor()? > Position::START
        || !group.parked()?.is_empty())
}

pub(crate) fn unknown(kind: &str, name: &str) -> Fault {
    let name = plain(name, 100);
    Fault::not_found(format!("no {kind} {name:?} is registered with the studio"))
}

fn of_event(parked: filmstrip::projection::Parked) -> Waiting {
    let error = parked.error.unwrap_or_else(|| "waits for an earlier event of its stream".into());
    Waiting {
        what: format!("{} in {}", parked.event_type, parked.stream),
        position: Some(parked.position),
        error,
        attempts: parked.attempts,
        parked_at: parked.parked_at,
        instance: None,
    }
}

fn of_step(parked: filmstrip::process::Parked) -> Waiting {
    Waiting {
        what: parked.what,
        position: None,
        error: parked.error,
        attempts: parked.attempts,
        parked_at: parked.parked_at,
        instance: Some(parked.id),
    }
}
