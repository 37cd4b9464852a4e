//! Finding one event, or the events of a stream.

use crate::fault::Fault;
use crate::progress::Progress;
use crate::stores;
use filmstrip::uuid::Uuid;
use filmstrip::{Follower, Position, RecordedEvent, StreamId, Version};
use std::fmt;

/// What a word on the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Position(u64),
    Event(Uuid),
    Stream(StreamId),
}

impl Named {
    /// A number is a position, a UUID an event's id, and everything else a stream. `is_stream` says that it is one,
    /// whatever it looks like.
    pub(super) fn of(word: &str, is_stream: bool) -> Result<Named, Fault> {
        if !is_stream && let Ok(position) = word.parse::<u64>() {
            return match position {
                0 => Err(Fault::bad("there is no position 0: the first event is at position 1")),
                position => Ok(Named::Position(position)),
            };
        }
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        if !is_stream && is_number {
            let message = format!(
                "{word} is no position: the largest is {}; --as-stream takes it for a stream's name",
                u64::MAX
            );
            return Err(Fault::bad(message));
        }
        match Uuid::try_parse(word) {
            Ok(id) if !is_stream => Ok(Named::Event(id)),
            _ => Ok(Named::Stream(StreamId::new(word)?)),
        }
    }

    /// The event that is named: of a stream, the last one.
    pub(super) fn event(&self, follower: &Follower) -> Result<RecordedEvent, Fault> {
        let mut found = None;
        match self {
            Named::Position(position) => {
                let read = follower.read().after(Position::new(position - 1)).limit(1);
                found = read.iter()?.next().transpose()?;
            }
            Named::Event(id) => {
                let head = follower.head()?;
                let mut progress = Progress::events("looking for the event", head.get());
                for event in follower.read().until(head).iter()? {
                    let event = event?;
                    progress.reached(event.position.get());
                    if event.id == *id {
                        found = Some(event);
                        break;
                    }
                }
            }
            Named::Stream(stream) => {
                if let Ok(info) = follower.stream_info(stream.clone()) {
                    let before = Version::new(info.version.get() - 1);
                    found = stores::events_of(follower, stream, before)?.next().transpose()?;
                }
            }
        }
        found.ok_or_else(|| self.missing(follower))
    }

    /// That there is no such event or stream.
    pub(super) fn missing(&self, follower: &Follower) -> Fault {
        match (self, follower.head()) {
            (Named::Position(_), Ok(head)) => {
                Fault::bad(format!("there is no {self}: the last event is at position {head}"))
            }
            _ => Fault::bad(format!("there is no {self} in the store")),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Position(position) => write!(f, "position {position}"),
            Named::Event(id) => write!(f, "event with the id {id}"),
            Named::Stream(stream) => write!(f, "stream {stream}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_a_position_an_event_or_a_stream() {
        let id = Uuid::from_u128(7);
        let stream = |name: &str| Named::Stream(StreamId::new(name).unwrap());
        assert_eq!(Named::of("17", false).unwrap(), Named::Position(17));
        assert_eq!(Named::of("17", true).unwrap(), stream("17"));
        assert_eq!(Named::of(&id.to_string(), false).unwrap(), Named::Event(id));
        assert_eq!(Named::of(&id.to_string(), true).unwrap(), stream(&id.to_string()));
        assert_eq!(Named::of("Order-17", false).unwrap(), stream("Order-17"));
        for word in ["0", "", "$all", "a\nb", "18446744073709551616"] {
            assert!(matches!(Named::of(word, false), Err(Fault::Bad(_))), "{word:?}");
        }
    }
}
