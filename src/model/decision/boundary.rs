//! What a decision depends on: one model, or a tuple of them.
//!
//! A part is shown only what its own filter accepts, decoded with its own event set: parts may know nothing of each
//! other's events.

use crate::model::envelope::Envelope;
use crate::model::event_set::set::Event;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
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
    /// Adds the filter of each part.
    fn add_filters(&self, filters: &mut Vec<Filter>);

    /// Shows `event` to the parts that want it; takes from `filters` as many as `add_filters` has added.
    ///
    /// # Errors
    /// Those of [`RecordedEvent::decode`].
    fn show(&mut self, event: &RecordedEvent, filters: &mut slice::Iter<'_, Filter>) -> Result<()>;
}

impl<M: DecisionModel> Fold for M {
    fn add_filters(&self, filters: &mut Vec<Filter>) {
        filters.push(self.filter().within::<M::Event>());
    }

    fn show(&mut self, event: &RecordedEvent, filters: &mut slice::Iter<'_, Filter>) -> Result<()> {
        let is_wanted = filters.next().is_some_and(|filter| filter.wants_event(event));
        if is_wanted || failpoint!("decision::show_what_is_not_wanted") {
            let decoded = event.decode::<M::Event>()?;
            self.evolve_at(&decoded, &Envelope::of(event));
        }
        Ok(())
    }
}

macro_rules! tuples {
    ($($part:ident)*) => {
        impl<$($part: Fold),*> Fold for ($($part,)*) {
            fn add_filters(&self, filters: &mut Vec<Filter>) {
                #[expect(non_snake_case, reason = "a part and its type have one name")]
                let ($($part,)*) = self;
                $($part.add_filters(filters);)*
            }

            fn show(
                &mut self,
                event: &RecordedEvent,
                filters: &mut slice::Iter<'_, Filter>,
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

/// A boundary, as far as it has been computed.
pub(crate) struct Folded<B> {
    pub(crate) model: B,
    /// The filters of its parts, in their order.
    parts: Vec<Filter>,
    filter: Filter,
}

impl<B: Boundary> Folded<B> {
    /// Nothing was shown to `model` yet.
    ///
    /// # Errors
    /// That of a part's filter, if it cannot be used, or if there are too many alternatives.
    pub(crate) fn new(model: B) -> Result<Folded<B>> {
        let mut parts = Vec::new();
        model.add_filters(&mut parts);
        let filter = parts.iter().cloned().reduce(Filter::or).unwrap_or_default();
        filter.check()?;
        Ok(Folded { model, parts, filter })
    }

    /// What at least one part wants.
    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Shows `event` to the parts that want it.
    ///
    /// # Errors
    /// Those of decoding it.
    pub(crate) fn show(&mut self, event: &RecordedEvent) -> Result<()> {
        self.model.show(event, &mut self.parts.iter())
    }
}
