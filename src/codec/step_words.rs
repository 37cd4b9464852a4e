//! What a step of a process is, in words, as they are kept of one that is parked.
//!
//! * A copy of a store adapts these words to where the step's event is there. So they are written and read here only.

use std::fmt;

const EFFECT: &str = "the effect of ";
const POSITION: &str = "position ";

/// The event of a step.
#[derive(Clone, Copy)]
pub(crate) struct StepEvent<'a> {
    pub(crate) position: u64,
    pub(crate) event_type: &'a str,
    pub(crate) stream: &'a str,
}

impl fmt::Display for StepEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepEvent { position, event_type, stream } = self;
        write!(f, "{POSITION}{position}, event {event_type} of {stream}")
    }
}

/// The effect of an own event.
pub(crate) fn effect_of(event: StepEvent<'_>) -> String {
    format!("{EFFECT}{event}")
}

/// The effect of the own event at `version` of `stream`, whose position is not known.
pub(crate) fn effect_of_version(version: u64, stream: impl fmt::Display) -> String {
    format!("{EFFECT}version {version} of {stream}")
}

/// Whether these words of an effect name the position of its event.
pub(crate) fn names_position(effect: &str) -> bool {
    effect.strip_prefix(EFFECT).is_some_and(|event| event.starts_with(POSITION))
}

/// These words of the event at `position` for the same event at `now`; `None` if they do not name the position.
pub(crate) fn moved(event: &str, position: u64, now: u64) -> Option<String> {
    let rest = event.strip_prefix(&format!("{POSITION}{position},"))?;
    Some(format!("{POSITION}{now},{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores hold such words.
    #[test]
    fn what_is_written_is_read_and_stays_as_it_is() {
        let event = StepEvent { position: 12, event_type: "Placed", stream: "Order-1" };
        let (words, effect) = (event.to_string(), effect_of(event));
        assert_eq!(words, "position 12, event Placed of Order-1");
        assert_eq!(effect, "the effect of position 12, event Placed of Order-1");
        assert_eq!(effect_of_version(3, "P-1"), "the effect of version 3 of P-1");
        assert!(names_position(&effect));
        assert!(!names_position(&effect_of_version(3, "P-1")) && !names_position(&words));
        assert_eq!(moved(&words, 12, 7), Some(StepEvent { position: 7, ..event }.to_string()));
        assert_eq!((moved(&words, 1, 7), moved(&effect, 12, 7)), (None, None));
    }
}
