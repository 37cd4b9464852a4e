//! What a decision depends on: one model, or a tuple of them.
//!
//! A part is shown only what its own filter accepts, decoded with its own event set: parts may know nothing of each
//! other's events.

use crate::model::envelope::Envelope;
use crate::model::event_set::set::Event;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::{Alternative, Filter};
use std::slice;

/// One thing that a decision needs to know, computed from the events that concern it, in whatever streams they are.
///
/// A model begins with the value that [`Decision::model`](crate::Decision::model) returns and is shown, in order, each
/// event that its filter accepts. It is small and made for one decision: it knows how many seats a course has left, and
/// not its title. Decisions that need to know several things have a tuple of up to 8 models, whose filters are
/// alternatives: an event that two of them accept is shown to both.
///
/// ```
/// use filmstrip::{DecisionModel, Event, Filter};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// enum CourseEvent {
///     Defined { course: String, seats: u32 },
/// }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// enum Enrolment {
///     Subscribed { course: String, student: String },
/// }
/// # impl Event for CourseEvent {
/// #     fn tags(&self) -> Vec<String> {
/// #         let CourseEvent::Defined { course, .. } = self;
/// #         vec![format!("course:{course}")]
/// #     }
/// # }
/// # impl Event for Enrolment {
/// #     fn tags(&self) -> Vec<String> {
/// #         let Enrolment::Subscribed { course, student } = self;
/// #         vec![format!("course:{course}"), format!("student:{student}")]
/// #     }
/// # }
///
/// struct SeatsTaken {
///     course: String,
///     taken: u32,
/// }
///
/// impl DecisionModel for SeatsTaken {
///     type Event = Enrolment;
///
///     fn filter(&self) -> Filter {
///         Filter::tag(format!("course:{}", self.course))
///     }
///
///     fn evolve(&mut self, Enrolment::Subscribed { .. }: &Enrolment) {
///         self.taken += 1;
///     }
/// }
/// ```
pub trait DecisionModel: Send {
    /// The events that it is shown.
    type Event: Event;

    /// Returns which events concern it. It is asked once, before the first event is shown.
    ///
    /// An alternative that names no event types is narrowed to those of [`Event`](DecisionModel::Event): a tag alone is
    /// enough, whatever other events have that tag. Types that it does name must be of that event set.
    fn filter(&self) -> Filter;

    /// Returns how many of the newest of these events it needs to be shown at first, if not all: `Some(1)` for one that
    /// needs the last number given, or the state that an event names in full. By default (`None`), it is shown all.
    ///
    /// Whatever it returns, each new event that the filter accepts is a conflict, and is shown after that.
    fn newest(&self) -> Option<u64> {
        None
    }

    /// Takes an event into account. It cannot fail: what has happened is not refused.
    fn evolve(&mut self, event: &Self::Event);

    /// Takes an event into account, and sees also its id, its place, its times and its metadata. This is what the store
    /// calls; by default it calls [`evolve`](DecisionModel::evolve).
    fn evolve_at(&mut self, event: &Self::Event, envelope: &Envelope<'_>) {
        let _ = envelope;
        self.evolve(event);
    }
}

/// What a decision depends on: a [`DecisionModel`], or a tuple of up to 8 of these.
///
/// It is implemented for them, and for nothing else.
pub trait Boundary: Fold {}

impl<B: Fold> Boundary for B {}

/// How a boundary is computed. Not to be implemented outside of this file.
pub trait Fold: Send {
    /// Adds what each part wants.
    fn add_wanted(&self, wanted: &mut Vec<Wanted>);

    /// Shows `event` to the parts that want it, of those that have a filter in `filters`; takes from there as many as
    /// `add_wanted` has added.
    ///
    /// # Errors
    /// Those of [`RecordedEvent::decode`].
    fn show(
        &mut self,
        event: &RecordedEvent,
        filters: &mut slice::Iter<'_, Option<Filter>>,
    ) -> Result<()>;
}

impl<M: DecisionModel> Fold for M {
    fn add_wanted(&self, wanted: &mut Vec<Wanted>) {
        wanted.push(Wanted { filter: self.filter().within::<M::Event>(), newest: self.newest() });
    }

    fn show(
        &mut self,
        event: &RecordedEvent,
        filters: &mut slice::Iter<'_, Option<Filter>>,
    ) -> Result<()> {
        if let Some(Some(filter)) = filters.next()
            && (filter.wants_event(event) || failpoint!("decision::show_what_is_not_wanted"))
        {
            let decoded = event.decode::<M::Event>()?;
            self.evolve_at(&decoded, &Envelope::of(event));
        }
        Ok(())
    }
}

macro_rules! tuples {
    ($($part:ident)*) => {
        impl<$($part: Fold),*> Fold for ($($part,)*) {
            fn add_wanted(&self, wanted: &mut Vec<Wanted>) {
                #[expect(non_snake_case, reason = "a part and its type have one name")]
                let ($($part,)*) = self;
                $($part.add_wanted(wanted);)*
            }

            fn show(
                &mut self,
                event: &RecordedEvent,
                filters: &mut slice::Iter<'_, Option<Filter>>,
            ) -> Result<()> {
                #[expect(non_snake_case, reason = "a part and its type have one name")]
                let ($($part,)*) = self;
                $($part.show(event, filters)?;)*
                Ok(())
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// What a part wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub(crate) filter: Filter,
    /// Only so many of the newest events, if it says so.
    pub(crate) newest: Option<u64>,
}

/// A boundary, as far as it has been computed.
pub(crate) struct Folded<B> {
    pub(crate) model: B,
    /// What at least one part wants.
    filter: Filter,
    reads: Vec<PartsRead>,
}

/// Parts whose events are read together.
struct PartsRead {
    /// What at least one of them wants.
    wanted: Wanted,
    /// Of each part its filter, if it is one of them.
    parts: Vec<Option<Filter>>,
}

impl PartsRead {
    /// All parts that want all events of some tags are read together; each other part, such as one of a stream, by
    /// itself: with another way to its events in it, a read has to go through the log.
    fn of(wanted: &[Wanted]) -> Vec<PartsRead> {
        let is_tagged = |one: &Wanted| one.newest.is_none() && has_tags(&one.filter);
        let read = |takes: &dyn Fn(usize) -> bool, newest| {
            let of = |(number, one): (usize, &Wanted)| takes(number).then(|| one.filter.clone());
            let parts: Vec<_> = wanted.iter().enumerate().map(of).collect();
            let filter = parts.iter().flatten().cloned().reduce(Filter::or)?;
            Some(PartsRead { wanted: Wanted { filter, newest }, parts })
        };
        let mut reads = Vec::from_iter(read(&|number| is_tagged(&wanted[number]), None));
        let others = wanted.iter().enumerate().filter(|(_, one)| !is_tagged(one));
        reads.extend(others.filter_map(|(other, one)| read(&|number| number == other, one.newest)));
        reads
    }
}

/// Whether each event that it accepts has a tag that it names.
fn has_tags(filter: &Filter) -> bool {
    filter.alternatives().all(|alternative| !alternative.tags().is_empty())
}

impl Wanted {
    /// Whether its events are found by tags or streams, and not by reading through the log.
    pub(crate) fn is_indexed(&self) -> bool {
        let is_indexed = |one: &Alternative| !one.tags().is_empty() || !one.streams().is_empty();
        self.filter.alternatives().all(is_indexed)
    }
}

impl<B: Boundary> Folded<B> {
    /// Nothing was shown to `model` yet.
    ///
    /// # Errors
    /// That of a part's filter, if it cannot be used, or if there are too many alternatives.
    pub(crate) fn new(model: B) -> Result<Folded<B>> {
        let mut wanted = Vec::new();
        model.add_wanted(&mut wanted);
        let reads = PartsRead::of(&wanted);
        let filters = wanted.into_iter().map(|one| one.filter);
        let filter = filters.reduce(Filter::or).unwrap_or_default();
        filter.check()?;
        Ok(Folded { model, filter, reads })
    }

    /// What at least one part wants.
    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Shows to each part the events that it wants, of those that `read` finds. `note` is called with each
    /// event that is shown.
    ///
    /// # Errors
    /// Those of reading and decoding.
    pub(crate) fn go_on<I>(
        &mut self,
        read: impl Fn(&Wanted) -> Result<I>,
        mut note: impl FnMut(&RecordedEvent),
    ) -> Result<()>
    where
        I: Iterator<Item = Result<RecordedEvent>>,
    {
        for PartsRead { wanted, parts } in &self.reads {
            for event in read(wanted)? {
                let event = event?;
                self.model.show(&event, &mut parts.iter())?;
                note(&event);
            }
        }
        Ok(())
    }
}
