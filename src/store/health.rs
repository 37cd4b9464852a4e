//! The health of a store, for a page that a load balancer polls.

use crate::follow::group::status::{GroupState, GroupStatus};
use crate::log::replica::status::{Replication, ReplicationState};
use crate::model::process::status::{ProcessState, ProcessStatus};
use crate::model::projection::registry::ReadModelStatus;
use crate::model::projection::status::{ProjectionState, ProjectionStatus};
use crate::model::relay::status::{RelayState, RelayStatus};
use crate::store::Store;
use crate::value::callback;
use crate::value::error::{Error, ErrorKind, Result, under_error};
use crate::value::failpoint::failpoint;
use serde::Serialize;
use std::collections::BTreeMap;

/// Whether a store accepts commits, and the state of its followers; see [`Store::health`].
///
/// As JSON, for an operator's page, the fields have the same names as here:
///
/// ```
/// let store = filmstrip::Store::temporary()?;
/// assert_eq!(
///     serde_json::to_value(store.health()?)?,
///     serde_json::json!({
///         "writes": {"name": "accepting"}, // or closed, replica, or read_only with `error`
///         "projections": {}, // status by name, as in the others
///         "processes": {},
///         "groups": {},
///         "read_models": [],
///         "relays": {},
///     })
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether commits are accepted.
    pub writes: Writes,
    /// How it follows its source, if it is a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,
    /// The projections that were started and not stopped, by name.
    pub projections: BTreeMap<String, ProjectionStatus>,
    /// The processes that were started and not stopped, by name.
    pub processes: BTreeMap<String, ProcessStatus>,
    /// The consumer groups that have consumers, by name.
    pub groups: BTreeMap<String, GroupStatus>,
    /// The read models that have handles.
    pub read_models: Vec<ReadModelStatus>,
    /// The relays that were started and not stopped, by the names of their targets.
    pub relays: BTreeMap<String, RelayStatus>,
}

/// Whether a store accepts commits.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Writes {
    /// It accepts commits.
    Accepting,
    /// It accepts none, because a write has failed. Reads go on. Opening the store again decides what is durable.
    ReadOnly(#[serde(serialize_with = "under_error")] Error),
    /// The store is closed.
    Closed,
    /// It accepts none, because it is a replica: see [`StoreBuilder::replica`](crate::StoreBuilder::replica).
    Replica,
}

impl Health {
    /// Returns whether commits are accepted, or the store is a replica, and nothing has stopped at an error. A follower
    /// that is paused, lags or retries is healthy, and so is a replica.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self.writes, Writes::Accepting | Writes::Replica) && self.faults().is_empty()
    }

    /// Returns what has stopped at an error, each with its error: `projection by_city` or `replication`, for example.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, Error)> {
        if failpoint!("health::overlook_faults") {
            return Vec::new();
        }
        let projections =
            self.projections.iter().filter_map(|(name, status)| match &status.state {
                ProjectionState::Faulted(error) => {
                    Some((format!("projection {name}"), error.clone()))
                }
                _ => None,
            });
        let processes = self.processes.iter().filter_map(|(name, status)| match &status.state {
            ProcessState::Faulted(error) => Some((format!("process {name}"), error.clone())),
            _ => None,
        });
        let groups = self.groups.iter().filter_map(|(name, status)| match &status.state {
            GroupState::Faulted(error) => Some((format!("group {name}"), error.clone())),
            GroupState::Running => None,
        });
        let models = self.read_models.iter().filter_map(|model| {
            model.error.clone().map(|error| (format!("read model {}", model.name), error))
        });
        let relays = self.relays.iter().filter_map(|(name, status)| match &status.state {
            RelayState::Faulted(error) => Some((format!("relay {name}"), error.clone())),
            _ => None,
        });
        let stopped = self.replication.iter().filter_map(|replication| match &replication.state {
            ReplicationState::Stopped(error) => Some(("replication".to_owned(), error.clone())),
            _ => None,
        });
        let followers = projections.chain(processes).chain(groups).chain(models).chain(relays);
        followers.chain(stopped).collect()
    }
}

impl Store {
    /// Returns whether the store accepts commits, and the state of everything that follows it. It writes nothing, and
    /// reads only the parked events of running consumer groups, to count them; so you can call it every second.
    ///
    /// A closed store is a state, not an error: this method also works after [`close`](Store::close) was called on
    /// another handle.
    ///
    /// ```
    /// use filmstrip::health::Writes;
    /// let store = filmstrip::Store::temporary()?;
    /// let health = store.health()?;
    /// assert!(health.is_healthy() && matches!(health.writes, Writes::Accepting));
    /// store.clone().close()?;
    /// assert!(matches!(store.health()?.writes, Writes::Closed));
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Forked`](ErrorKind::Forked); [`WouldDeadlock`](ErrorKind::WouldDeadlock) within a clock or a listener of
    /// `tracing`; errors of reading.
    pub fn health(&self) -> Result<Health> {
        let log = self.log.log();
        log.owner.check()?;
        callback::refuse_if_commits_wait("Store::health")?;
        let (head, parts) = (log.head_position(), &self.parts);
        let writes = match self.log.engine().accepts() {
            Ok(()) => Writes::Accepting,
            Err(error) if error.kind() == ErrorKind::Closed => Writes::Closed,
            Err(error) if error.kind() == ErrorKind::Replica => Writes::Replica,
            Err(error) => Writes::ReadOnly(error),
        };
        let groups = match parts.groups.reports(log) {
            Err(error) if error.kind() == ErrorKind::Closed => Vec::new(),
            groups => groups?,
        };
        let projections = parts.projections.reports(head).into_iter();
        let processes = parts.processes.reports(head).into_iter();
        let relays = parts.relays.reports(head).into_iter();
        Ok(Health {
            writes,
            replication: self.replication(),
            projections: projections.map(|report| (report.name, report.status)).collect(),
            processes: processes.map(|report| (report.name, report.status)).collect(),
            groups: groups.into_iter().map(|report| (report.name, report.status)).collect(),
            read_models: parts.projections.read_models(head),
            relays: relays.map(|report| (report.name, report.status)).collect(),
        })
    }
}
