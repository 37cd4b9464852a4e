//! Decisions that depend on events of several streams: what they promise whatever happens at the same time, and the kit
//! that tests them.

use filmstrip::decision::Decided;
use filmstrip::repository::Envelope;
use filmstrip::testing::given_all;
use filmstrip::uuid::Uuid;
use filmstrip::*;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::result::Result;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

const THREADS: usize = 8;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum CourseEvent {
    Defined { course: String, seats: u32 },
    SeatsChanged { course: String, seats: u32 },
}

impl Event for CourseEvent {
    fn tags(&self) -> Vec<String> {
        let (CourseEvent::Defined { course, .. } | CourseEvent::SeatsChanged { course, .. }) = self;
        vec![format!("course:{course}")]
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Enrolment {
    Subscribed { course: String, student: String },
}

impl Event for Enrolment {
    fn tags(&self) -> Vec<String> {
        let Enrolment::Subscribed { course, student } = self;
        vec![format!("student:{student}"), format!("course:{course}"), format!("course:{course}")]
    }
}

fn defined(course: &str, seats: u32) -> CourseEvent {
    CourseEvent::Defined { course: course.into(), seats }
}

fn subscribed(course: &str, student: &str) -> Enrolment {
    Enrolment::Subscribed { course: course.into(), student: student.into() }
}

struct Seats {
    course: String,
    seats: Option<u32>,
}

impl DecisionModel for Seats {
    type Event = CourseEvent;
    fn filter(&self) -> Filter {
        Filter::tag(format!("course:{}", self.course))
    }
    fn evolve(&mut self, event: &CourseEvent) {
        let (CourseEvent::Defined { seats, .. } | CourseEvent::SeatsChanged { seats, .. }) = event;
        self.seats = Some(*seats);
    }
}

/// How many subscriptions have this tag.
struct Subscriptions {
    tag: String,
    count: u32,
}

impl DecisionModel for Subscriptions {
    type Event = Enrolment;
    fn filter(&self) -> Filter {
        Filter::tag(&self.tag)
    }
    fn evolve(&mut self, _: &Enrolment) {
        self.count += 1;
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Refusal {
    NoCourse,
    Full,
    TooManyCourses,
    Taken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refusal {}

const COURSES_MAX: u32 = 2;

struct Subscribe {
    course: String,
    student: String,
}

fn subscribe(course: &str, student: &str) -> Subscribe {
    Subscribe { course: course.into(), student: student.into() }
}

impl Decision for Subscribe {
    type Model = (Seats, Subscriptions, Subscriptions);
    type Event = Enrolment;
    type Error = Refusal;

    fn model(&self) -> Self::Model {
        let subscriptions = |tag| Subscriptions { tag, count: 0 };
        (
            Seats { course: self.course.clone(), seats: None },
            subscriptions(format!("course:{}", self.course)),
            subscriptions(format!("student:{}", self.student)),
        )
    }

    fn decide(&self, (course, taken, courses): &Self::Model) -> Result<Vec<Enrolment>, Refusal> {
        match course.seats {
            None => Err(Refusal::NoCourse),
            Some(seats) if taken.count >= seats => Err(Refusal::Full),
            Some(_) if courses.count >= COURSES_MAX => Err(Refusal::TooManyCourses),
            Some(_) => Ok(vec![subscribed(&self.course, &self.student)]),
        }
    }

    fn stream(&self, _: &Enrolment) -> String {
        format!("Student-{}", self.student)
    }
}

fn define(store: &Store, course: &str, seats: u32) {
    let event = NewEvent::of(&defined(course, seats)).unwrap();
    store.append(format!("Course-{course}"), ExpectedVersion::Any, [event]).unwrap();
}

fn count(store: &Store, filter: Filter) -> usize {
    store.read_all().filter(filter).collect().unwrap().len()
}

fn kind<T: fmt::Debug, E>(outcome: Result<T, DecideError<E>>) -> (ErrorKind, String)
where
    E: std::error::Error + Send + Sync + 'static,
{
    let error = Error::from(outcome.unwrap_err());
    (error.kind(), error.to_string())
}

#[test]
fn one_decision_keeps_the_limits_of_a_course_and_of_a_student() {
    let store = Store::temporary().unwrap();
    let subscribe = |course: &str, student: &str| store.decide(&subscribe(course, student));
    let refusal = |outcome: Result<Decided<Enrolment>, DecideError<Refusal>>| match outcome {
        Err(DecideError::Rejected(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(subscribe("a", "1")), Refusal::NoCourse);
    for course in ["a", "b", "c"] {
        define(&store, course, 2);
    }
    let done = subscribe("a", "1").unwrap();
    assert_eq!((done.position, done.retries, done.already_executed), (store.head(), 0, false));
    assert_eq!((done.events, done.appended.len()), (vec![subscribed("a", "1")], 1));
    let recorded = store.read_all().collect().unwrap().pop().unwrap();
    assert!(recorded.tags().eq(["course:a", "student:1"]), "{recorded:?}");
    assert_eq!((recorded.stream.as_str(), recorded.id), ("Student-1", done.event_ids[0]));
    assert_eq!(done.recorded_at, Some(recorded.recorded_at));
    subscribe("a", "2").unwrap();
    assert_eq!(refusal(subscribe("a", "3")), Refusal::Full);
    subscribe("b", "1").unwrap();
    assert_eq!(refusal(subscribe("c", "1")), Refusal::TooManyCourses);
    let changed = CourseEvent::SeatsChanged { course: "a".into(), seats: 3 };
    store.append("Course-a", Version::new(1), [NewEvent::of(&changed).unwrap()]).unwrap();
    subscribe("a", "3").unwrap();
    let (kind, message) = kind(subscribe("a", "4"));
    assert_eq!((kind, message.as_str()), (ErrorKind::Rejected, "the decision was rejected: Full"));
}

/// Each seat is wanted by two threads, and each student goes to two courses at most.
#[test]
fn eight_threads_sell_each_seat_of_a_course_once() {
    const SEATS: u32 = 40;
    let store = Store::temporary().unwrap();
    define(&store, "a", SEATS);
    let [sold, full] = [AtomicU32::new(0), AtomicU32::new(0)];
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, sold, full) = (&store, &sold, &full);
            scope.spawn(move || {
                for n in 0..2 * SEATS as usize / THREADS {
                    let decision = subscribe("a", &format!("{thread}x{n}"));
                    let outcome = store.decision(&decision).retries(u32::MAX).run();
                    match outcome {
                        Ok(_) => sold.fetch_add(1, Ordering::Relaxed),
                        Err(DecideError::Rejected(Refusal::Full)) => {
                            full.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(other) => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert_eq!((sold.into_inner(), full.into_inner()), (SEATS, SEATS));
    assert_eq!(count(&store, Filter::of::<Enrolment>()), SEATS as usize);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum CustomerEvent {
    Registered { customer: String, email: String },
}

impl Event for CustomerEvent {
    fn tags(&self) -> Vec<String> {
        let CustomerEvent::Registered { email, .. } = self;
        vec![format!("email:{email}")]
    }
}

struct Owner {
    email: String,
    owner: Option<String>,
}

impl DecisionModel for Owner {
    type Event = CustomerEvent;
    fn filter(&self) -> Filter {
        Filter::tag(format!("email:{}", self.email))
    }
    fn evolve(&mut self, CustomerEvent::Registered { customer, .. }: &CustomerEvent) {
        self.owner = Some(customer.clone());
    }
}

struct Register {
    customer: String,
    email: String,
}

impl Decision for Register {
    type Model = Owner;
    type Event = CustomerEvent;
    type Error = Refusal;

    fn model(&self) -> Owner {
        Owner { email: self.email.clone(), owner: None }
    }

    fn decide(&self, owner: &Owner) -> Result<Vec<CustomerEvent>, Refusal> {
        let (customer, email) = (self.customer.clone(), self.email.clone());
        match &owner.owner {
            Some(owner) if *owner == customer => Ok(vec![]),
            Some(_) => Err(Refusal::Taken),
            None => Ok(vec![CustomerEvent::Registered { customer, email }]),
        }
    }

    fn stream(&self, _: &CustomerEvent) -> String {
        format!("Customer-{}", self.customer)
    }
}

#[test]
fn of_eight_who_want_an_address_at_the_same_time_one_gets_it() {
    const ROUNDS: usize = 20;
    let store = Store::temporary().unwrap();
    let start = std::sync::Barrier::new(THREADS);
    let winners = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, start, winners) = (&store, &start, &winners);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    start.wait();
                    let (customer, email) = (format!("{thread}x{round}"), round.to_string());
                    match store.decide(&Register { customer, email }) {
                        Ok(_) => drop(winners.fetch_add(1, Ordering::Relaxed)),
                        Err(DecideError::Rejected(refusal)) => assert_eq!(refusal, Refusal::Taken),
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    assert_eq!(winners.into_inner() as usize, ROUNDS);
    assert_eq!(count(&store, Filter::of::<CustomerEvent>()), ROUNDS);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum InvoiceEvent {
    Issued { number: u64 },
}

impl Event for InvoiceEvent {}

struct LastNumber(u64);

impl DecisionModel for LastNumber {
    type Event = InvoiceEvent;
    fn filter(&self) -> Filter {
        Filter::category("Invoice")
    }
    fn newest(&self) -> Option<u64> {
        Some(1)
    }
    fn evolve(&mut self, InvoiceEvent::Issued { number }: &InvoiceEvent) {
        self.0 = *number;
    }
}

struct Issue;

impl Decision for Issue {
    type Model = LastNumber;
    type Event = InvoiceEvent;
    type Error = Infallible;

    fn model(&self) -> LastNumber {
        LastNumber(0)
    }

    fn decide(&self, last: &LastNumber) -> Result<Vec<InvoiceEvent>, Infallible> {
        Ok(vec![InvoiceEvent::Issued { number: last.0 + 1 }])
    }

    fn stream(&self, InvoiceEvent::Issued { number }: &InvoiceEvent) -> String {
        format!("Invoice-{number}")
    }
}

#[test]
fn invoices_that_eight_threads_issue_are_numbered_without_a_gap() {
    const EACH: u64 = 15;
    let store = Store::temporary().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    store.decision(&Issue).retries(u32::MAX).run().unwrap();
                }
            });
        }
    });
    let issued = store.read_all().collect().unwrap();
    let numbers = issued.iter().map(|event| {
        let InvoiceEvent::Issued { number } = event.decode().unwrap();
        number
    });
    assert!(numbers.eq(1..=EACH * THREADS as u64));
}

/// An account, whose model notes what it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { sum: u32 },
    Withdrawn { sum: u32 },
}

impl Event for AccountEvent {
    fn tags(&self) -> Vec<String> {
        vec!["account:1".into()]
    }
}

use AccountEvent::{Deposited, Withdrawn};

#[derive(Default)]
struct Balance {
    balance: i64,
    shown: Vec<u64>,
    newest: Option<u64>,
    by_category: bool,
}

impl DecisionModel for Balance {
    type Event = AccountEvent;
    fn filter(&self) -> Filter {
        match self.by_category {
            true => Filter::category("Account"),
            false => Filter::tag("account:1"),
        }
    }
    fn newest(&self) -> Option<u64> {
        self.newest
    }
    fn evolve(&mut self, event: &AccountEvent) {
        self.balance += match event {
            Deposited { sum } => i64::from(*sum),
            Withdrawn { sum } => -i64::from(*sum),
        };
    }
    fn evolve_at(&mut self, event: &AccountEvent, envelope: &Envelope<'_>) {
        self.shown.push(envelope.position().get());
        self.evolve(event);
    }
}

/// What happens while it is decided: the first time the first, and so on.
type Meanwhile<'a> = Mutex<Vec<Box<dyn FnMut() + Send + 'a>>>;

struct Withdraw<'a> {
    sum: u32,
    newest: Option<u64>,
    unless: Option<Filter>,
    meanwhile: Meanwhile<'a>,
    /// What the model was shown, and had come to, at each attempt.
    attempts: Mutex<Vec<(Vec<u64>, i64)>>,
}

impl<'a> Withdraw<'a> {
    fn new(sum: u32, meanwhile: Vec<Box<dyn FnMut() + Send + 'a>>) -> Withdraw<'a> {
        let (meanwhile, attempts) = (Mutex::new(meanwhile), Mutex::default());
        Withdraw { sum, newest: None, unless: None, meanwhile, attempts }
    }

    fn unless(self, filter: Filter) -> Withdraw<'a> {
        Withdraw { unless: Some(filter), ..self }
    }
}

impl Decision for Withdraw<'_> {
    type Model = Balance;
    type Event = AccountEvent;
    type Error = Refusal;

    fn model(&self) -> Balance {
        Balance { newest: self.newest, ..Balance::default() }
    }

    fn decide(&self, model: &Balance) -> Result<Vec<AccountEvent>, Refusal> {
        self.attempts.lock().unwrap().push((model.shown.clone(), model.balance));
        let mut meanwhile = self.meanwhile.lock().unwrap();
        if !meanwhile.is_empty() {
            meanwhile.remove(0)();
        }
        match model.balance < i64::from(self.sum) {
            true => Err(Refusal::Full),
            false => Ok(vec![Withdrawn { sum: self.sum }]),
        }
    }

    fn stream(&self, _: &AccountEvent) -> String {
        "Account-1".into()
    }

    fn unless(&self, _: &Balance) -> Option<Filter> {
        self.unless.clone()
    }
}

fn record(store: &Store, event: &AccountEvent) {
    let event = NewEvent::of(event).unwrap();
    store.append("Account-1", ExpectedVersion::Any, [event]).unwrap();
}

fn records<'a>(store: &'a Store, event: AccountEvent) -> Box<dyn FnMut() + Send + 'a> {
    Box::new(move || record(store, &event))
}

#[test]
fn after_a_conflict_the_model_is_shown_only_what_is_new() {
    let store = Store::temporary().unwrap();
    record(&store, &Deposited { sum: 50 });
    define(&store, "a", 1);
    record(&store, &Deposited { sum: 50 });
    let meanwhile =
        vec![records(&store, Withdrawn { sum: 10 }), records(&store, Withdrawn { sum: 10 })];
    let withdraw = Withdraw::new(80, meanwhile);
    let done = store.decide(&withdraw).unwrap();
    assert_eq!((done.retries, done.position.get()), (2, 6));
    let expected = [(vec![1, 3], 100), (vec![1, 3, 4], 90), (vec![1, 3, 4, 5], 80)];
    assert_eq!(*withdraw.attempts.lock().unwrap(), expected);
    // What was durable when it was rejected was not enough.
    let rejected = store.decide(&Withdraw::new(1, vec![]));
    assert!(matches!(rejected, Err(DecideError::Rejected(Refusal::Full))), "{rejected:?}");
}

#[test]
fn after_its_last_retry_a_decision_returns_the_conflict_and_has_written_nothing() {
    let store = Store::temporary().unwrap();
    record(&store, &Deposited { sum: 100 });
    let meanwhile = || (0..3).map(|_| records(&store, Deposited { sum: 1 })).collect();
    let withdraw = Withdraw::new(1, meanwhile());
    match store.decision(&withdraw).retries(2).run() {
        Err(DecideError::Conflict(matched)) => {
            assert_eq!((matched.after.get(), matched.position.get()), (3, 4));
            assert_eq!(*matched.filter, Filter::tag("account:1").and_of::<AccountEvent>());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(withdraw.attempts.lock().unwrap().len(), 3);
    assert_eq!(store.head().get(), 4);
    let withdraw = Withdraw::new(1, meanwhile());
    let (kind, message) = kind(store.decision(&withdraw).retries(0).run());
    assert_eq!(kind, ErrorKind::Conflict);
    assert!(message.contains("account:1") && message.contains("position 5"), "{message}");
}

#[test]
fn a_narrower_condition_lets_pass_what_does_not_forbid_the_decision() {
    let store = Store::temporary().unwrap();
    record(&store, &Deposited { sum: 100 });
    let withdrawals = || Filter::tag("account:1").and_event_type("Withdrawn");
    let deposit = vec![records(&store, Deposited { sum: 1 })];
    let done = store.decide(&Withdraw::new(90, deposit).unless(withdrawals())).unwrap();
    assert_eq!((done.retries, done.position.get()), (0, 3));
    let withdrawal = vec![records(&store, Withdrawn { sum: 5 })];
    let withdraw = Withdraw::new(10, withdrawal).unless(withdrawals());
    let rejected = store.decide(&withdraw);
    assert!(matches!(rejected, Err(DecideError::Rejected(Refusal::Full))), "{rejected:?}");
    assert_eq!(withdraw.attempts.lock().unwrap().len(), 2);
}

/// The model would not be shown that event, the same would be decided again, and the second time it would pass.
#[test]
fn a_condition_that_accepts_what_the_model_is_not_shown_is_refused() {
    let store = Store::temporary().unwrap();
    record(&store, &Deposited { sum: 100 });
    for retries in [0, 3] {
        let meanwhile: Vec<Box<dyn FnMut() + Send>> = vec![Box::new(|| define(&store, "a", 1))];
        let withdraw = Withdraw::new(90, meanwhile)
            .unless(Filter::tag("account:1").or(Filter::tag("course:a")));
        let head = store.head().get();
        let (kind, message) = kind(store.decision(&withdraw).retries(retries).run());
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(message.contains(&format!("the event at position {}", head + 1)), "{message}");
        assert_eq!(store.head().get(), head + 1);
    }
}

#[test]
fn in_an_empty_store_any_condition_will_do() {
    let store = Store::temporary().unwrap();
    struct First;
    impl Decision for First {
        type Model = LastNumber;
        type Event = InvoiceEvent;
        type Error = Infallible;
        fn model(&self) -> LastNumber {
            LastNumber(0)
        }
        fn decide(&self, _: &LastNumber) -> Result<Vec<InvoiceEvent>, Infallible> {
            Ok(vec![InvoiceEvent::Issued { number: 1 }])
        }
        fn stream(&self, _: &InvoiceEvent) -> String {
            "Invoice-1".into()
        }
        fn unless(&self, _: &LastNumber) -> Option<Filter> {
            Some(Filter::category("Invoice"))
        }
    }
    for position in 1..=2 {
        assert_eq!(store.decide(&First).unwrap().position.get(), position);
    }
}

#[test]
fn a_model_that_needs_the_newest_events_is_shown_these_and_then_each_new_one() {
    let store = Store::temporary().unwrap();
    for sum in 1..=5 {
        record(&store, &Deposited { sum });
        define(&store, "a", sum);
    }
    for by_category in [false, true] {
        for (newest, first) in
            [(0, vec![]), (1, vec![9]), (2, vec![7, 9]), (9, vec![1, 3, 5, 7, 9])]
        {
            let shown = Mutex::new(Vec::new());
            let look = |model: &Balance| {
                let mut shown = shown.lock().unwrap();
                shown.push(model.shown.clone());
            };
            let model = || Balance { newest: Some(newest), by_category, ..Balance::default() };
            store.decide(&Look(model, look, || Ok(vec![]))).unwrap();
            assert_eq!(shown.into_inner().unwrap(), [first], "{newest} {by_category}");
        }
    }
    let done = [store.decide(&Issue).unwrap(), store.decide(&Issue).unwrap()];
    assert_eq!(done.map(|done| done.position.get()), [11, 12]);
    let meanwhile = AtomicU32::new(0);
    let shown = Mutex::new(Vec::new());
    let look = |model: &Balance| {
        shown.lock().unwrap().push(model.shown.clone());
        if meanwhile.fetch_add(1, Ordering::Relaxed) == 0 {
            (0..2).for_each(|_| record(&store, &Deposited { sum: 1 }));
        }
    };
    let model = || Balance { newest: Some(1), by_category: true, ..Balance::default() };
    let decision = Look(model, look, || Ok(vec![Deposited { sum: 1 }]));
    assert_eq!(store.decide(&decision).unwrap().retries, 1);
    assert_eq!(shown.into_inner().unwrap(), [vec![9], vec![9, 13, 14]]);
    // The same, in a store that was empty.
    let store = Store::temporary().unwrap();
    let meanwhile =
        vec![records(&store, Deposited { sum: 1 }), records(&store, Deposited { sum: 1 })];
    let withdraw = Withdraw { newest: Some(0), ..Withdraw::new(0, meanwhile) };
    assert_eq!(store.decide(&withdraw).unwrap().retries, 2);
    assert_eq!(withdraw.attempts.lock().unwrap()[2], (vec![1, 2], 2));
}

/// Notes what it is shown.
struct Notes<E> {
    filter: Filter,
    notes: Vec<E>,
}

impl<E: Event> DecisionModel for Notes<E> {
    type Event = E;
    fn filter(&self) -> Filter {
        self.filter.clone()
    }
    fn evolve(&mut self, event: &E) {
        self.notes.push(event.clone());
    }
}

fn notes<E>(filter: Filter) -> Notes<E> {
    Notes { filter, notes: Vec::new() }
}

/// Decides nothing, and tells what it knows.
struct Look<M, F, S>(M, F, S);

impl<B: decision::Boundary, M: Fn() -> B, F: Fn(&B), S> Decision for Look<M, F, S>
where
    S: Fn() -> Result<Vec<AccountEvent>, Refusal>,
{
    type Model = B;
    type Event = AccountEvent;
    type Error = Refusal;
    fn model(&self) -> B {
        (self.0)()
    }
    fn decide(&self, model: &B) -> Result<Vec<AccountEvent>, Refusal> {
        (self.1)(model);
        (self.2)()
    }
    fn stream(&self, event: &AccountEvent) -> String {
        match event {
            Deposited { sum } | Withdrawn { sum } => format!("Account-{sum}"),
        }
    }
}

type AllNotes = (
    Notes<CourseEvent>,
    (Notes<Enrolment>, Notes<Enrolment>),
    Notes<AccountEvent>,
    Notes<CourseEvent>,
    (Notes<Enrolment>,),
);

#[test]
fn each_part_is_shown_what_its_own_filter_accepts_in_its_own_event_set() {
    let store = Store::temporary().unwrap();
    define(&store, "a", 1);
    record(&store, &Deposited { sum: 1 });
    define(&store, "b", 2);
    for (course, student) in [("a", "1"), ("a", "2")] {
        let event = NewEvent::of(&subscribed(course, student)).unwrap();
        store.append("Subscription-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let model = || {
        let student = || Filter::tag("student:1");
        (
            notes::<CourseEvent>(Filter::tag("course:a")),
            (notes::<Enrolment>(Filter::tag("course:a")), notes::<Enrolment>(student())),
            notes::<AccountEvent>(Filter::category("Account").or(Filter::tag("course:a"))),
            notes::<CourseEvent>(Filter::all()),
            (notes::<Enrolment>(student().and_event_type("Dropped")),),
        )
    };
    let told = AtomicU32::new(0);
    let look = |(course, (in_course, of_student), account, courses, (none,)): &AllNotes| {
        assert_eq!(course.notes, [defined("a", 1)]);
        assert_eq!(in_course.notes, [subscribed("a", "1"), subscribed("a", "2")]);
        assert_eq!(of_student.notes, [subscribed("a", "1")]);
        assert_eq!(account.notes, [Deposited { sum: 1 }]);
        assert_eq!(courses.notes, [defined("a", 1), defined("b", 2)]);
        assert_eq!(none.notes, []);
        told.fetch_add(1, Ordering::Relaxed);
    };
    let nothing = store.decide(&Look(model, look, || Ok(vec![]))).unwrap();
    assert_eq!((told.into_inner(), nothing.position), (1, store.head()));
    assert!(nothing.events.is_empty() && nothing.appended.is_empty() && !nothing.already_executed);
    assert_eq!(nothing.recorded_at, None);
}

#[test]
fn a_decision_writes_to_several_streams_in_one_commit() {
    let store = Store::temporary().unwrap();
    let events = || Ok([2, 1, 2, 3].map(|sum| Deposited { sum }).to_vec());
    let done = store.decide(&Look(Balance::default, |_: &Balance| (), events)).unwrap();
    // The events of one stream follow each other.
    assert_eq!(done.events, [2, 2, 1, 3].map(|sum| Deposited { sum }));
    let recorded = store.read_all().collect().unwrap();
    assert!(recorded.iter().map(|event| event.id).eq(done.event_ids.iter().copied()));
    let streams: Vec<_> = recorded.iter().map(|event| event.stream.as_str()).collect();
    assert_eq!(streams, ["Account-2", "Account-2", "Account-1", "Account-3"]);
    assert!(recorded.iter().all(|event| Some(event.recorded_at) == done.recorded_at));
    let appended: Vec<_> =
        done.appended.iter().map(|one| (one.stream.as_str(), one.position.get())).collect();
    assert_eq!(appended, [("Account-2", 2), ("Account-1", 3), ("Account-3", 4)]);
}

#[test]
fn what_cannot_be_read_or_written_is_an_error_that_says_why() {
    let store = Store::temporary().unwrap();
    let garbled = NewEvent::json("Defined", &1).unwrap().tag("course:a");
    store.append("Course-a", ExpectedVersion::Any, [garbled]).unwrap();
    let (undecodable, message) = kind(store.decide(&subscribe("a", "1")));
    assert_eq!(undecodable, ErrorKind::Undecodable);
    assert!(message.contains("version 1 of Course-a (position 1)"), "{message}");
    let unknown = || notes::<AccountEvent>(Filter::event_type("Defined"));
    let outcome = store.decide(&Look(unknown, |_: &_| (), || Ok(vec![])));
    assert_eq!(kind(outcome).0, ErrorKind::UnknownEventType);
    let bad = || notes::<AccountEvent>(Filter::tag(""));
    let outcome = store.decide(&Look(bad, |_: &_| (), || Ok(vec![])));
    assert_eq!(kind(outcome).0, ErrorKind::InvalidInput);
    let (bad_tag, message) =
        kind(store.decide(&Register { customer: "1".into(), email: "a\nb".into() }));
    assert_eq!(bad_tag, ErrorKind::InvalidInput);
    assert!(message.contains("control character"), "{message}");
    let (bad_stream, _) =
        kind(store.decide(&Register { customer: "1\n".into(), email: "a".into() }));
    assert_eq!(bad_stream, ErrorKind::InvalidInput);
    let closed = store.clone();
    store.close().unwrap();
    assert_eq!(kind(closed.decide(&Issue)).0, ErrorKind::Closed);
    assert_eq!(closed.head().get(), 1);
}

fn command(n: u128) -> Metadata {
    Metadata::default().command_id(Uuid::from_u128(n))
}

#[test]
fn a_decision_with_a_command_id_is_recorded_once_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let first = {
        let store = Store::open(directory.path()).unwrap();
        let first = store.decision(&Issue).metadata(command(1).user("alice")).run().unwrap();
        assert!(!first.already_executed);
        let other = store.decision(&Issue).metadata(command(2)).run().unwrap();
        assert_eq!(other.events, [InvoiceEvent::Issued { number: 2 }]);
        first
    };
    let store = Store::open(directory.path()).unwrap();
    let again = store.decision(&Issue).metadata(command(1)).run().unwrap();
    assert!(again.already_executed && again.appended.iter().all(|one| one.already_recorded));
    assert_eq!((&again.events, &again.event_ids), (&first.events, &first.event_ids));
    assert_eq!((again.position, again.recorded_at), (first.position, first.recorded_at));
    let recorded = store.read_stream("Invoice-1").collect().unwrap().remove(0);
    assert_eq!(recorded.metadata.user.as_deref(), Some("alice"));
    assert_eq!(recorded.metadata.command_id, Some(Uuid::from_u128(1)));
    assert_eq!(store.head().get(), 2);
    // Under the id of another decision there is no outcome that it could have.
    let other = subscribe("a", "1");
    let (kind, _) = kind(store.decision(&other).metadata(command(1)).run());
    assert_eq!(kind, ErrorKind::UnknownEventType);
}

/// The second one is recorded while the first one is decided, and nothing that the model sees tells it.
#[test]
fn a_command_that_is_sent_twice_at_the_same_time_is_recorded_once() {
    for retries in [0, 3] {
        let store = Store::temporary().unwrap();
        let blind = || notes::<InvoiceEvent>(Filter::category("Invoice"));
        let events = || Ok(vec![Deposited { sum: 1 }]);
        let second = AtomicU32::new(0);
        let send_again = |_: &_| {
            if second.fetch_add(1, Ordering::Relaxed) == 0 {
                let again = Look(blind, |_: &_| (), events);
                let again = store.decision(&again).metadata(command(7)).run().unwrap();
                assert!(!again.already_executed);
            }
        };
        let first = Look(blind, send_again, events);
        let first = store.decision(&first).metadata(command(7)).retries(retries).run().unwrap();
        assert!(first.already_executed);
        assert_eq!((first.events, store.head().get()), (vec![Deposited { sum: 1 }], 1));
    }
}

#[test]
fn a_panic_of_a_decision_leaves_nothing_behind() {
    let store = Store::temporary().unwrap();
    let panics = Look(Balance::default, |_: &Balance| panic!("it panics"), || Ok(vec![]));
    assert!(catch_unwind(AssertUnwindSafe(|| store.decide(&panics))).is_err());
    assert_eq!(store.decide(&Issue).unwrap().position.get(), 1);
}

#[test]
fn events_of_aggregates_have_the_tags_of_their_set() {
    #[derive(Default, Clone)]
    struct Account;
    impl Aggregate for Account {
        const CATEGORY: &'static str = "Account";
        type Command = AccountEvent;
        type Event = AccountEvent;
        type Error = Infallible;
        fn decide(&self, event: &AccountEvent) -> Result<Vec<AccountEvent>, Infallible> {
            Ok(vec![event.clone()])
        }
        fn evolve(&mut self, _: &AccountEvent) {}
    }
    let store = Store::temporary().unwrap();
    store.repository::<Account>().execute("7", &Deposited { sum: 9 }).unwrap();
    let seen = Mutex::default();
    let look = |model: &Balance| *seen.lock().unwrap() = Some(model.balance);
    store.decide(&Look(Balance::default, look, || Ok(vec![]))).unwrap();
    assert_eq!(seen.into_inner().unwrap(), Some(9));
}

#[track_caller]
fn check_fails(test: impl FnOnce(), part: &str) {
    let cause = catch_unwind(AssertUnwindSafe(test)).expect_err("the test passed");
    let message = match cause.downcast::<String>() {
        Ok(message) => *message,
        Err(cause) => (*cause.downcast::<&str>().unwrap()).to_owned(),
    };
    assert!(message.contains(part), "{message}\ndoes not hold {part:?}");
}

#[test]
fn the_kit_passes_a_decision_that_does_as_expected() {
    given_all([defined("a", 1), defined("b", 5)])
        .and([subscribed("b", "1"), subscribed("b", "2")])
        .when(&subscribe("a", "1"))
        .then([subscribed("a", "1")])
        .when(&subscribe("a", "2"))
        .then_rejected(Refusal::Full)
        .when(&subscribe("b", "1"))
        .then_rejected_with(|refusal| assert_eq!(*refusal, Refusal::TooManyCourses));
    given_all::<CourseEvent>([]).when(&subscribe("a", "1")).then_rejected(Refusal::NoCourse);
    given_all::<InvoiceEvent>([])
        .and_in("Invoice-1", [InvoiceEvent::Issued { number: 1 }])
        .when(&Issue)
        .then([InvoiceEvent::Issued { number: 2 }])
        .when(&Issue)
        .then([InvoiceEvent::Issued { number: 3 }]);
}

#[test]
fn the_kit_shows_what_differs_and_refuses_what_a_store_would() {
    let course = || given_all([defined("a", 1)]);
    let other = || drop(course().when(&subscribe("a", "1")).then([subscribed("a", "2")]));
    check_fails(other, "other events were decided (- expected, + actual)");
    let refused = || drop(course().when(&subscribe("b", "1")).then([subscribed("b", "1")]));
    check_fails(refused, "it was rejected: NoCourse");
    let accepted =
        || drop(course().when(&subscribe("a", "1")).then_rejected(Refusal::TooManyCourses));
    check_fails(accepted, "it was not rejected");
    let another =
        || drop(course().when(&subscribe("b", "1")).then_rejected(Refusal::TooManyCourses));
    check_fails(another, "another error");
    // The model asks for a category, and would not be shown what was given without a stream.
    let unplaced = || drop(given_all([InvoiceEvent::Issued { number: 1 }]).when(&Issue).then([]));
    check_fails(unplaced, "Issued was given without a stream");
    let stream = || drop(course().and_in("", [defined("b", 1)]));
    check_fails(stream, "stream");
    let tag = || drop(given_all([defined("a\nb", 1)]));
    check_fails(tag, "control character");
    let wide = || {
        let withdraw = Withdraw::new(1, vec![]).unless(Filter::tag("course:a"));
        drop(course().and([Deposited { sum: 1 }]).when(&withdraw).then([]));
    };
    check_fails(wide, "`unless` accepts an event Defined of Given-1");
}
