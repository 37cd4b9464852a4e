//! Events by what caused what.

use crate::fault::Fault;
use crate::progress::Progress;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::uuid::Uuid;
use filmstrip::{Follower, Position, RecordedEvent, StreamId};
use serde::Serialize;
use std::collections::HashMap;

/// Events of a tree, without their payloads.
const EVENTS_MAX: usize = 10_000;

/// Reads of the log for causes that are not of the same conversation.
const SEARCHES_MAX: usize = 32;

/// What led to an event, and what followed from it.
#[derive(Serialize)]
pub(super) struct Tree {
    /// From the first cause to the direct one.
    pub(super) causes: Vec<Node>,
    pub(super) event: Node,
    /// In the order in which they were recorded.
    pub(super) effects: Vec<Node>,
    /// What caused the first of the causes, if no event in the store has this id.
    pub(super) unknown_cause: Option<Uuid>,
    /// Whether nothing was left out because of a limit.
    pub(super) complete: bool,
}

/// An event in a tree.
#[derive(Clone, Serialize)]
pub(super) struct Node {
    pub(super) id: Uuid,
    pub(super) causation_id: Option<Uuid>,
    pub(super) correlation_id: Uuid,
    /// Steps of causation after the event that was asked for; negative before it.
    pub(super) distance: i64,
    pub(super) position: u64,
    pub(super) stream: StreamId,
    pub(super) version: u64,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) recorded_at: DateTime<Utc>,
    pub(super) user: Option<String>,
}

impl Node {
    fn of(event: &RecordedEvent, distance: i64) -> Result<Node, Fault> {
        Ok(Node {
            id: event.id,
            causation_id: event.metadata.causation_id,
            correlation_id: event.metadata.correlation_id.unwrap_or(event.id),
            distance,
            position: event.position.get(),
            // The event shares a large buffer with its name.
            stream: StreamId::new(event.stream.as_str())?,
            version: event.version.get(),
            event_type: event.event_type.to_string(),
            recorded_at: event.recorded_at,
            user: event.metadata.user.clone(),
        })
    }
}

impl Tree {
    /// The tree around `event`. The log is read once before it, and once after it; and once more for each cause of
    /// another conversation.
    pub(super) fn around(event: &RecordedEvent, follower: &Follower) -> Result<Tree, Fault> {
        let event = Node::of(event, 0)?;
        let (causes, unknown_cause, has_causes) = causes(&event, follower)?;
        let (effects, has_effects) = effects(&event, follower)?;
        Ok(Tree { causes, event, effects, unknown_cause, complete: has_causes && has_effects })
    }
}

/// The causes of `event`, the id of the first one's cause if that is not in the store, and whether that is all.
fn causes(event: &Node, follower: &Follower) -> Result<(Vec<Node>, Option<Uuid>, bool), Fault> {
    if event.causation_id.is_none() {
        return Ok((Vec::new(), None, true));
    }
    let mut known = conversation(event, follower)?;
    let (mut causes, mut searches) = (Vec::new(), 0);
    let mut effect = event.clone();
    while let Some(id) = effect.causation_id {
        if causes.len() == EVENTS_MAX || searches == SEARCHES_MAX {
            causes.reverse();
            return Ok((causes, None, false));
        }
        let mut cause = known.remove(&id);
        if cause.is_none() {
            searches += 1;
            cause = search(id, effect.position, follower)?;
        }
        let Some(cause) = cause else {
            causes.reverse();
            return Ok((causes, Some(id), true));
        };
        // A cause was recorded before its effect, so this ends.
        effect = Node { distance: effect.distance - 1, ..cause };
        causes.push(effect.clone());
    }
    causes.reverse();
    Ok((causes, None, true))
}

/// Events before `event` with its correlation id, as many as a tree may have.
fn conversation(event: &Node, follower: &Follower) -> Result<HashMap<Uuid, Node>, Fault> {
    let mut known = HashMap::new();
    let mut progress = Progress::events("looking for causes", event.position);
    for other in follower.read().until(Position::new(event.position - 1)).iter()? {
        let other = other?;
        progress.reached(other.position.get());
        let correlation = other.metadata.correlation_id.unwrap_or(other.id);
        let is_cause = event.causation_id == Some(other.id);
        if is_cause || correlation == event.correlation_id && known.len() < EVENTS_MAX {
            known.insert(other.id, Node::of(&other, 0)?);
        }
    }
    Ok(known)
}

fn search(id: Uuid, before: u64, follower: &Follower) -> Result<Option<Node>, Fault> {
    for event in follower.read().until(Position::new(before - 1)).iter()? {
        let event = event?;
        if event.id == id {
            return Node::of(&event, 0).map(Some);
        }
    }
    Ok(None)
}

/// What followed from `event`, and whether that is all.
fn effects(event: &Node, follower: &Follower) -> Result<(Vec<Node>, bool), Fault> {
    let head = follower.head()?;
    let mut distances = HashMap::from([(event.id, 0_i64)]);
    let mut effects = Vec::new();
    let mut progress = Progress::events("looking for effects", head.get());
    for other in follower.read().after(Position::new(event.position)).until(head).iter()? {
        let other = other?;
        progress.reached(other.position.get());
        let cause = other.metadata.causation_id;
        let Some(distance) = cause.and_then(|cause| distances.get(&cause)) else { continue };
        if effects.len() == EVENTS_MAX {
            return Ok((effects, false));
        }
        let distance = distance + 1;
        effects.push(Node::of(&other, distance)?);
        distances.insert(other.id, distance);
    }
    Ok((effects, true))
}
