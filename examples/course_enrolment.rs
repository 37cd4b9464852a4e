//! Students enrol in courses: decisions that depend on several entities at once, raced by several threads.
//!
//! ```text
//! cargo run --release --example course_enrolment [DIRECTORY]
//! ```
//!
//! * An e-mail address belongs to one student.
//! * A course has seats, and a student may take two courses in a term: one decision depends on both.
//! * Each enrolment gets one invoice, and the invoices of a term are numbered without gaps.
//!
//! No stream has all that such a decision depends on, and no lock is held. Each event has tags that name what it is
//! about; a decision says by a filter of tags which events it depends on, and its own events are recorded unless
//! another such event has come meanwhile.
//!
//! The store is in DIRECTORY, `course-enrolment-data` if none is named. Run it again: each run is a new term.

#![allow(clippy::print_stdout, reason = "a program talks")]

use filmstrip::{
    AppendError, Commit, DecideError, Decision, DecisionModel, Event, ExpectedVersion,
};
use filmstrip::{Filter, NewEvent, Position, Store};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

const COURSES_MAX: usize = 2;
const STUDENTS: u32 = 40;
/// Names and seats.
const COURSES: [(&str, u32); 3] = [("algebra", 10), ("biology", 25), ("chemistry", 40)];
/// At the desk of enrolments, and at that of invoices.
const CLERKS: u32 = 8;
/// As often as it takes: each of the clerks may be slower than all others, several times in a row.
const RETRIES: u32 = 10_000;

// ---- what can happen, and what it is about -----------------------------------------------------

#[derive(Debug, Clone, Serialize, Deserialize)]
enum StudentEvent {
    StudentRegistered { student: String, email: String },
}

impl Event for StudentEvent {
    fn tags(&self) -> Vec<String> {
        let StudentEvent::StudentRegistered { student, email } = self;
        vec![format!("student:{student}"), format!("email:{email}")]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum CourseEvent {
    CourseDefined { course: String, seats: u32 },
    StudentEnrolled { course: String, student: String, term: usize },
}

impl Event for CourseEvent {
    fn tags(&self) -> Vec<String> {
        match self {
            CourseEvent::CourseDefined { course, .. } => vec![format!("course:{course}")],
            CourseEvent::StudentEnrolled { course, student, term } => {
                vec![
                    format!("course:{course}"),
                    format!("student:{student}"),
                    format!("term:{term}"),
                ]
            }
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum InvoiceEvent {
    InvoiceIssued { term: usize, number: u32, course: String, student: String },
}

impl Event for InvoiceEvent {
    fn tags(&self) -> Vec<String> {
        let InvoiceEvent::InvoiceIssued { term, course, student, .. } = self;
        vec![format!("invoices:{term}"), format!("course:{course}"), format!("student:{student}")]
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    AddressTaken,
    NoSuchCourse,
    CourseFull,
    TooManyCourses,
}

// ---- an address belongs to one student ---------------------------------------------------------

/// Who has an address.
struct Holder {
    email: String,
    student: Option<String>,
}

impl DecisionModel for Holder {
    type Event = StudentEvent;

    fn filter(&self) -> Filter {
        Filter::tag(format!("email:{}", self.email))
    }

    fn evolve(&mut self, event: &StudentEvent) {
        let StudentEvent::StudentRegistered { student, .. } = event;
        self.student = Some(student.clone());
    }
}

struct Register {
    student: String,
    email: String,
}

impl Decision for Register {
    type Model = Holder;
    type Event = StudentEvent;
    type Error = Refusal;

    fn model(&self) -> Holder {
        Holder { email: self.email.clone(), student: None }
    }

    fn decide(&self, holder: &Holder) -> Result<Vec<StudentEvent>, Refusal> {
        let (student, email) = (self.student.clone(), self.email.clone());
        match &holder.student {
            None => Ok(vec![StudentEvent::StudentRegistered { student, email }]),
            // In an earlier term: there is nothing to do.
            Some(holder) if *holder == student => Ok(vec![]),
            Some(_) => Err(Refusal::AddressTaken),
        }
    }

    fn stream(&self, _: &StudentEvent) -> String {
        format!("Student-{}", self.student)
    }
}

// ---- a course has seats, a student has a limit: one decision -----------------------------------

/// How many seats a course has, and how many are taken.
struct Seats {
    course: String,
    seats: Option<u32>,
    taken: u32,
}

impl DecisionModel for Seats {
    type Event = CourseEvent;

    fn filter(&self) -> Filter {
        Filter::tag(format!("course:{}", self.course))
    }

    fn evolve(&mut self, event: &CourseEvent) {
        match event {
            CourseEvent::CourseDefined { seats, .. } => self.seats = Some(*seats),
            CourseEvent::StudentEnrolled { .. } => self.taken += 1,
        }
    }
}

/// The courses of a student in a term.
struct Timetable {
    student: String,
    term: usize,
    courses: BTreeSet<String>,
}

impl DecisionModel for Timetable {
    type Event = CourseEvent;

    /// Events that have both tags.
    fn filter(&self) -> Filter {
        Filter::tag(format!("student:{}", self.student)).tagged(format!("term:{}", self.term))
    }

    fn evolve(&mut self, event: &CourseEvent) {
        if let CourseEvent::StudentEnrolled { course, .. } = event {
            self.courses.insert(course.clone());
        }
    }
}

struct Enrol {
    student: String,
    course: String,
    term: usize,
}

impl Decision for Enrol {
    type Model = (Seats, Timetable);
    type Event = CourseEvent;
    type Error = Refusal;

    fn model(&self) -> (Seats, Timetable) {
        let Enrol { student, course, term } = self;
        let timetable =
            Timetable { student: student.clone(), term: *term, courses: BTreeSet::new() };
        (Seats { course: course.clone(), seats: None, taken: 0 }, timetable)
    }

    fn decide(&self, (seats, timetable): &(Seats, Timetable)) -> Result<Vec<CourseEvent>, Refusal> {
        let Some(all) = seats.seats else { return Err(Refusal::NoSuchCourse) };
        if timetable.courses.contains(&self.course) {
            return Ok(vec![]);
        }
        if seats.taken >= all {
            return Err(Refusal::CourseFull);
        }
        if timetable.courses.len() >= COURSES_MAX {
            return Err(Refusal::TooManyCourses);
        }
        let (course, student) = (self.course.clone(), self.student.clone());
        Ok(vec![CourseEvent::StudentEnrolled { course, student, term: self.term }])
    }

    fn stream(&self, _: &CourseEvent) -> String {
        format!("Course-{}", self.course)
    }
}

// ---- invoices: one for each enrolment, numbered without gaps -----------------------------------

/// The last number of a term's invoices.
struct LastInvoice {
    term: usize,
    number: u32,
}

impl DecisionModel for LastInvoice {
    type Event = InvoiceEvent;

    fn filter(&self) -> Filter {
        Filter::tag(format!("invoices:{}", self.term))
    }

    /// The last one has the last number; each new one is a conflict all the same.
    fn newest(&self) -> Option<u64> {
        Some(1)
    }

    fn evolve(&mut self, event: &InvoiceEvent) {
        let InvoiceEvent::InvoiceIssued { number, .. } = event;
        self.number = *number;
    }
}

/// Whether an enrolment has its invoice.
struct Invoiced {
    student: String,
    course: String,
    is_invoiced: bool,
}

impl DecisionModel for Invoiced {
    type Event = InvoiceEvent;

    /// The enrolment has both tags, too; but it is no `InvoiceEvent`, so that it is not shown.
    fn filter(&self) -> Filter {
        Filter::tag(format!("student:{}", self.student)).tagged(format!("course:{}", self.course))
    }

    fn evolve(&mut self, _: &InvoiceEvent) {
        self.is_invoiced = true;
    }
}

struct Issue {
    student: String,
    course: String,
    term: usize,
}

impl Decision for Issue {
    type Model = (LastInvoice, Invoiced);
    type Event = InvoiceEvent;
    type Error = Refusal;

    fn model(&self) -> (LastInvoice, Invoiced) {
        let (student, course) = (self.student.clone(), self.course.clone());
        let last = LastInvoice { term: self.term, number: 0 };
        (last, Invoiced { student, course, is_invoiced: false })
    }

    fn decide(
        &self,
        (last, invoiced): &(LastInvoice, Invoiced),
    ) -> Result<Vec<InvoiceEvent>, Refusal> {
        if invoiced.is_invoiced {
            return Ok(vec![]);
        }
        let (student, course) = (self.student.clone(), self.course.clone());
        let (term, number) = (self.term, last.number + 1);
        Ok(vec![InvoiceEvent::InvoiceIssued { term, number, course, student }])
    }

    fn stream(&self, event: &InvoiceEvent) -> String {
        let InvoiceEvent::InvoiceIssued { term, number, .. } = event;
        format!("Invoice-{term}-{number}")
    }
}

// ---- a term ------------------------------------------------------------------------------------

fn main() -> filmstrip::Result<()> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "course-enrolment-data".into());
    if directory.to_string_lossy().starts_with('-') {
        println!("Usage: course_enrolment [DIRECTORY]   [default: course-enrolment-data]");
        return Ok(());
    }
    run(directory.as_ref())
}

/// A new term in the store of this directory.
pub(crate) fn run(directory: &Path) -> filmstrip::Result<()> {
    let store = Store::open(directory)?;
    let term = 1 + store.streams().category("Course").iter()?.count() / COURSES.len();
    let events = store.head();
    println!("The store in {} holds {events} events. Term {term} begins.\n", directory.display());

    register_all(&store, term)?;
    define_courses(&store, term)?;
    let before = store.head();
    enrol_all(&store, term)?;
    enrol_too_late(&store, term, before)?;
    issue_all(&store, term)?;
    check(&store, term)?;
    println!("\nRead back and counted: all rules hold.");
    store.close()
}

fn register_all(store: &Store, term: usize) -> filmstrip::Result<()> {
    for student in students() {
        let email = format!("{student}@example.org");
        store.decide(&Register { student, email })?;
    }
    let (student, email) = ("somebody".to_owned(), "s01@example.org".to_owned());
    match store.decide(&Register { student, email }) {
        Err(DecideError::Rejected(reason)) => {
            println!("Somebody registers as s01@example.org: refused, {reason}.");
        }
        other => panic!("s01@example.org is s01's, and nobody else may have it: {other:?}"),
    }
    // All at once: those that are slower see that the address is taken.
    let outcomes = at_once(|clerk| {
        let student = format!("t{term}-{clerk}");
        let registered =
            store.decide(&Register { student, email: format!("new-{term}@example.org") });
        answer(registered.map(|_| 0))
    })?;
    let taken = outcomes.iter().filter(|outcome| **outcome == Err(Refusal::AddressTaken)).count();
    println!("{CLERKS} register as new-{term}@example.org at once: {taken} are refused.");
    assert_eq!(taken, CLERKS as usize - 1);
    Ok(())
}

fn define_courses(store: &Store, term: usize) -> filmstrip::Result<()> {
    for (name, seats) in COURSES {
        let course = format!("{name}-{term}");
        let stream = format!("Course-{course}");
        // One stream has all that this depends on: its version is enough.
        let defined = NewEvent::of(&CourseEvent::CourseDefined { course, seats })?;
        store.append(stream, ExpectedVersion::NoStream, [defined])?;
    }
    Ok(())
}

/// Every student asks for every course. The clerks do so for all students at once.
fn enrol_all(store: &Store, term: usize) -> filmstrip::Result<()> {
    let (retries, next) = (AtomicU32::new(0), AtomicU32::new(0));
    let students: Vec<_> = students().collect();
    let refusals = at_once(|_| -> filmstrip::Result<_> {
        let mut refusals = Vec::new();
        while let Some(student) = students.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            for (name, _) in COURSES {
                let (student, course) = (student.clone(), format!("{name}-{term}"));
                let enrol = Enrol { student, course, term };
                match answer(
                    store.decision(&enrol).retries(RETRIES).run().map(|done| done.retries),
                )? {
                    Ok(again) => drop(retries.fetch_add(again, Ordering::Relaxed)),
                    Err(reason) => refusals.push(reason),
                }
            }
        }
        Ok(refusals)
    })?;
    println!(
        "\n{STUDENTS} students ask {CLERKS} clerks for each of the {} courses; {COURSES_MAX} are allowed.",
        COURSES.len()
    );
    println!(
        "  {} times another clerk was faster, so that it was decided again.",
        retries.into_inner()
    );
    let refusals: Vec<_> = refusals.into_iter().flatten().collect();
    for reason in [Refusal::CourseFull, Refusal::TooManyCourses] {
        let count = refusals.iter().filter(|met| **met == reason).count();
        println!("  Refused {count} times: {reason}.");
    }
    Ok(())
}

/// One who has decided before the rush, and comes now: the store refuses it.
fn enrol_too_late(store: &Store, term: usize, before: Position) -> filmstrip::Result<()> {
    let (course, student) = (format!("chemistry-{term}"), "s01".to_owned());
    let condition = Filter::tag(format!("course:{course}"));
    let stream = format!("Course-{course}");
    let event = NewEvent::of(&CourseEvent::StudentEnrolled { course, student, term })?;
    let commit = Commit::new().append(stream, ExpectedVersion::Any, [event]);
    match store.commit(commit.unless(condition, before)) {
        Err(AppendError::Matched(matched)) => {
            println!("\nDecided before that, and committed after it:\n  {matched}.");
        }
        other => panic!("an event that was decided on the past was recorded: {other:?}"),
    }
    Ok(())
}

/// Each clerk issues the invoices of all enrolments, as if nobody else did.
fn issue_all(store: &Store, term: usize) -> filmstrip::Result<()> {
    let enrolled = enrolments(store, term)?;
    let retries = AtomicU32::new(0);
    let issued = at_once(|_| -> filmstrip::Result<_> {
        let mut issued = 0;
        for (student, course) in &enrolled {
            let issue = Issue { student: student.clone(), course: course.clone(), term };
            let done = store.decision(&issue).retries(RETRIES).run()?;
            retries.fetch_add(done.retries, Ordering::Relaxed);
            issued += done.events.len();
        }
        Ok(issued)
    })?;
    println!(
        "\n{CLERKS} clerks issue an invoice for each of {} enrolments: {} invoices are issued.\n  \
         {} times another clerk was faster, so that it was decided again.",
        enrolled.len(),
        issued.iter().sum::<usize>(),
        retries.into_inner()
    );
    Ok(())
}

/// Counts all that is recorded, without any of the models above.
fn check(store: &Store, term: usize) -> filmstrip::Result<()> {
    let mut holders = BTreeMap::new();
    for event in store.read_all().category("Student").iter()? {
        let StudentEvent::StudentRegistered { student, email } = event?.decode()?;
        assert_eq!(holders.insert(email, student), None, "an address belongs to two");
    }

    let enrolled = enrolments(store, term)?;
    let (mut of_course, mut of_student) = (BTreeMap::new(), BTreeMap::new());
    for (student, course) in &enrolled {
        *of_course.entry(course.as_str()).or_insert(0) += 1;
        *of_student.entry(student.as_str()).or_insert(0) += 1;
    }
    println!("\nThe seats that are taken:");
    for (name, seats) in COURSES {
        let course = format!("{name}-{term}");
        let taken = of_course.get(course.as_str()).copied().unwrap_or(0);
        println!("  {course:<12} {taken:>2} of {seats}");
        assert!(taken <= seats, "{course} is overbooked");
        // All have asked for these two before they had two courses.
        assert!(name == "chemistry" || taken == seats, "{course} has free seats");
    }
    assert_eq!(of_student.len(), STUDENTS as usize, "somebody has no course");
    assert!(of_student.values().all(|courses| *courses <= COURSES_MAX), "{of_student:?}");

    let (mut numbers, mut invoiced) = (Vec::new(), Vec::new());
    for event in store.read_all().filter(Filter::tag(format!("invoices:{term}"))).iter()? {
        let InvoiceEvent::InvoiceIssued { number, course, student, .. } = event?.decode()?;
        numbers.push(number);
        invoiced.push((student, course));
    }
    println!("The invoices' numbers: {} to {}.", numbers[0], numbers[numbers.len() - 1]);
    assert!(
        numbers.iter().copied().eq(1..=enrolled.len() as u32),
        "a number is missing, or twice there"
    );
    invoiced.sort_unstable();
    assert_eq!(invoiced, enrolled, "an enrolment has no invoice, or two");
    Ok(())
}

fn students() -> impl Iterator<Item = String> {
    (1..=STUDENTS).map(|n| format!("s{n:02}"))
}

/// Students and their courses in a term, sorted.
fn enrolments(store: &Store, term: usize) -> filmstrip::Result<Vec<(String, String)>> {
    let filter = Filter::tag(format!("term:{term}")).and_event_type("StudentEnrolled");
    let mut enrolments = Vec::new();
    for event in store.read_all().filter(filter).iter()? {
        if let CourseEvent::StudentEnrolled { course, student, .. } = event?.decode()? {
            enrolments.push((student, course));
        }
    }
    enrolments.sort_unstable();
    Ok(enrolments)
}

/// What each clerk came to, all of them at once; the first error, if there is one.
fn at_once<T: Send>(
    work: impl Fn(u32) -> filmstrip::Result<T> + Sync,
) -> filmstrip::Result<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let clerks: Vec<_> = (0..CLERKS).map(|n| scope.spawn(move || work(n))).collect();
        clerks.into_iter().map(|clerk| clerk.join().expect("a clerk does not panic")).collect()
    })
}

/// A refusal is an answer, not an error: nothing was written.
fn answer(decided: Result<u32, DecideError<Refusal>>) -> filmstrip::Result<Result<u32, Refusal>> {
    match decided {
        Ok(retries) => Ok(Ok(retries)),
        Err(DecideError::Rejected(reason)) => Ok(Err(reason)),
        Err(error) => Err(error.into()),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::AddressTaken => "the address is another student's",
            Refusal::NoSuchCourse => "there is no such course",
            Refusal::CourseFull => "the course is full",
            Refusal::TooManyCourses => "the student has enough courses in this term",
        })
    }
}

impl std::error::Error for Refusal {}
