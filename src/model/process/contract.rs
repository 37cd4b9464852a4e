//! The trait of process managers, which the application implements.

use crate::model::event_set::set::Event;
use crate::model::process::effects::Effects;
use crate::value::error::HandlerError;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use chrono::{DateTime, Utc};

/// What a process manager reacts to.
#[derive(Debug, Clone, Copy)]
pub enum Trigger<'a> {
    /// An event that was routed to the instance.
    Event(&'a RecordedEvent),
    /// The [deadline](ProcessManager::deadline) of the instance's current state has come.
    Deadline,
}

/// Coordinates work across several streams: it follows their events, remembers how far each piece of work has come,
/// sends commands, and notices when nothing happens.
///
/// Each piece of work is an **instance** with a stream of its own, `NAME-id`. Its state is folded from that stream and
/// from nothing else. What happens, in this order:
///
/// 1. An event that the [`filter`](ProcessManager::filter) wants is [routed](ProcessManager::route)
///    to an instance, or to none.
/// 2. The instance [reacts](ProcessManager::react) with events of its own. They are recorded in one commit with the
///    position of the ingested event, so each event is reacted to once, after a crash too.
/// 3. Each own event has its [effect](ProcessManager::effect): commands to aggregates, and further events of its own.
///    An effect runs after its event is durable, and at least once; a command that is sent again does not run again.
///    The instance ingests nothing more before it is done.
///
/// Instances are independent of each other. The effects of several run side by side, on the
/// [lanes](crate::process::ProcessBuilder::lanes) of the process, and one that fails does not hold up the others.
///
/// ```
/// use chrono::{DateTime, TimeDelta, Utc};
/// use filmstrip::process::Effects;
/// use filmstrip::{Event, Filter, HandlerError, NewEvent, ProcessManager, RecordedEvent};
/// use filmstrip::process::Trigger;
/// use filmstrip::{ExpectedVersion, Store};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// /// Wants to be told that a guest has left within a day after coming.
/// #[derive(Default, Clone)]
/// struct Stay {
///     until: Option<DateTime<Utc>>,
/// }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// enum StayEvent {
///     Begun { until: DateTime<Utc> },
///     Ended,
///     Overdue,
/// }
/// impl Event for StayEvent {}
///
/// impl ProcessManager for Stay {
///     const NAME: &'static str = "Stay";
///     type Event = StayEvent;
///
///     fn filter() -> Filter {
///         Filter::category("Guest")
///     }
///
///     fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
///         Ok(event.stream.as_str().strip_prefix("Guest-").map(str::to_owned))
///     }
///
///     fn react(&self, trigger: Trigger<'_>) -> Result<Vec<StayEvent>, HandlerError> {
///         Ok(match trigger {
///             Trigger::Event(event) if event.event_type == "Came" => {
///                 vec![StayEvent::Begun { until: event.recorded_at + TimeDelta::days(1) }]
///             }
///             Trigger::Event(_) => vec![StayEvent::Ended],
///             Trigger::Deadline => vec![StayEvent::Overdue],
///         })
///     }
///
///     fn evolve(&mut self, event: &StayEvent) {
///         self.until = match event {
///             StayEvent::Begun { until } => Some(*until),
///             StayEvent::Ended | StayEvent::Overdue => None,
///         }
///     }
///
///     fn effect(&self, _: &StayEvent, _: &mut Effects<'_>) -> Result<Vec<StayEvent>, HandlerError> {
///         Ok(vec![]) // Here it could give a command: `out.execute::<Room>(..)`.
///     }
///
///     fn deadline(&self) -> Option<DateTime<Utc>> {
///         self.until
///     }
/// }
///
/// let store = Store::temporary()?;
/// let stays = store.process::<Stay>().start()?;
/// store.append("Guest-7", ExpectedVersion::Any, [NewEvent::json("Came", &())?])?;
/// let left = store.append("Guest-7", ExpectedVersion::Any, [NewEvent::json("Left", &())?])?;
/// stays.wait_for(left.position, Duration::from_secs(5))?;
/// let film = store.read_stream("Stay-7").collect()?;
/// assert_eq!(film.iter().map(|e| e.event_type.as_str()).collect::<Vec<_>>(), ["Begun", "Ended"]);
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub trait ProcessManager: Default + Clone + Send + 'static {
    /// Its name: the category of its own streams, which it alone writes. Like an aggregate's category it must not
    /// contain a `-` or a control character, or begin with `$`; this is checked at compile time.
    const NAME: &'static str;

    /// The events of its own streams.
    type Event: Event;

    /// Returns the events that it follows. Leave out its own.
    fn filter() -> Filter;

    /// Returns the id of the instance that an event concerns, if it concerns one: what follows `NAME-` in the name of
    /// that instance's stream. It must be pure.
    ///
    /// # Errors
    /// An error or a panic in `react` or `effect` is retried, and then its instance is parked, or what
    /// [`ProcessBuilder::on_error`](crate::process::ProcessBuilder::on_error) says. For an event that `route` fails on
    /// no instance is known. It is parked alone and at once, unless the process is to stop at failures.
    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError>;

    /// Returns what the instance records about the trigger: nothing, or events that become durable together. It must be
    /// pure: it may be called again for the same trigger, though the result is recorded once.
    ///
    /// # Errors
    /// As for [`route`](ProcessManager::route).
    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<Self::Event>, HandlerError>;

    /// Applies an own event. It cannot fail: what has happened is not refused.
    fn evolve(&mut self, event: &Self::Event);

    /// Acts on an own event once it is durable: it sends commands through `out`, and returns further own events, which
    /// are recorded together with the mark that this effect is done. `self` is the instance's newest state.
    ///
    /// It is called at least once, and again if a crash stopped the process before its end was recorded. Then it should
    /// send the same commands in the same order: each is identified by its place in that order, and what has run does
    /// not run again.
    ///
    /// # Errors
    /// As for [`route`](ProcessManager::route). A rejected command is no error but an
    /// [outcome](crate::process::CommandOutcome), which this code can turn into an event.
    fn effect(
        &self,
        event: &Self::Event,
        out: &mut Effects<'_>,
    ) -> Result<Vec<Self::Event>, HandlerError>;

    /// Returns when this state wants to be woken, to the microsecond; `None` if it does not, which cancels an earlier
    /// state's deadline. The deadline is durable together with the events that led to the state.
    ///
    /// A time that has come triggers [`Trigger::Deadline`] once, even if the state continues to return it. An
    /// instance's deadlines and events have one order: what was recorded after a deadline is ingested after it, even if
    /// the process was not running at the time.
    fn deadline(&self) -> Option<DateTime<Utc>> {
        None
    }
}
