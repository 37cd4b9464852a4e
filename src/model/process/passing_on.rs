//! What of an event's metadata its consequences carry.

use crate::telemetry::context::{self, TRACEPARENT, TraceContext, correlation_of};
use crate::value::event::{Metadata, RecordedEvent};
use crate::value::failpoint::failpoint;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What a process passes on of the metadata of the event that it reacts to: to its own events, and from each of them to
/// the events of its commands. What a deadline leads to carries what the instance's last own event carries.
///
/// The correlation id is always passed on; for an event without one it is the event's own id, for it began the
/// conversation. By default the user and all entries of the application's own are too. Of a private event nothing else
/// is, whatever is chosen: its user and entries are sealed, and must not be recorded in clear.
///
/// ```
/// use filmstrip::process::PassOn;
/// let everything = PassOn::default();
/// assert_eq!(everything, PassOn::all());
/// let tenant_only = PassOn::correlation_id_only().entry("tenant");
/// let tenant_and_user = tenant_only.clone().user();
/// assert_ne!(tenant_only, tenant_and_user);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassOn {
    /// All of it, if `None`.
    only: Option<Only>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Only {
    user: bool,
    entries: BTreeSet<String>,
}

impl PassOn {
    /// Passes on everything: the default.
    #[must_use]
    pub fn all() -> PassOn {
        PassOn::default()
    }

    /// Passes on the correlation id and nothing else, until something is added.
    #[must_use]
    pub fn correlation_id_only() -> PassOn {
        PassOn { only: Some(Only::default()) }
    }

    /// Adds the user, where not everything is passed on.
    #[must_use]
    pub fn user(mut self) -> PassOn {
        if let Some(only) = &mut self.only {
            only.user = true;
        }
        self
    }

    /// Adds the entries of this key, where not everything is passed on.
    #[must_use]
    pub fn entry(mut self, key: impl Into<String>) -> PassOn {
        if let Some(only) = &mut self.only {
            only.entries.insert(key.into());
        }
        self
    }

    /// What is passed on of `event`.
    pub(super) fn of_event(&self, event: &RecordedEvent) -> Passed {
        #[cfg(feature = "erasure")]
        if event.key_id().is_some() && !failpoint!("process::pass_on_what_is_private") {
            return PassOn::correlation_id_only().of(event.id, &event.metadata);
        }
        self.of(event.id, &event.metadata)
    }

    /// What is passed on of the `metadata` of the event `event`.
    fn of(&self, event: Uuid, metadata: &Metadata) -> Passed {
        let passes = |key: &str| self.only.as_ref().is_none_or(|only| only.entries.contains(key));
        let user = self.only.as_ref().is_none_or(|only| only.user)
            && !failpoint!("process::forget_who_asked");
        let entries = metadata.entries.iter().filter(|(key, _)| passes(key));
        Passed {
            correlation_id: Some(correlation_of(event, metadata)),
            user: metadata.user.clone().filter(|_| user),
            entries: entries.map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }
}

/// What an event passes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Passed {
    correlation_id: Option<Uuid>,
    user: Option<String>,
    entries: BTreeMap<String, String>,
}

impl Passed {
    /// The same, in the trace that the current thread is part of, if that is known.
    pub(super) fn in_trace(mut self, traces: Option<&dyn TraceContext>) -> Passed {
        if let Some(traceparent) = traces.and_then(context::ask) {
            self.entries.insert(TRACEPARENT.to_owned(), traceparent);
        }
        self
    }

    /// The metadata of what follows from an event, which is `cause` if there was one.
    pub(super) fn metadata(&self, cause: Option<Uuid>) -> Metadata {
        Metadata {
            correlation_id: self.correlation_id,
            causation_id: cause,
            command_id: None,
            user: self.user.clone(),
            entries: self.entries.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_is_what_was_chosen() {
        let (conversation, cause) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let base = Metadata::default().correlation_id(conversation);
        let met = base.clone().user("ann").entry("tenant", "t").entry("trace", "7");
        let met = met.causation_id(Uuid::from_u128(3)).command_id(Uuid::from_u128(4));
        let passed = |chosen: PassOn| chosen.of(Uuid::max(), &met).metadata(Some(cause));
        let base = base.causation_id(cause);
        let all = base.clone().user("ann").entry("tenant", "t").entry("trace", "7");
        assert_eq!(passed(PassOn::all().user().entry("tenant")), all);
        assert_eq!(passed(PassOn::correlation_id_only()), base);
        let tenant = PassOn::correlation_id_only().entry("tenant").entry("other");
        assert_eq!(passed(tenant.clone()), base.clone().entry("tenant", "t"));
        assert_eq!(passed(tenant.user()), base.user("ann").entry("tenant", "t"));
        let began = PassOn::all().of(cause, &Metadata::default()).metadata(Some(cause));
        assert_eq!(began.correlation_id, Some(cause), "its conversation began with the cause");
        assert_eq!(PassOn::all().of(Uuid::max(), &met).metadata(None).causation_id, None);
    }
    /// They were sealed with the payload, and what follows from the event would hold them in clear.
    #[cfg(feature = "erasure")]
    #[test]
    fn of_a_private_event_neither_user_nor_entries_are_passed_on() {
        use crate::store::Store;
        use crate::value::event::{NewEvent, RecordedMetadata};
        use crate::value::position::ExpectedVersion;
        let metadata = Metadata::default().correlation_id(Uuid::max()).user("ann").entry("k", "v");
        let new = NewEvent::bytes("Moved", "").metadata(metadata.clone());
        let store = Store::temporary().unwrap();
        store.append("Customer-1", ExpectedVersion::Any, [new]).unwrap();
        let public = store.read_all().collect().unwrap().remove(0);
        assert_eq!(PassOn::all().of_event(&public), PassOn::all().of(public.id, &metadata));
        let metadata = RecordedMetadata::of_private(metadata, Vec::new(), [1; 16]);
        let private = RecordedEvent { metadata, ..public };
        let passed = PassOn::all().user().of_event(&private);
        let nothing = Passed { correlation_id: Some(Uuid::max()), ..Passed::default() };
        assert_eq!(passed, nothing);
    }
}
