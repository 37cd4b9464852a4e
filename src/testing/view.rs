//! A projection's view, made without a store.

use crate::clock::Micros;
use crate::error::Error;
use crate::event::{NewEvent, RecordedEvent, RecordedMetadata};
use crate::model::event_set::set::Event;
use crate::model::projection::contract::Projection;
use crate::model::projection::writer::{Changes, Rows, ViewWriter, decode};
use crate::position::{Position, Version};
use crate::stream::StreamId;
use crate::testing::diff::differ;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

/// The view that `projection` makes, to which nothing has happened yet.
#[must_use = "nothing is tested before `then_rows`"]
pub fn view_of<P: Projection>(projection: P) -> ViewOf<P> {
    ViewOf {
        projection,
        rows: BTreeMap::new(),
        versions: HashMap::new(),
        position: Position::START,
    }
}

/// A view in memory, to be given events and compared. Made by [`view_of`].
///
/// ```
/// use filmstrip::testing::view_of;
/// use filmstrip::{Event, Filter, HandlerError, Projection, RecordedEvent, ViewWriter};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # enum DoorEvent { Opened, Closed }
/// # impl Event for DoorEvent {}
/// struct OpenDoors;
///
/// impl Projection for OpenDoors {
///     const NAME: &'static str = "open-doors";
///     const VERSION: u32 = 1;
///     fn filter(&self) -> Filter {
///         Filter::of::<DoorEvent>()
///     }
///     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
///         match event.decode()? {
///             DoorEvent::Opened => view.put(event.stream.as_str(), &event.version)?,
///             DoorEvent::Closed => view.delete(event.stream.as_str()),
///         }
///         Ok(())
///     }
/// }
///
/// view_of(OpenDoors)
///     .given("Door-1", [DoorEvent::Opened, DoorEvent::Closed])
///     .given("Door-2", [DoorEvent::Opened])
///     .then_rows("Door-", [("Door-2", 1)])
///     .given("Door-2", [DoorEvent::Closed])
///     .then_rows::<u64>("", []);
/// ```
#[derive(Debug, Clone)]
pub struct ViewOf<P> {
    projection: P,
    rows: BTreeMap<String, Bytes>,
    versions: HashMap<StreamId, Version>,
    position: Position,
}

impl<P: Projection> ViewOf<P> {
    /// Lets these events happen to `stream`. Those that the projection's filter wants are applied.
    ///
    /// # Panics
    /// If one cannot be stored, or `apply` fails for it.
    #[track_caller]
    pub fn given<E: Event>(self, stream: &str, events: impl IntoIterator<Item = E>) -> ViewOf<P> {
        let new = |event: E| match NewEvent::of(&event) {
            Ok(new) => new,
            Err(error) => panic!("an event of {stream} cannot be stored: {error}"),
        };
        self.given_new(stream, events.into_iter().map(new).collect::<Vec<_>>())
    }

    /// The same for events with metadata, times, or types of their own.
    ///
    /// # Panics
    /// If `apply` fails for one.
    #[track_caller]
    pub fn given_new(
        mut self,
        stream: &str,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> ViewOf<P> {
        let filter = self.projection.filter();
        if let Err(error) = filter.check() {
            panic!("the filter of projection {} cannot be used: {error}", P::NAME);
        }
        let stream = match StreamId::new(stream) {
            Ok(stream) => stream,
            Err(error) => panic!("{error}"),
        };
        for new in events {
            let event = self.recorded(&stream, new);
            if filter.wants(stream.as_str(), &event.event_type) {
                self.apply(&event);
            }
        }
        self
    }

    #[track_caller]
    fn apply(&mut self, event: &RecordedEvent) {
        let nothing = Changes::new();
        let mut writer = ViewWriter::new(&self.rows, &nothing);
        let applied = self.projection.apply(event, &mut writer);
        let (changes, _) = writer.finish();
        if let Err(cause) = applied {
            panic!("projection {} fails for {event:#?}: {cause}", P::NAME);
        }
        for (key, row) in changes {
            match row {
                Some(row) => drop(self.rows.insert(key, row)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }

    /// The event as a store would give it back: a second after the one before it.
    fn recorded(&mut self, stream: &StreamId, new: NewEvent) -> RecordedEvent {
        let version = self.versions.entry(stream.clone()).or_default();
        *version = Version::new(version.get() + 1);
        self.position = Position::new(self.position.get() + 1);
        let recorded_at = Micros(self.position.get() as i64 * 1_000_000).to_utc();
        RecordedEvent {
            position: self.position,
            stream: stream.clone(),
            version: *version,
            id: new.id,
            event_type: new.event_type.into(),
            schema_version: new.schema_version,
            recorded_at,
            occurred_at: new.occurred_at.unwrap_or(recorded_at),
            metadata: RecordedMetadata::new(new.metadata),
            format: new.format,
            payload: new.payload,
        }
    }

    /// The rows whose keys begin with `prefix` are exactly these, in the order of their keys.
    ///
    /// # Panics
    /// If there are others, or one is no `T`.
    #[track_caller]
    pub fn then_rows<T: DeserializeOwned + Debug + PartialEq>(
        self,
        prefix: &str,
        expected: impl IntoIterator<Item = (&'static str, T)>,
    ) -> ViewOf<P> {
        let row = |(key, row): (String, Bytes)| decode(&key, &row).map(|row: T| (key, row));
        let rows = self.rows.rows(prefix).and_then(|rows| rows.into_iter().map(row).collect());
        let actual: BTreeMap<String, T> = rows.unwrap_or_else(|error: Error| panic!("{error}"));
        let expected = expected.into_iter().map(|(key, row)| (key.to_owned(), row));
        let expected: BTreeMap<String, T> = expected.collect();
        if actual != expected {
            differ(&format!("projection {} made other rows", P::NAME), &expected, &actual);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{HandlerError, panic_message};
    use crate::event::Metadata;
    use crate::filter::Filter;
    use std::panic::catch_unwind;

    /// Who did how much, and who did it last.
    #[derive(Clone)]
    struct Users;

    impl Projection for Users {
        const NAME: &'static str = "users";
        const VERSION: u32 = 1;

        fn filter(&self) -> Filter {
            Filter::category("Task").and_event_type("Done").and_event_type("Undone")
        }

        fn apply(
            &self,
            event: &RecordedEvent,
            view: &mut ViewWriter<'_>,
        ) -> Result<(), HandlerError> {
            let user = event.metadata.user.as_deref().ok_or("nobody did it")?;
            match event.event_type.as_str() {
                "Done" => view.put(user, &(event.position, event.version))?,
                _ => view.delete(user),
            }
            Ok(())
        }
    }

    fn by(user: &str, event_type: &str) -> NewEvent {
        NewEvent::json(event_type, &()).unwrap().metadata(Metadata::default().user(user))
    }

    #[test]
    fn events_that_are_wanted_make_rows_with_the_places_of_a_store() {
        view_of(Users)
            .given_new("Task-1", [by("alice", "Done"), by("bob", "Seen"), by("bob", "Done")])
            .given_new("Door-1", [by("carol", "Done")])
            .given_new("Task-2", [by("dora", "Done")])
            .then_rows("", [("alice", (1, 1)), ("bob", (3, 3)), ("dora", (5, 1))])
            .given_new("Task-1", [by("alice", "Undone")])
            .then_rows("b", [("bob", (3, 3))])
            .then_rows::<u64>("a", []);
    }

    #[test]
    fn other_rows_and_failures_fail_the_test_and_show_why() {
        let view = || view_of(Users).given_new("Task-1", [by("alice", "Done")]);
        let fails = |test: fn(ViewOf<Users>), part: &str| {
            let given = view();
            let panic = catch_unwind(std::panic::AssertUnwindSafe(|| test(given)));
            let message = panic_message(&*panic.expect_err("the test passed"));
            assert!(message.contains(part), "{message}\ndoes not hold {part:?}");
        };
        fails(|view| drop(view.then_rows("", [("alice", (1, 2))])), "-         2,\n+         1,");
        fails(|view| drop(view.then_rows::<u64>("", [])), "does not read as u64");
        let nobodys = |view: ViewOf<Users>| {
            view.given_new("Task-1", [NewEvent::json("Done", &()).unwrap()]);
        };
        fails(nobodys, "projection users fails for RecordedEvent");
        fails(|view| drop(view.given_new("", [])), "stream");
    }
}
