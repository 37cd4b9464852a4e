//! Tests of decisions that depend on events of several streams, without a store.

use crate::log::commit::encoded::check_event;
use crate::model::decision::Decision;
use crate::model::decision::boundary::{Folded, Wanted};
use crate::model::event_set::set::Event;
use crate::testing::diff::{differ, indented};
use crate::testing::events::round_trips;
use crate::testing::recording::Recording;
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::filter::Filter;
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use std::fmt::Debug;

/// The stream of events that were given without one.
const UNPLACED: &str = "Given-1";

/// Lets these events happen, with the tags that [`Event::tags`] says, before a decision is made. Which of them the
/// decision's model is shown is for its filters to say, so give also some that do not concern it.
///
/// ```
/// use filmstrip::testing::given_all;
/// # use filmstrip::{Decision, DecisionModel, Event, Filter};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # enum CustomerEvent { Registered { email: String } }
/// # impl Event for CustomerEvent {
/// #     fn tags(&self) -> Vec<String> {
/// #         let CustomerEvent::Registered { email } = self;
/// #         vec![format!("email:{email}")]
/// #     }
/// # }
/// # struct Taken { email: String, is_taken: bool }
/// # impl DecisionModel for Taken {
/// #     type Event = CustomerEvent;
/// #     fn filter(&self) -> Filter { Filter::tag(format!("email:{}", self.email)) }
/// #     fn evolve(&mut self, _: &CustomerEvent) { self.is_taken = true; }
/// # }
/// # #[derive(Debug, PartialEq)]
/// # struct AddressTaken;
/// # impl std::fmt::Display for AddressTaken {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("taken") }
/// # }
/// # impl std::error::Error for AddressTaken {}
/// # struct Register(&'static str);
/// # impl Decision for Register {
/// #     type Model = Taken;
/// #     type Event = CustomerEvent;
/// #     type Error = AddressTaken;
/// #     fn model(&self) -> Taken { Taken { email: self.0.into(), is_taken: false } }
/// #     fn decide(&self, taken: &Taken) -> Result<Vec<CustomerEvent>, AddressTaken> {
/// #         if taken.is_taken { Err(AddressTaken) } else { Ok(vec![registered(self.0)]) }
/// #     }
/// #     fn stream(&self, _: &CustomerEvent) -> String { "Customer-1".into() }
/// # }
/// # fn registered(email: &str) -> CustomerEvent { CustomerEvent::Registered { email: email.into() } }
/// given_all([registered("a@example.com")])
///     .when(&Register("b@example.com"))
///     .then([registered("b@example.com")])
///     .when(&Register("b@example.com"))
///     .then_rejected(AddressTaken);
/// ```
///
/// Without events it is `given_all::<CustomerEvent>([])`.
///
/// # Panics
/// If an event cannot be stored.
#[track_caller]
#[must_use = "nothing is tested before `when` and `then`"]
pub fn given_all<E: Event>(events: impl IntoIterator<Item = E>) -> GivenAll {
    let recording = Recording::default();
    GivenAll { recording, happened: Vec::new(), unplaced: Vec::new() }.and(events)
}

/// What has happened before a decision. Made by [`given_all`].
#[derive(Debug, Clone)]
pub struct GivenAll {
    recording: Recording,
    happened: Vec<RecordedEvent>,
    /// The types of those that were given without a stream.
    unplaced: Vec<String>,
}

impl GivenAll {
    /// Sets when the events after this are recorded; the default is the beginning of 1970.
    #[must_use]
    pub fn at(mut self, time: DateTime<Utc>) -> GivenAll {
        self.recording.now = time;
        self
    }

    /// Lets further events happen, of the same event set or another one.
    ///
    /// # Panics
    /// If an event cannot be stored.
    #[track_caller]
    #[must_use = "nothing is tested before `when` and `then`"]
    pub fn and<E: Event>(mut self, events: impl IntoIterator<Item = E>) -> GivenAll {
        for event in events {
            let new = new_event(&event);
            self.unplaced.push(new.event_type.clone());
            self = self.and_new(UNPLACED, new);
        }
        self
    }

    /// Lets further events happen in `stream`, for models whose filters name streams or categories.
    ///
    /// # Panics
    /// If the stream's name is invalid, or an event cannot be stored.
    #[track_caller]
    #[must_use = "nothing is tested before `when` and `then`"]
    pub fn and_in<E: Event>(
        mut self,
        stream: &str,
        events: impl IntoIterator<Item = E>,
    ) -> GivenAll {
        for event in events {
            self = self.and_new(stream, new_event(&event));
        }
        self
    }

    /// Lets this event happen in `stream`: for one with metadata or tags of its own, or outside an event set.
    ///
    /// # Panics
    /// As for [`and_in`](GivenAll::and_in).
    #[track_caller]
    #[must_use = "nothing is tested before `when` and `then`"]
    pub fn and_new(mut self, stream: &str, event: NewEvent) -> GivenAll {
        let stream = match StreamId::new(stream) {
            Ok(stream) => stream,
            Err(error) => panic!("{error}"),
        };
        if let Err(error) = check_event(&event) {
            panic!("event {} cannot be stored: {error}", event.event_type);
        }
        self.happened.push(self.recording.record(stream, event));
        self
    }

    /// Computes the decision's model from what has happened, and lets it decide.
    ///
    /// # Panics
    /// If a filter cannot be used, an event that it accepts does not decode, a filter asks for streams and events were
    /// given without one, or [`unless`](Decision::unless) accepts an event that the model is not shown.
    #[track_caller]
    pub fn when<D: Decision>(self, decision: &D) -> DecidedAll<'_, D> {
        let mut folded = match Folded::new(decision.model()) {
            Ok(folded) => folded,
            Err(error) => panic!("the model cannot be computed: {error}"),
        };
        self.refuse_unplaced(folded.filter());
        let read = |Wanted { filter, newest }: &Wanted| {
            let wanted = self.happened.iter().filter(|event| filter.wants_event(event));
            let mut shown: Vec<_> = wanted.cloned().map(Ok).collect();
            let newest = newest.and_then(|newest| usize::try_from(newest).ok());
            let passed = shown.len() - newest.unwrap_or(usize::MAX).min(shown.len());
            Ok(shown.split_off(passed).into_iter())
        };
        if let Err(error) = folded.go_on(read, |_| ()) {
            panic!("the model cannot be computed: {error}");
        }
        if let Some(narrower) = decision.unless(&folded.model) {
            self.refuse_wider(&narrower, folded.filter());
        }
        DecidedAll { decided: decision.decide(&folded.model), decision, given: self }
    }

    #[track_caller]
    fn refuse_unplaced(&self, filter: &Filter) {
        for alternative in filter.alternatives() {
            let by_stream =
                !alternative.streams().is_empty() || alternative.categories().next().is_some();
            let wants = |event_type: &&String| alternative.event_types().contains(event_type);
            if let Some(event_type) = self.unplaced.iter().find(wants).filter(|_| by_stream) {
                panic!(
                    "the model's filter names streams or categories, and an event {event_type} was given without a \
                     stream: give it by `and_in`"
                );
            }
        }
    }

    #[track_caller]
    fn refuse_wider(&self, narrower: &Filter, filter: &Filter) {
        let wider =
            |event: &&RecordedEvent| narrower.wants_event(event) && !filter.wants_event(event);
        if let Some(event) = self.happened.iter().find(wider) {
            panic!(
                "`unless` accepts an event {} of {}, which the model is not shown: deciding again after a conflict \
                 would not change anything",
                event.event_type, event.stream
            );
        }
    }
}

#[track_caller]
fn new_event<E: Event>(event: &E) -> NewEvent {
    match NewEvent::of(event) {
        Ok(new) => new,
        Err(error) => panic!("a given event cannot be stored: {error}"),
    }
}

/// A decision, to be compared. Made by [`GivenAll::when`].
#[must_use = "nothing is tested before `then` or `then_rejected`"]
pub struct DecidedAll<'a, D: Decision> {
    given: GivenAll,
    decision: &'a D,
    decided: Result<Vec<D::Event>, D::Error>,
}

impl<D: Decision> DecidedAll<'_, D> {
    /// Expects exactly these events, each of which can be stored and read back. They have happened then, in the streams
    /// that the decision says.
    ///
    /// # Panics
    /// If it decided others, or rejected; if an event cannot be stored.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) -> GivenAll
    where
        D::Event: Debug + PartialEq,
    {
        let expected: Vec<_> = expected.into_iter().collect();
        let events = match self.decided {
            Ok(events) if events == expected => events,
            Ok(events) => differ("other events were decided", &expected, &events),
            Err(error) => panic!(
                "it was rejected: {error}\n{}",
                indented(&format!("instead of deciding {expected:#?}"))
            ),
        };
        let mut given = self.given;
        for event in &events {
            round_trips(event);
            given = given.and_new(&self.decision.stream(event), new_event(event));
        }
        given
    }

    /// Expects a rejection with this error.
    ///
    /// # Panics
    /// If the error is another one, or it was not rejected.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without &")]
    pub fn then_rejected(self, expected: D::Error) -> GivenAll
    where
        D::Event: Debug,
        D::Error: PartialEq,
    {
        let error = self.refusal();
        if *error != expected {
            differ("it was rejected with another error", &expected, error);
        }
        self.given
    }

    /// Expects a rejection, and passes its error to `check`; for errors that cannot be compared.
    ///
    /// # Panics
    /// If it was not rejected, or `check` panics.
    #[track_caller]
    pub fn then_rejected_with(self, check: impl FnOnce(&D::Error)) -> GivenAll
    where
        D::Event: Debug,
    {
        check(self.refusal());
        self.given
    }

    #[track_caller]
    fn refusal(&self) -> &D::Error
    where
        D::Event: Debug,
    {
        match &self.decided {
            Err(error) => error,
            Ok(events) => panic!(
                "it was not rejected\n{}",
                indented(&format!("but these were decided: {events:#?}"))
            ),
        }
    }
}
