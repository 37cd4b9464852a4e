//! The kit for tests of projections and process managers: it passes what is right, and shows what is
//! not.

use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::process::{Effects, Trigger};
use filmstrip::repository::Envelope;
use filmstrip::testing::{given, process, projecting};
use filmstrip::{
    Aggregate, Event, Filter, HandlerError, ProcessManager, Projection, RecordedEvent, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::panic::{UnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum LoanEvent {
    Lent { book: String },
    Returned,
}
impl Event for LoanEvent {}

fn lent(book: &str) -> LoanEvent {
    LoanEvent::Lent { book: book.into() }
}

struct Borrowed;
impl Projection for Borrowed {
    const NAME: &'static str = "borrowed";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Loan")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        match event.decode()? {
            LoanEvent::Lent { book } if book.is_empty() => return Err("no book".into()),
            LoanEvent::Lent { book } => view.put(event.stream.as_str(), &(book, event.version))?,
            LoanEvent::Returned => view.delete(event.stream.as_str()),
        }
        Ok(())
    }
}

/// Reminds the reader after a day, each day.
#[derive(Default, Clone)]
struct Reminder {
    next: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum ReminderEvent {
    Set { at: DateTime<Utc> },
    Reminded { next: DateTime<Utc> },
    Done,
}
impl Event for ReminderEvent {}

impl ProcessManager for Reminder {
    const NAME: &'static str = "Reminder";
    type Event = ReminderEvent;

    fn filter() -> Filter {
        Filter::category("Loan")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.as_str().strip_prefix("Loan-").map(str::to_owned))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<ReminderEvent>, HandlerError> {
        let Trigger::Event(event) = trigger else {
            let next = self.next.ok_or("no deadline")? + TimeDelta::days(1);
            return Ok(vec![ReminderEvent::Reminded { next }]);
        };
        match event.decode()? {
            LoanEvent::Lent { book } if book.is_empty() => Err("no book".into()),
            LoanEvent::Lent { .. } => {
                Ok(vec![ReminderEvent::Set { at: event.recorded_at + TimeDelta::days(1) }])
            }
            LoanEvent::Returned => Ok(vec![ReminderEvent::Done]),
        }
    }

    fn evolve(&mut self, event: &ReminderEvent) {
        self.next = match event {
            ReminderEvent::Set { at: next } | ReminderEvent::Reminded { next } => Some(*next),
            ReminderEvent::Done => None,
        }
    }

    fn effect(
        &self,
        event: &ReminderEvent,
        out: &mut Effects<'_>,
    ) -> Result<Vec<ReminderEvent>, HandlerError> {
        if let ReminderEvent::Reminded { .. } = event {
            out.execute::<Mails>("reader", &())?.into_result()?;
        }
        Ok(vec![])
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        self.next
    }
}

#[derive(Default, Clone)]
struct Mails;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum MailsEvent {
    Sent,
}
impl Event for MailsEvent {}

impl Aggregate for Mails {
    const CATEGORY: &'static str = "Mails";
    type Command = ();
    type Event = MailsEvent;
    type Error = std::convert::Infallible;

    fn decide(&self, _: &()) -> Result<Vec<MailsEvent>, Self::Error> {
        Ok(vec![MailsEvent::Sent])
    }

    fn evolve(&mut self, _: &MailsEvent) {}
}

/// The test fails with a message that holds all these parts, and points at itself.
#[track_caller]
fn check_fails(test: impl FnOnce() + UnwindSafe + Send + 'static, parts: &[&str]) {
    static FILE: Mutex<Option<String>> = Mutex::new(None);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let before = Arc::new(std::panic::take_hook());
    let here = std::thread::current().id();
    let others = Arc::clone(&before);
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == here {
            *FILE.lock().unwrap() = panic.location().map(|place| place.file().to_owned());
        } else {
            others(panic);
        }
    }));
    let panic = catch_unwind(test);
    std::panic::set_hook(Box::new(move |panic| before(panic)));
    let panic = panic.expect_err("the test passed");
    let message = panic.downcast_ref::<String>().expect("a message");
    for part in parts {
        assert!(message.contains(part), "{message}\ndoes not hold {part:?}");
    }
    assert_eq!(FILE.lock().unwrap().as_deref(), Some(file!()), "{message}");
}

#[test]
fn a_projection_is_given_events_and_has_rows() {
    let row = |book: &str, version: u64| (book.to_owned(), version);
    projecting(Borrowed)
        .given("Loan-1", [lent("Emma")])
        .given("Loan-2", [lent("Ulysses"), LoanEvent::Returned, lent("Emma")])
        .given("Other-3", [lent("Emma")])
        .then_rows([("Loan-1", row("Emma", 1)), ("Loan-2", row("Emma", 3))])
        .given("Loan-1", [LoanEvent::Returned])
        .then_row::<(String, u64)>("Loan-1", None)
        .then_row("Loan-2", Some(row("Emma", 3)));
}

#[test]
fn a_projection_that_does_otherwise_fails_and_shows_what_differs() {
    let wrong = || {
        projecting(Borrowed)
            .given("Loan-1", [lent("Emma")])
            .then_row("Loan-1", Some(("Ulysses".to_owned(), 1)));
    };
    check_fails(wrong, &["-         \"Ulysses\"", "+         \"Emma\""]);
    let failing = || {
        let _ = projecting(Borrowed).given("Loan-1", [lent("")]);
    };
    check_fails(failing, &["Lent of Loan-1", "no book"]);
}

#[test]
fn a_process_records_its_own_events_and_gives_commands_when_something_happens_or_does_not() {
    let set = |process: &filmstrip::testing::Process<Reminder>| process.now() + TimeDelta::days(1);
    let scene = process::<Reminder>();
    let at = set(&scene);
    let next = at + TimeDelta::days(1);
    scene
        .when("Loan-1", [lent("Emma")])
        .then("1", [ReminderEvent::Set { at }])
        .then_executed::<Mails>("reader", [])
        .when_time_passes(DAY)
        .then("1", [ReminderEvent::Reminded { next }])
        .then_executed::<Mails>("reader", [MailsEvent::Sent])
        .when("Loan-1", [LoanEvent::Returned])
        .then("1", [ReminderEvent::Done])
        .when_time_passes(DAY)
        .then("1", [])
        .then_executed::<Mails>("reader", []);
    let late = process::<Reminder>().given("Loan-1", [lent("Emma")]).then("1", []);
    let twice = late
        .when_time_passes(DAY * 2)
        .then_executed::<Mails>("reader", [MailsEvent::Sent, MailsEvent::Sent]);
    assert_eq!(twice.store().head().get(), 6);
}

#[test]
fn a_process_that_does_otherwise_fails_and_shows_what_differs() {
    let wrong = || {
        process::<Reminder>()
            .given("Loan-1", [lent("Emma")])
            .when("Loan-1", [LoanEvent::Returned])
            .then("1", []);
    };
    check_fails(wrong, &["recorded other events in Reminder-1", "+     Done"]);
    let not_given = || {
        process::<Reminder>()
            .when("Loan-1", [lent("Emma")])
            .then_executed::<Mails>("reader", [MailsEvent::Sent]);
    };
    check_fails(not_given, &["other events in Mails-reader", "-     Sent"]);
    let failing = || {
        let _ = process::<Reminder>().when("Loan-1", [lent("")]);
    };
    check_fails(failing, &["position 1, event Lent of Loan-1: no book"]);
}

// ---- an aggregate that looks at times -------------------------------------------------------------

#[derive(Debug, Clone, Default, PartialEq)]
struct Oven {
    lit_at: Option<DateTime<Utc>>,
    last: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum OvenEvent {
    Lit,
}
impl Event for OvenEvent {}

impl Aggregate for Oven {
    const CATEGORY: &'static str = "Oven";
    type Command = ();
    type Event = OvenEvent;
    type Error = std::convert::Infallible;

    fn decide(&self, (): &()) -> Result<Vec<OvenEvent>, Self::Error> {
        Ok(vec![OvenEvent::Lit])
    }

    fn evolve(&mut self, _: &OvenEvent) {}

    fn evolve_at(&mut self, _: &OvenEvent, envelope: &Envelope<'_>) {
        assert_eq!(envelope.position().get(), envelope.version().get());
        self.lit_at = Some(envelope.recorded_at());
        self.last = envelope.version().get();
    }
}

#[test]
fn given_events_have_the_time_that_the_test_says() {
    let noon: DateTime<Utc> = "2025-03-03T12:00:00Z".parse().unwrap();
    let oven = |lit_at, last| Oven { lit_at: Some(lit_at), last };
    given::<Oven>([OvenEvent::Lit])
        .then_state(oven(DateTime::UNIX_EPOCH, 1))
        .at(noon)
        .then_state(oven(DateTime::UNIX_EPOCH, 1))
        .and([OvenEvent::Lit])
        .then_state(oven(noon, 2))
        .at(noon + TimeDelta::days(1))
        .when(&())
        .then([OvenEvent::Lit])
        .then_state(oven(noon + TimeDelta::days(1), 3));
}
