//! The running relays of one store.

use crate::model::relay::status::{RelayStatus, Shared};
use crate::model::worker::registry::Registry;
use crate::model::worker::status::Report;
use crate::value::position::Position;
use std::sync::Arc;

/// The relays of a store, shared by all of its handles.
pub(crate) struct Relays(pub(super) Arc<Registry<Shared, ()>>);

impl Default for Relays {
    fn default() -> Relays {
        Relays(Registry::new("relay"))
    }
}

impl Relays {
    /// The running relays, in the order of their names.
    pub(crate) fn reports(&self, head: Position) -> Vec<Report<RelayStatus>> {
        let running = self.0.running().into_iter();
        let mut reports: Vec<_> =
            running.map(|shared| shared.report(shared.status(head))).collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }
}
