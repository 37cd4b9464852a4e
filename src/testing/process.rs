//! Tests of a process manager, on a temporary store with a manual clock.

use crate::model::aggregate::Aggregate;
use crate::model::event_set::set::Event;
use crate::model::policy::{ErrorAction, OnError};
use crate::model::process::contract::ProcessManager;
use crate::store::Store;
use crate::testing::clock::ManualClock;
use crate::testing::diff::differ;
use crate::value::clock::Clock;
use crate::value::error::{Error, Result};
use crate::value::event::NewEvent;
use crate::value::limits::TESTED_PROCESS_WAIT_MAX;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

/// What the clock shows first: 2024-01-01, midnight.
const BEGINNING: DateTime<Utc> = match DateTime::from_timestamp(1_704_067_200, 0) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

/// Runs a process manager on an empty temporary store, whose clock shows the beginning of 2024.
///
/// ```
/// use filmstrip::testing::process;
/// # use chrono::{DateTime, TimeDelta, Utc};
/// # use filmstrip::process::{Effects, Trigger};
/// # use filmstrip::*;
/// # use serde::{Deserialize, Serialize};
/// # use std::time::Duration;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # enum GuestEvent { Came, Left }
/// # impl Event for GuestEvent {}
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # enum BellEvent { Rung }
/// # impl Event for BellEvent {}
/// # #[derive(Default, Clone)]
/// # struct Bell;
/// # impl Aggregate for Bell {
/// #     const CATEGORY: &'static str = "Bell";
/// #     type Command = ();
/// #     type Event = BellEvent;
/// #     type Error = std::convert::Infallible;
/// #     fn decide(&self, _: &()) -> Result<Vec<BellEvent>, Self::Error> { Ok(vec![BellEvent::Rung]) }
/// #     fn evolve(&mut self, _: &BellEvent) {}
/// # }
/// # #[derive(Default, Clone)]
/// # struct Stay { until: Option<DateTime<Utc>> }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # enum StayEvent { Begun { until: DateTime<Utc> }, Ended, Overdue }
/// # impl Event for StayEvent {}
/// # impl ProcessManager for Stay {
/// #     const NAME: &'static str = "Stay";
/// #     type Event = StayEvent;
/// #     fn filter() -> Filter { Filter::category("Guest") }
/// #     fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
/// #         Ok(event.stream.as_str().strip_prefix("Guest-").map(str::to_owned))
/// #     }
/// #     fn react(&self, trigger: Trigger<'_>) -> Result<Vec<StayEvent>, HandlerError> {
/// #         Ok(vec![match trigger {
/// #             Trigger::Event(event) if event.event_type == "Came" => {
/// #                 StayEvent::Begun { until: event.recorded_at + TimeDelta::days(1) }
/// #             }
/// #             Trigger::Event(_) => StayEvent::Ended,
/// #             Trigger::Deadline => StayEvent::Overdue,
/// #         }])
/// #     }
/// #     fn evolve(&mut self, event: &StayEvent) {
/// #         self.until = match event { StayEvent::Begun { until } => Some(*until), _ => None };
/// #     }
/// #     fn effect(&self, event: &StayEvent, out: &mut Effects<'_>) -> Result<Vec<StayEvent>, HandlerError> {
/// #         if *event == StayEvent::Overdue { out.execute::<Bell>("door", &())?.into_result()?; }
/// #         Ok(vec![])
/// #     }
/// #     fn deadline(&self) -> Option<DateTime<Utc>> { self.until }
/// # }
/// // A guest who came must leave within a day; otherwise a bell rings.
/// process::<Stay>()
///     .given("Guest-7", [GuestEvent::Came])
///     .when("Guest-7", [GuestEvent::Left])
///     .then("7", [StayEvent::Ended])
///     .when_time_passes(Duration::from_secs(86_400))
///     .then("7", []);
/// process::<Stay>()
///     .given("Guest-7", [GuestEvent::Came])
///     .when_time_passes(Duration::from_secs(86_400))
///     .then("7", [StayEvent::Overdue])
///     .then_executed::<Bell>("door", [BellEvent::Rung]);
/// ```
///
/// # Panics
/// If the store cannot be opened, or the process cannot start.
#[track_caller]
#[must_use = "nothing is tested before `when` and `then`"]
pub fn process<M: ProcessManager>() -> Process<M> {
    let clock = ManualClock::new(BEGINNING);
    let started = || {
        let store = Store::builder().clock(clock.clone()).temporary()?;
        store
            .process::<M>()
            .on_error(OnError::default().retries(0).then(ErrorAction::Stop))
            .start()?;
        Ok(store)
    };
    match started() {
        Ok(store) => Process { store, clock, after: Position::START, manager: PhantomData },
        Err(error) => fail(&error),
    }
}

/// A running process manager, whose events and commands are to be compared. Made by [`process`].
pub struct Process<M> {
    store: Store,
    clock: ManualClock,
    /// Where the last `when` began: what follows it is compared.
    after: Position,
    manager: PhantomData<M>,
}

impl<M: ProcessManager> Process<M> {
    /// Records these events in `stream` first, and waits until the process has done what follows from them.
    ///
    /// # Panics
    /// If an event cannot be stored, or the process fails.
    #[track_caller]
    #[must_use = "nothing is tested before `when` and `then`"]
    pub fn given<E: Event>(self, stream: &str, events: impl IntoIterator<Item = E>) -> Process<M> {
        let given = self.happens(stream, events);
        Process { after: given.store.head(), ..given }
    }

    /// Records these events in `stream`, and waits until the process has done what follows from them.
    ///
    /// # Panics
    /// As for [`given`](Process::given).
    #[track_caller]
    #[must_use = "nothing is tested before `then`"]
    pub fn when<E: Event>(self, stream: &str, events: impl IntoIterator<Item = E>) -> Process<M> {
        let after = self.store.head();
        Process { after, ..self }.happens(stream, events)
    }

    /// Moves the clock on, and waits until the process has done what is then due.
    ///
    /// # Panics
    /// If the process fails.
    #[track_caller]
    #[must_use = "nothing is tested before `then`"]
    pub fn when_time_passes(self, time: Duration) -> Process<M> {
        let after = self.store.head();
        self.clock.advance(time);
        Process { after, ..self }.at_rest()
    }

    /// Expects that the instance `id` has recorded exactly these events since the last `when`.
    ///
    /// # Panics
    /// If it is something else.
    #[track_caller]
    pub fn then(self, id: &str, expected: impl IntoIterator<Item = M::Event>) -> Process<M>
    where
        M::Event: Debug + PartialEq,
    {
        let stream = format!("{}-{id}", M::NAME);
        self.compare("the process recorded other events", &stream, expected.into_iter().collect())
    }

    /// Expects that the commands executed since the last `when` have led to exactly these events in the stream of this
    /// aggregate; to none if none ran, or all were rejected.
    ///
    /// # Panics
    /// If it is something else.
    #[track_caller]
    pub fn then_executed<A: Aggregate>(
        self,
        id: &str,
        expected: impl IntoIterator<Item = A::Event>,
    ) -> Process<M>
    where
        A::Event: Debug + PartialEq,
    {
        let stream = format!("{}-{id}", A::CATEGORY);
        self.compare("the commands led to other events", &stream, expected.into_iter().collect())
    }

    /// Returns the store that it runs on, to prepare aggregates, and to look at anything else.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the time that the clock shows.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    #[track_caller]
    fn happens<E: Event>(self, stream: &str, events: impl IntoIterator<Item = E>) -> Process<M> {
        let events =
            events.into_iter().map(|event| NewEvent::of(&event)).collect::<Result<Vec<_>>>();
        let append = |events| Ok(self.store.append(stream, ExpectedVersion::Any, events)?);
        if let Err(error) = events.and_then(append) {
            fail(&error);
        }
        self.at_rest()
    }

    #[track_caller]
    fn at_rest(self) -> Process<M> {
        if let Err(error) = self.store.drain(TESTED_PROCESS_WAIT_MAX) {
            fail(&error);
        }
        self
    }

    #[track_caller]
    fn compare<E: Event + Debug + PartialEq>(
        self,
        what: &str,
        stream: &str,
        expected: Vec<E>,
    ) -> Process<M> {
        let actual = match self.recorded::<E>(stream) {
            Ok(actual) => actual,
            Err(error) => fail(&error),
        };
        if actual != expected {
            differ(&format!("{what} in {stream}"), &expected, &actual);
        }
        self
    }

    /// What was recorded in `stream` since the last `when` began.
    fn recorded<E: Event>(&self, stream: &str) -> Result<Vec<E>> {
        let stream = StreamId::new(stream)?;
        let all = self.store.read_all().after(self.after).category(stream.category());
        let events =
            all.iter()?.filter(|event| event.as_ref().map_or(true, |e| e.stream == stream));
        events.map(|event| event?.decode()).collect()
    }
}

#[track_caller]
fn fail(error: &Error) -> ! {
    panic!("{error}")
}
