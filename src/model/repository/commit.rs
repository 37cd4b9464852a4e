//! Committing what was decided on one stream or several, so that the next ones need not wait for it.

use crate::log::commit::Commit;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::outcome::{AppendError, Committed, Conflict};
use crate::log::commit::promise::{Promise, Promised};
use crate::log::engine::Engine;
use crate::model::repository::part::AnyPart;
use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use std::sync::Arc;

/// Why nothing was written, or it is not known whether something was.
pub(crate) enum Failed {
    /// What was decided assumed a commit that has failed.
    Superseded,
    Conflict(Conflict),
    Store(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Store(error)
    }
}

/// Settles a promise, however its commit ends.
struct Settled(Arc<Promise>);

impl Drop for Settled {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// Makes the events of all parts durable, if no other writer has written to any of their streams.
pub(crate) fn commit(
    engine: &Engine,
    parts: &mut [&mut dyn AnyPart],
) -> Result<(Committed, Micros), Failed> {
    let promise = Settled(Arc::default());
    let mut commit = Commit::new();
    for part in &mut *parts {
        commit = part.add_to(commit, &promise.0);
    }
    let mut encoded = EncodedCommit::new(commit)?;
    let assumes: Vec<_> = parts.iter().filter_map(|part| part.assumed().cloned()).collect();
    let promised = Promised { promise: Arc::clone(&promise.0), assumes: assumes.clone() };
    encoded.promised = Some(promised);
    let queued = || parts.iter_mut().for_each(|part| part.queued(&promise.0));
    let (committed, time) = match engine.commit_queued(encoded, queued) {
        Ok(done) => done,
        Err(AppendError::Conflict(conflict)) => {
            return Err(match assumes.iter().all(|assumed| assumed.is_kept()) {
                true => Failed::Conflict(conflict),
                false => Failed::Superseded,
            });
        }
        Err(error) => return Err(Failed::Store(error.into())),
    };
    let changed = parts.iter_mut().filter(|part| part.is_changed());
    changed.zip(&committed.appended).for_each(|(part, appended)| part.recorded(appended));
    // What follows is the application's code in part: to clone a state, or to drop one. It may give commands.
    drop(promise);
    parts.iter_mut().filter(|part| part.is_changed()).for_each(|part| part.keep(time));
    Ok((committed, time))
}

/// Ends the turns of parts that have nothing to write, and waits for what they assume. Returns whether that has become
/// durable.
pub(crate) fn stand(parts: &mut [&mut dyn AnyPart]) -> bool {
    parts.iter_mut().for_each(|part| part.leave());
    let assumed: Vec<_> = parts.iter().filter_map(|part| part.assumed()).collect();
    assumed.into_iter().all(|promise| promise.wait())
}
