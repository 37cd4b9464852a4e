//! What the index of a followed store holds, and what it lacks.

use crate::codec::frame::{HEADER_BYTES, Header, Location};
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
        let index = match index {
            Some(index) if is_of(shared, &index, &known)? => Some(index),
            _ => None,
        };
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
/// journal has there.
fn is_of(shared: &Shared, index: &ReadOnlyIndex, known: &Known) -> Result<bool> {
    let (checkpoint, watermark) = (index.checkpoint(), &known.watermark);
    if failpoint!("follow::believe_any_index") {
        return Ok(true);
    }
    if checkpoint.position > watermark.position {
        return Ok(false);
    }
    let end = Location { segment: watermark.frame.segment, offset: watermark.end };
    if checkpoint.next < end {
        // The next frame's chain goes on from it. A frame that cannot be read there is the reader's to report, if it is
        // not only the index that is wrong.
        let mut frames = known.journal.frames(checkpoint.next, checkpoint.position + 1, end);
        let Some(Ok((_, frame))) = frames.next() else { return Ok(false) };
        return Ok(frame.chain_after(&checkpoint.chain).is_ok_and(|it| it == frame.header.chain));
    }
    let mut bytes = [0; HEADER_BYTES];
    let path = known.journal.path(watermark.frame.segment);
    let read =
        shared.disk.open(&path).and_then(|it| it.read_at(&mut bytes, watermark.frame.offset));
    let header = read.ok().and_then(|read| Header::parse(&bytes[..read]));
    Ok(header.is_some_and(|header| header.chain == checkpoint.chain))
}
