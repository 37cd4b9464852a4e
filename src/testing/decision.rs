//! Tests of an aggregate's decisions, without a store.

use crate::model::aggregate::Aggregate;
use crate::model::envelope::Envelope;
use crate::testing::diff::{differ, indented};
use crate::testing::events::round_trips;
use crate::value::event::Metadata;
use crate::value::position::{Position, Version};
use chrono::{DateTime, Utc};
use std::fmt::Debug;
use uuid::Uuid;

/// Makes an aggregate to which these events have happened. Their ids, versions and positions count from 1, without
/// metadata, and they were recorded at 1970-01-01, unless [`at`](Given::at) says otherwise for those after it.
#[must_use = "nothing is tested before `when` and `then`"]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let time = DateTime::UNIX_EPOCH;
    Given { state: A::default(), happened: 0, time }.and(events)
}

/// An aggregate in a state, to be given a command. Made by [`given`].
#[derive(Debug, Clone)]
pub struct Given<A> {
    state: A,
    /// How many events have happened to it.
    happened: u64,
    /// When the next ones are recorded.
    time: DateTime<Utc>,
}

impl<A: Aggregate> Given<A> {
    /// Sets when the events after this are recorded, for an aggregate that looks at
    /// [times](Aggregate::evolve_at).
    #[must_use]
    pub fn at(mut self, time: DateTime<Utc>) -> Given<A> {
        self.time = time;
        self
    }

    /// Lets further events happen.
    #[must_use]
    pub fn and(mut self, events: impl IntoIterator<Item = A::Event>) -> Given<A> {
        let metadata = Metadata::default();
        for event in events {
            self.happened += 1;
            let (id, version) =
                (Uuid::from_u128(self.happened.into()), Version::new(self.happened));
            let at = (Position::new(self.happened), self.time);
            self.state.evolve_at(&event, &Envelope::recorded(id, version, &metadata, at));
        }
        self
    }

    /// Calls the aggregate's `decide` with `command`.
    pub fn when(self, command: &A::Command) -> Decided<A> {
        Decided { decision: self.state.decide(command), given: self }
    }

    /// Returns the state after the events.
    pub fn state(&self) -> &A {
        &self.state
    }
}

/// An aggregate's decision, to be compared. Made by [`Given::when`].
#[derive(Debug)]
#[must_use = "nothing is tested before `then` or `then_rejected`"]
pub struct Decided<A: Aggregate> {
    given: Given<A>,
    decision: Result<Vec<A::Event>, A::Error>,
}

impl<A: Aggregate> Decided<A> {
    /// Expects exactly these events, each of which can be stored and read back.
    ///
    /// # Panics
    /// If it decided others, or rejected the command.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) -> Given<A>
    where
        A::Event: Debug + PartialEq,
    {
        let expected: Vec<_> = expected.into_iter().collect();
        let events = match self.decision {
            Ok(events) if events == expected => events,
            Ok(events) => differ("the command led to other events", &expected, &events),
            Err(error) => panic!(
                "the command was rejected: {error}\n{}",
                indented(&format!("instead of leading to {expected:#?}"))
            ),
        };
        events.iter().for_each(round_trips);
        self.given.and(events)
    }

    /// Expects a rejection with this error.
    ///
    /// # Panics
    /// If the error is another one, or the command was not rejected.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without &")]
    pub fn then_rejected(self, expected: A::Error) -> Given<A>
    where
        A::Event: Debug,
        A::Error: PartialEq,
    {
        let error = self.refusal();
        if *error != expected {
            differ("the command was rejected with another error", &expected, error);
        }
        self.given
    }

    /// Expects a rejection, and passes its error to `check`; for errors that cannot be compared.
    ///
    /// # Panics
    /// If the command was not rejected, or `check` panics.
    #[track_caller]
    pub fn then_rejected_with(self, check: impl FnOnce(&A::Error)) -> Given<A>
    where
        A::Event: Debug,
    {
        check(self.refusal());
        self.given
    }

    #[track_caller]
    fn refusal(&self) -> &A::Error
    where
        A::Event: Debug,
    {
        match &self.decision {
            Err(error) => error,
            Ok(events) => panic!(
                "the command was not rejected\n{}",
                indented(&format!("but led to {events:#?}"))
            ),
        }
    }
}

impl<A: Aggregate + Debug + PartialEq> Given<A> {
    /// Expects this state after everything that happened.
    ///
    /// # Panics
    /// If the state is a different one.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without &")]
    pub fn then_state(self, expected: A) -> Given<A> {
        if self.state != expected {
            differ("the state is a different one", &expected, &self.state);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event_set::set::Event;
    use parking_lot::Mutex;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Counted {
        Added { amount: i32 },
        Doubled,
        Lost { ratio: f64 },
    }
    impl Event for Counted {}

    #[derive(Debug, Default, Clone, PartialEq)]
    struct Counter {
        sum: i32,
    }

    #[derive(Debug, PartialEq)]
    struct Negative(i32);
    impl std::fmt::Display for Negative {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{} is negative", self.0)
        }
    }
    impl std::error::Error for Negative {}

    impl Aggregate for Counter {
        const CATEGORY: &'static str = "Counter";
        type Command = i32;
        type Event = Counted;
        type Error = Negative;

        fn decide(&self, command: &i32) -> Result<Vec<Counted>, Negative> {
            match *command {
                0 => Ok(vec![]),
                1_000 => Ok(vec![Counted::Lost { ratio: f64::NAN }]),
                amount if amount < 0 => Err(Negative(amount)),
                amount => Ok(vec![Counted::Added { amount }, Counted::Doubled]),
            }
        }

        fn evolve(&mut self, event: &Counted) {
            match event {
                Counted::Added { amount } => self.sum += amount,
                Counted::Doubled => self.sum *= 2,
                Counted::Lost { .. } => {}
            }
        }
    }

    fn added(amount: i32) -> Counted {
        Counted::Added { amount }
    }

    #[track_caller]
    fn check_fails(test: impl FnOnce(), parts: &[&str]) {
        let message = crate::value::error::catch(test).expect_err("the test passed").to_string();
        for part in parts {
            assert!(message.contains(part), "{message}\ndoes not hold {part:?}");
        }
    }

    #[test]
    fn an_aggregate_that_does_as_expected_passes() {
        given::<Counter>([added(1)])
            .when(&2)
            .then([added(2), Counted::Doubled])
            .then_state(Counter { sum: 6 })
            .when(&-1)
            .then_rejected(Negative(-1))
            .when(&0)
            .then([]);
    }

    #[test]
    fn another_decision_fails_and_shows_what_differs() {
        let wrong = || {
            given::<Counter>([]).when(&2).then([added(3), Counted::Doubled]);
        };
        check_fails(wrong, &["-         amount: 3", "+         amount: 2", "      Doubled"]);
        let nothing = || {
            given::<Counter>([]).when(&2).then([]);
        };
        check_fails(nothing, &["+     Doubled"]);
        let refused = || {
            given::<Counter>([]).when(&-2).then([added(2)]);
        };
        check_fails(refused, &["rejected: -2 is negative", "amount: 2"]);
        let state = || {
            given::<Counter>([added(1)]).then_state(Counter { sum: 2 });
        };
        check_fails(state, &["-     sum: 2", "+     sum: 1"]);
    }

    #[test]
    fn another_rejection_or_none_fails() {
        let other = || {
            given::<Counter>([]).when(&-2).then_rejected(Negative(-3));
        };
        check_fails(other, &["another error", "-     -3", "+     -2"]);
        let none = || {
            given::<Counter>([]).when(&2).then_rejected(Negative(-3));
        };
        check_fails(none, &["was not rejected", "amount: 2"]);
    }

    #[test]
    fn an_event_that_cannot_be_stored_fails_the_test_that_decides_it() {
        let lost = || round_trips(&Counted::Lost { ratio: f64::INFINITY });
        check_fails(lost, &["cannot be stored", "finite"]);
        // NaN equals nothing, so `then` cannot pass, whatever it expects.
        let decided = || {
            given::<Counter>([]).when(&1_000).then([added(1)]);
        };
        check_fails(decided, &["NaN"]);
    }

    #[test]
    fn a_failure_points_at_the_line_of_the_test() {
        static PLACE: Mutex<Option<(String, u32)>> = Mutex::new(None);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let ours = std::thread::current().name() == Some("points-at-the-line");
            match panic.location() {
                Some(place) if ours => {
                    *PLACE.lock() = Some((place.file().to_owned(), place.line()));
                }
                _ => before(panic),
            }
        }));
        let line = line!() + 2;
        let failing = || {
            let _ = given::<Counter>([]).when(&2).then([]);
        };
        let thread = std::thread::Builder::new().name("points-at-the-line".into());
        thread.spawn(failing).unwrap().join().unwrap_err();
        assert_eq!(PLACE.lock().take(), Some((file!().to_owned(), line)));
    }
}
