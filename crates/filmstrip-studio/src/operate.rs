//! What the studio does for a person who has confirmed it. The guard has let the request in.

use crate::fault::Fault;
use crate::followers::{has_group, unknown};
use crate::page::Faulty;
use crate::place::Place;
use crate::shared::Shared;
use crate::text::plain;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use filmstrip::ErrorKind;
use filmstrip::process::{ParkedKind, ProcessHandle};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct Of {
    /// The instance of a process; an empty one stands for events that it could not route.
    instance: Option<String>,
}

pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    place: Place,
    Path((kind, name, action)): Path<(String, String, String)>,
    Query(of): Query<Of>,
) -> Response {
    // Not in a place for pages, which a long replay would take.
    let done = shared.heavy(move |shared| match kind.as_str() {
        "projection" => projection(shared, &name, &action),
        "process" => process(shared, &name, &action, of.instance.as_deref()),
        "group" => group(shared, &name, &action),
        _ => Err(Fault::not_found(format!("nothing can be done with a {:?}", plain(&kind, 40)))),
    });
    match done.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(fault) => Faulty(place, fault).into_response(),
    }
}

pub(crate) async fn verify(State(shared): State<Arc<Shared>>, place: Place) -> Response {
    match &shared.store {
        Some(store) => {
            shared.verifying.begin(store);
            StatusCode::ACCEPTED.into_response()
        }
        None => {
            let why = "a store is verified in the process that has it open";
            Faulty(place, Fault::not_found(why)).into_response()
        }
    }
}

fn projection(shared: &Shared, name: &str, action: &str) -> Result<(), Fault> {
    let handle = shared.projections.get(name).ok_or_else(|| unknown("projection", name))?;
    match action {
        "pause" => handle.pause(),
        "resume" => handle.resume(),
        "rebuild" => handle.rebuild()?,
        "replay" => handle.replay_parked()?,
        "discard" => handle.discard_parked()?,
        _ => return Err(no_such(action)),
    }
    Ok(())
}

fn process(shared: &Shared, name: &str, action: &str, instance: Option<&str>) -> Result<(), Fault> {
    let handle = shared.processes.get(name).ok_or_else(|| unknown("process", name))?;
    match (action, instance) {
        ("pause", _) => handle.pause(),
        ("resume", _) => handle.resume(),
        ("replay", Some(instance)) => handle.replay(instance)?,
        ("replay-all", _) => each_parked(handle, |instance| handle.replay(instance))?,
        ("discard", Some(instance)) => handle.skip(instance)?,
        ("discard-all", _) => each_parked(handle, |instance| handle.skip(instance))?,
        _ => return Err(no_such(action)),
    }
    Ok(())
}

/// Does something with each instance that has something parked now. What a process has stopped at is not parked: it is
/// tried again when the process is resumed.
fn each_parked(
    handle: &ProcessHandle,
    act: impl Fn(&str) -> filmstrip::Result<()>,
) -> Result<(), Fault> {
    let parked = handle.parked()?.into_iter().filter(|it| it.kind != ParkedKind::Stopped);
    let instances: BTreeSet<String> = parked.map(|parked| parked.id).collect();
    for instance in instances {
        match act(&instance) {
            // Somebody else has acted on it meanwhile.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            done => done?,
        }
    }
    Ok(())
}

fn group(shared: &Shared, name: &str, action: &str) -> Result<(), Fault> {
    let store = shared.store.as_ref().ok_or_else(|| unknown("group", name))?;
    if !has_group(store, name)? {
        return Err(unknown("group", name));
    }
    match action {
        "replay" => store.group(name).replay_parked()?,
        "discard" => store.group(name).discard_parked()?,
        _ => return Err(no_such(action)),
    }
    Ok(())
}

fn no_such(action: &str) -> Fault {
    Fault::not_found(format!("{:?} is nothing that can be done here", plain(action, 40)))
}
