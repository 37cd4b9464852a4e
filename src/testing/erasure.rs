//! Tests of what is left of an aggregate when somebody is forgotten.

use crate::model::aggregate::{Aggregate, stream_in};
use crate::model::envelope::Envelope;
use crate::testing::recording::Recording;
use crate::value::event::{NewEvent, PayloadFormat, RecordedEvent};
use bytes::Bytes;

/// Expects that an aggregate with these events still loads when everybody whom they are about is forgotten, and returns
/// its state then: each [private](crate::Event::subject) event has a [stand-in](crate::Event::erased).
///
/// ```
/// # use filmstrip::{Aggregate, Event, RecordedEvent};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// enum OrderEvent {
///     Placed { cents: u32 },
///     AddressGiven { customer: u32, address: String },
/// }
/// impl Event for OrderEvent {
///     fn subject(&self) -> Option<String> {
///         match self {
///             OrderEvent::Placed { .. } => None,
///             OrderEvent::AddressGiven { customer, .. } => Some(format!("customer-{customer}")),
///         }
///     }
///     fn erased(_: &RecordedEvent) -> Option<OrderEvent> {
///         Some(OrderEvent::AddressGiven { customer: 0, address: "(erased)".into() })
///     }
/// }
/// # #[derive(Default)]
/// # struct Order { cents: u32, address: String }
/// # impl Aggregate for Order {
/// #     const CATEGORY: &'static str = "Order";
/// #     type Command = ();
/// #     type Event = OrderEvent;
/// #     type Error = std::convert::Infallible;
/// #     fn decide(&self, _: &()) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![]) }
/// #     fn evolve(&mut self, event: &OrderEvent) {
/// #         match event {
/// #             OrderEvent::Placed { cents } => self.cents = *cents,
/// #             OrderEvent::AddressGiven { address, .. } => self.address = address.clone(),
/// #         }
/// #     }
/// # }
/// let placed = OrderEvent::Placed { cents: 900 };
/// let given = OrderEvent::AddressGiven { customer: 7, address: "12 Row Lane".into() };
/// let order = filmstrip::testing::survives_erasure::<Order>([placed, given]);
/// assert_eq!((order.cents, &*order.address), (900, "(erased)"));
/// ```
///
/// # Panics
/// If a private event has no stand-in, or an event cannot be stored. If the aggregate panics at a stand-in, that is the
/// panic.
#[track_caller]
pub fn survives_erasure<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> A {
    let mut state = A::default();
    let mut recording = Recording::default();
    for event in events {
        let stored = NewEvent::of(&event).and_then(|new| Ok((stream_in(A::CATEGORY, "1")?, new)));
        let (stream, new) = match stored {
            Ok(stored) => stored,
            Err(error) => panic!("an event of {} cannot be stored: {error}", A::CATEGORY),
        };
        let is_private = new.subject.is_some();
        let recorded = recording.record(stream, new);
        let event = match is_private {
            true => stand_in::<A>(RecordedEvent {
                format: PayloadFormat::Erased,
                payload: Bytes::new(),
                ..recorded.clone()
            }),
            false => event,
        };
        state.evolve_at(&event, &Envelope::of(&recorded));
    }
    state
}

#[track_caller]
fn stand_in<A: Aggregate>(erased: RecordedEvent) -> A::Event {
    match erased.decode::<A::Event>() {
        Ok(event) => event,
        Err(error) => panic!(
            "{} has a private event {} without a stand-in: once its subject is forgotten, no {} with one loads ({error})",
            A::CATEGORY,
            erased.event_type,
            A::CATEGORY
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event_set::set::Event;
    use serde::{Deserialize, Serialize};
    use std::convert::Infallible;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum Said {
        Public,
        Private,
        Forgettable,
    }

    impl Event for Said {
        fn subject(&self) -> Option<String> {
            (!matches!(self, Said::Public)).then(|| "customer-7".to_owned())
        }

        fn erased(event: &RecordedEvent) -> Option<Said> {
            (event.event_type == "Forgettable").then_some(Said::Public)
        }
    }

    #[derive(Clone, Default)]
    struct Heard(Vec<Said>);

    impl Aggregate for Heard {
        const CATEGORY: &'static str = "Heard";
        type Command = ();
        type Event = Said;
        type Error = Infallible;

        fn decide(&self, (): &()) -> Result<Vec<Said>, Infallible> {
            Ok(vec![])
        }

        fn evolve(&mut self, event: &Said) {
            self.0.push(event.clone());
        }
    }

    #[test]
    fn what_has_a_stand_in_survives() {
        let Heard(heard) = survives_erasure::<Heard>([Said::Public, Said::Forgettable]);
        assert!(matches!(heard[..], [Said::Public, Said::Public]), "{heard:?}");
    }

    #[test]
    #[should_panic(expected = "a private event Private without a stand-in")]
    fn what_has_none_is_named() {
        survives_erasure::<Heard>([Said::Forgettable, Said::Private]);
    }
}
