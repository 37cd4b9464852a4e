//! What tests of an application on filmstrip are made of.
//!
//! An aggregate is tested without a store: given some events, when it is asked to do something, then
//! it decides certain events, or refuses.
//!
//! ```
//! use filmstrip::testing::given;
//! # use filmstrip::{Aggregate, Event};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! # enum DoorEvent { Opened, Closed }
//! # impl Event for DoorEvent {}
//! # #[derive(Debug)]
//! # enum DoorCommand { Open, Close }
//! # #[derive(Debug, PartialEq)]
//! # struct AlreadyOpen;
//! # impl std::fmt::Display for AlreadyOpen {
//! #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("open") }
//! # }
//! # impl std::error::Error for AlreadyOpen {}
//! # #[derive(Debug, Default, Clone, PartialEq)]
//! # struct Door { open: bool }
//! # impl Aggregate for Door {
//! #     const CATEGORY: &'static str = "Door";
//! #     type Command = DoorCommand;
//! #     type Event = DoorEvent;
//! #     type Error = AlreadyOpen;
//! #     fn decide(&self, command: &DoorCommand) -> Result<Vec<DoorEvent>, AlreadyOpen> {
//! #         match command {
//! #             DoorCommand::Open if self.open => Err(AlreadyOpen),
//! #             DoorCommand::Open => Ok(vec![DoorEvent::Opened]),
//! #             DoorCommand::Close if self.open => Ok(vec![DoorEvent::Closed]),
//! #             DoorCommand::Close => Ok(vec![]),
//! #         }
//! #     }
//! #     fn evolve(&mut self, event: &DoorEvent) { self.open = *event == DoorEvent::Opened; }
//! # }
//! given::<Door>([DoorEvent::Opened]).when(&DoorCommand::Close).then([DoorEvent::Closed]);
//! given::<Door>([DoorEvent::Opened]).when(&DoorCommand::Open).then_rejected(AlreadyOpen);
//! given::<Door>([]).when(&DoorCommand::Close).then([]).then_state(Door { open: false });
//! ```
//!
//! A failure shows what was expected and what came as a diff, at the line of the test that asked.

use crate::clock::{Clock, ClockWatch, Micros};
use crate::event::NewEvent;
use crate::model::aggregate::{Aggregate, fold};
use crate::model::event_set::set::{Event, StoredEvent};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// An aggregate to which these events have happened.
#[must_use = "nothing is tested before `when` and `then`"]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.evolve(&event);
    }
    Given { state }
}

/// An aggregate in a state, to be asked something. Made by [`given`].
#[derive(Debug, Clone)]
pub struct Given<A> {
    state: A,
}

impl<A: Aggregate> Given<A> {
    /// Lets the aggregate decide on `command`.
    pub fn when(self, command: &A::Command) -> Decided<A> {
        Decided { decision: self.state.decide(command), state: self.state }
    }

    /// The state that the events led to.
    pub fn state(&self) -> &A {
        &self.state
    }
}

/// What an aggregate decided, to be compared. Made by [`Given::when`].
#[derive(Debug)]
#[must_use = "nothing is tested before `then` or `then_rejected`"]
pub struct Decided<A: Aggregate> {
    state: A,
    decision: Result<Vec<A::Event>, A::Error>,
}

impl<A: Aggregate> Decided<A> {
    /// It decided exactly these events, and each of them can be stored and read back.
    ///
    /// # Panics
    /// If it decided others, or refused.
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
                "the command was refused: {error}\n{}",
                indented(&format!("instead of leading to {expected:#?}"))
            ),
        };
        events.iter().for_each(round_trips);
        let mut state = self.state;
        fold(&mut state, &events);
        Given { state }
    }

    /// It refused with this error.
    ///
    /// # Panics
    /// If it refused with another error, or did not refuse.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without &")]
    pub fn then_rejected(self, expected: A::Error) -> Given<A>
    where
        A::Event: Debug,
        A::Error: PartialEq,
    {
        let error = self.refusal();
        if *error != expected {
            differ("the command was refused with another error", &expected, error);
        }
        Given { state: self.state }
    }

    /// It refused, and `check` finds its error right; for errors that cannot be compared.
    ///
    /// # Panics
    /// If it did not refuse, or `check` panics.
    #[track_caller]
    pub fn then_rejected_with(self, check: impl FnOnce(&A::Error)) -> Given<A>
    where
        A::Event: Debug,
    {
        check(self.refusal());
        Given { state: self.state }
    }

    #[track_caller]
    fn refusal(&self) -> &A::Error
    where
        A::Event: Debug,
    {
        match &self.decision {
            Err(error) => error,
            Ok(events) => panic!(
                "the command was not refused\n{}",
                indented(&format!("but led to {events:#?}"))
            ),
        }
    }
}

impl<A: Aggregate + Debug + PartialEq> Given<A> {
    /// The state, after everything that happened, is this one.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without &")]
    pub fn then_state(self, expected: A) -> Given<A> {
        if self.state != expected {
            differ("the state is another one", &expected, &self.state);
        }
        self
    }
}

/// `event` is the same after it was stored and read back.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// enum DoorEvent {
///     Opened { by: String },
/// }
/// impl filmstrip::Event for DoorEvent {}
/// filmstrip::testing::round_trips(&DoorEvent::Opened { by: "Alice".into() });
/// ```
///
/// # Panics
/// If it cannot be stored, does not read back, or reads back as something else.
#[track_caller]
pub fn round_trips<E: Event + Debug + PartialEq>(event: &E) {
    let new = match NewEvent::of(event) {
        Ok(new) => new,
        Err(error) => panic!("{event:#?}\ncannot be stored: {error}"),
    };
    let json = String::from_utf8_lossy(&new.payload).into_owned();
    let stored = StoredEvent::new(new.event_type, new.schema_version, new.payload);
    match stored.decode::<E>() {
        Ok(back) if back == *event => {}
        Ok(back) => {
            differ(&format!("stored as {json}, the event reads back changed"), event, &back)
        }
        Err(error) => panic!("{event:#?}\nis stored as {json} and does not read back: {error}"),
    }
}

/// A clock that stands still until it is told otherwise. Clones show the same time.
///
/// ```
/// use filmstrip::{Clock, testing::ManualClock};
/// use std::time::Duration;
/// let clock = ManualClock::new("2024-05-01T12:00:00Z".parse()?);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_rfc3339(), "2024-05-01T12:01:00+00:00");
/// # Ok::<(), chrono::ParseError>(())
/// ```
///
/// A store that waits for a time, as for a process's deadline, is woken when it is moved.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    micros: AtomicI64,
    watches: Mutex<Vec<ClockWatch>>,
}

impl ManualClock {
    /// A clock that shows `start`, to the microsecond.
    #[must_use]
    pub fn new(start: DateTime<Utc>) -> ManualClock {
        let (micros, watches) = (AtomicI64::new(Micros::of(start).0), Mutex::default());
        ManualClock(Arc::new(Hands { micros, watches }))
    }

    /// Shows `time` from now on, which may be earlier.
    pub fn set(&self, time: DateTime<Utc>) {
        self.0.micros.store(Micros::of(time).0, Ordering::SeqCst);
        self.tell();
    }

    /// Moves on by `step`, to the microsecond.
    pub fn advance(&self, step: Duration) {
        let micros = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        let moved = |now: i64| Some(now.saturating_add(micros));
        // The closure always answers, so the update cannot fail.
        let _ = self.0.micros.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
        self.tell();
    }

    fn tell(&self) {
        self.0.watches.lock().retain(ClockWatch::tell);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        Micros(self.0.micros.load(Ordering::SeqCst)).to_utc()
    }

    fn watched_by(&self, watch: ClockWatch) {
        self.0.watches.lock().push(watch);
    }
}

#[track_caller]
fn differ(what: &str, expected: &dyn Debug, actual: &dyn Debug) -> ! {
    let diff = diff(&format!("{expected:#?}"), &format!("{actual:#?}"));
    panic!("{what} (- expected, + actual)\n{diff}");
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "  {line}");
        out
    })
}

/// The lines of both texts: common ones once, others marked with where they stand.
fn diff(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let common = common_lengths(&old, &new);
    let (mut at, mut to, mut out) = (0, 0, String::new());
    while at < old.len() || to < new.len() {
        let (mark, line) = if at < old.len() && to < new.len() && old[at] == new[to] {
            (at, to) = (at + 1, to + 1);
            (' ', old[at - 1])
        } else if to == new.len() || at < old.len() && common[at + 1][to] >= common[at][to + 1] {
            at += 1;
            ('-', old[at - 1])
        } else {
            to += 1;
            ('+', new[to - 1])
        };
        let _ = writeln!(out, "{mark} {line}");
    }
    out
}

/// For each pair of places, how many lines the rests of both texts have in common, in order.
fn common_lengths(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for at in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            common[at][to] = if old[at] == new[to] {
                common[at + 1][to + 1] + 1
            } else {
                common[at + 1][to].max(common[at][to + 1])
            };
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use std::panic::catch_unwind;

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
    fn check_fails(test: impl FnOnce() + std::panic::UnwindSafe, parts: &[&str]) {
        let panic = catch_unwind(test).expect_err("the test passed");
        let message = crate::error::panic_message(&*panic);
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
        check_fails(refused, &["refused: -2 is negative", "amount: 2"]);
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
        check_fails(none, &["was not refused", "amount: 2"]);
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

    #[test]
    fn a_diff_keeps_what_is_common_and_marks_what_is_not() {
        let cases = [
            ("", "", ""),
            ("a\nb", "a\nb", "  a\n  b\n"),
            ("a\nb\nc", "a\nc", "  a\n- b\n  c\n"),
            ("a\nc", "a\nb\nc", "  a\n+ b\n  c\n"),
            ("a", "b", "- a\n+ b\n"),
            ("", "b", "+ b\n"),
        ];
        for (expected, actual, shown) in cases {
            assert_eq!(diff(expected, actual), shown, "{expected:?} {actual:?}");
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let start: DateTime<Utc> = "2024-05-01T12:00:00Z".parse().unwrap();
        let clock = ManualClock::new(start);
        let other = clock.clone();
        assert_eq!(clock.now(), start);
        other.advance(Duration::from_millis(1_500));
        assert_eq!(clock.now(), start + chrono::TimeDelta::milliseconds(1_500));
        clock.set(start);
        assert_eq!(other.now(), start);
    }
}
