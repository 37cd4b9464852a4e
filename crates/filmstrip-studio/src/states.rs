//! The states of aggregates that the application has registered, at any version.

use crate::json::Json;
use crate::limits::{STATE_SHOWN_BYTES, STATES_KEPT, STATES_STEP};
use crate::source::{Source, own_name};
use filmstrip::repository::Envelope;
use filmstrip::{Aggregate, Error, StreamId, Version};
use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Why a state is not shown.
#[derive(Debug)]
pub(crate) enum NoState {
    Store(Error),
    /// serde's reason.
    Json(String),
}

impl From<Error> for NoState {
    fn from(error: Error) -> NoState {
        NoState::Store(error)
    }
}

impl std::fmt::Display for NoState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoState::Store(error) => error.fmt(f),
            NoState::Json(reason) => write!(f, "the state cannot be written as JSON: {reason}"),
        }
    }
}

/// A state before and after one event, as JSON. The first event has none before it.
pub(crate) struct Around {
    pub(crate) before: Option<Json>,
    pub(crate) after: Json,
}

/// The states of one kind of aggregate.
pub(crate) trait States: Send + Sync {
    /// The state before and after the event at `version`, which the stream has.
    fn around(
        &self,
        source: &dyn Source,
        stream: &StreamId,
        version: Version,
    ) -> Result<Around, NoState>;
}

/// Replays streams, and keeps the last states that it came to: stepping through a film replays one event per frame.
pub(crate) struct Replayed<A> {
    kept: Mutex<VecDeque<Kept<A>>>,
}

struct Kept<A> {
    stream: StreamId,
    version: Version,
    state: A,
}

impl<A> Replayed<A> {
    pub(crate) fn new() -> Replayed<A> {
        Replayed { kept: Mutex::default() }
    }
}

impl<A: Aggregate> Replayed<A> {
    /// The nearest state that is kept at or before `version`; the default one, at no version, if there is none.
    fn nearest(&self, stream: &StreamId, version: Version) -> (Version, A) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |(_, kept): &(usize, &Kept<A>)| kept.stream == *stream && kept.version <= version;
        let best = kept.iter().enumerate().filter(fits).max_by_key(|(_, kept)| kept.version);
        let Some(at) = best.map(|(at, _)| at) else { return (Version::NONE, A::default()) };
        let best = kept.remove(at).expect("it was just found there");
        let found = (best.version, best.state.clone());
        kept.push_back(best);
        found
    }

    fn keep(&self, stream: &StreamId, version: Version, state: &A) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.iter().any(|kept| kept.stream == *stream && kept.version == version) {
            return;
        }
        if kept.len() == STATES_KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept { stream: own_name(stream), version, state: state.clone() });
    }
}

impl<A: Aggregate + Serialize> States for Replayed<A> {
    fn around(
        &self,
        source: &dyn Source,
        stream: &StreamId,
        version: Version,
    ) -> Result<Around, NoState> {
        let wanted_before = Version::new(version.get().saturating_sub(1));
        let (from, mut state) = self.nearest(stream, wanted_before);
        let mut before = (from == wanted_before).then(|| json(&state)).transpose()?;
        for event in source.events(stream, from, version)? {
            let event = event?;
            let decoded = event.decode::<A::Event>()?;
            state.evolve_at(&decoded, &Envelope::of(&event));
            if event.version == wanted_before {
                before = Some(json(&state)?);
                self.keep(stream, event.version, &state);
            } else if event.version.get().is_multiple_of(STATES_STEP) {
                self.keep(stream, event.version, &state);
            }
        }
        self.keep(stream, version, &state);
        let before = before.filter(|_| wanted_before > Version::NONE);
        Ok(Around { before, after: json(&state)? })
    }
}

fn json(state: &impl Serialize) -> Result<Json, NoState> {
    let mut json = Json { bytes: Vec::new(), is_cut: false };
    match serde_json::to_writer(&mut json, state) {
        Err(_) if json.is_cut => Ok(json),
        Err(error) => Err(NoState::Json(error.to_string())),
        Ok(()) => Ok(json),
    }
}

/// Takes as much as is shown, and then ends the writing.
impl io::Write for Json {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = STATE_SHOWN_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.is_cut = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_state_is_cut_while_it_is_written() {
        let large = json(&vec![7_u64; STATE_SHOWN_BYTES]).unwrap();
        assert!(large.is_cut && large.bytes.len() == STATE_SHOWN_BYTES);
        let small = json(&[7]).unwrap();
        assert!(!small.is_cut && small.bytes == b"[7]");
        assert!(json(&std::collections::HashMap::from([(vec![1], 1)])).is_err());
    }
}
