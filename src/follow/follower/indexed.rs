//! What the index of a followed store holds, and what it lacks.

use crate::codec::state::StreamState;
use crate::follow::follower::following::Following;
use crate::follow::follower::watch::{Known, Shared};
use crate::index::read_only::ReadOnlyIndex;
use crate::log::read::options::ReadOptions;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::FOLLOWER_POLL;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::sync::Arc;

/// A followed store at one moment.
pub(super) struct Indexed {
    pub(super) known: Known,
    /// `None` if there is no index that can be read, or none of this journal.
    pub(super) index: Option<Arc<ReadOnlyIndex>>,
}

/// Calls `read`, and once more without the index if that is damaged.
pub(super) fn with_index<T>(
    indexed: Indexed,
    mut read: impl FnMut(&Indexed) -> Result<T>,
) -> Result<(Indexed, T)> {
    match read(&indexed) {
        Ok(found) => Ok((indexed, found)),
        Err(damage) if damage.kind() == ErrorKind::Corrupt && indexed.index.is_some() => {
            let indexed = indexed.without_index(&damage);
            let found = read(&indexed)?;
            Ok((indexed, found))
        }
        Err(error) => Err(error),
    }
}

impl Indexed {
    /// How things are now; `None` if nothing was ever written.
    pub(super) fn now(shared: &Shared) -> Result<Option<Indexed>> {
        // Before the journal, which then has all that the index holds.
        let index = shared.index.open();
        let Some(known) = shared.look()? else { return Ok(None) };
        let index = index.filter(|index| is_of(index, &known));
        Ok(Some(Indexed { known, index }))
    }

    /// The same without an index that turned out to be damaged: the journal has everything.
    fn without_index(self, damage: &Error) -> Indexed {
        tracing::warn!(error = %damage, "a damaged index is passed over: the journal is read instead");
        Indexed { index: None, ..self }
    }

    /// The newest state of `stream`: without a version if it was never written.
    pub(super) fn stream_state(
        &self,
        shared: &Arc<Shared>,
        stream: &StreamId,
    ) -> Result<StreamState> {
        let mut state = self.indexed_state(stream)?;
        for event in self.lacking(shared, Filter::stream(stream.clone())) {
            let event = event?;
            let time = Micros::of(event.recorded_at);
            if state.version == Version::NONE {
                state.created = time;
            }
            (state.version, state.written) = (event.version, time);
        }
        Ok(state)
    }

    /// The state of `stream` in the index; without a version if it is not there.
    pub(super) fn indexed_state(&self, stream: &StreamId) -> Result<StreamState> {
        let state = self.index.as_ref().map(|index| index.stream_state(stream)).transpose()?;
        Ok(state.flatten().unwrap_or_else(StreamState::absent))
    }

    /// The events that the index lacks and `filter` accepts, in the order of their positions.
    pub(super) fn lacking(&self, shared: &Arc<Shared>, filter: Filter) -> Following {
        let mut options = ReadOptions::everything();
        options.filter = filter;
        options.until = self.known.watermark.position;
        let Some(index) = &self.index else {
            return Following::new(Arc::clone(shared), options, FOLLOWER_POLL);
        };
        let checkpoint = index.checkpoint();
        options.after = checkpoint.position;
        Following::new(Arc::clone(shared), options, FOLLOWER_POLL).starting_at(checkpoint.next)
    }
}

pub(super) fn never_written(stream: &StreamId) -> Error {
    Error::new(ErrorKind::StreamNotFound, format!("stream {stream} has never been written"))
}

/// Whether `index` is of this journal, and not of another history of the store: its checkpoint has the chain that the
/// journal has there. What cannot be read there is the reader's to report, if it is not only the index that is wrong.
fn is_of(index: &ReadOnlyIndex, known: &Known) -> bool {
    let checkpoint = index.checkpoint();
    if failpoint!("follow::believe_any_index") {
        return true;
    }
    if checkpoint.position > known.watermark.position {
        return false;
    }
    let mut after = known.journal.frames(checkpoint.next, checkpoint.position + 1, known.end());
    match after.next() {
        Some(Ok((_, frame))) => {
            frame.chain_after(&checkpoint.chain).is_ok_and(|chain| chain == frame.header.chain)
        }
        Some(Err(_)) => false,
        // Also if a segment has begun since, and has no frame yet.
        None => known.head_hash().is_ok_and(|head| head.hash == checkpoint.chain),
    }
}
