//! The futures of appends and commits.

use crate::log::commit::Commit;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::outcome::{AppendError, Appended, Committed};
use crate::log::handle::LogHandle;
use crate::log::queued::{Judging, Queued};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The future of a commit; see [`Store::commit`](crate::aio::Store::commit).
///
/// The first poll queues the commit, which needs no thread while it waits. If it has conditions that cannot be judged
/// from what is in memory, they are judged on the store's pool before. If the future is dropped before the commit is
/// queued, it is not written. If it is dropped later, the commit is written as a whole or not at all, and you do not
/// learn which: read its stream, or send it again with the same event ids.
#[must_use = "a commit does nothing unless it is awaited"]
pub struct Committing {
    open: LogHandle,
    stage: Stage,
}

enum Stage {
    New(Commit),
    Judging(Judging),
    Queued(Queued),
    Ended,
}

impl Committing {
    pub(super) fn new(open: LogHandle, commit: Commit) -> Committing {
        Committing { open, stage: Stage::New(commit) }
    }
}

impl Committing {
    fn queue(
        &mut self,
        encoded: EncodedCommit,
        context: &Context<'_>,
    ) -> Poll<Result<Committed, AppendError>> {
        let queued = self.open.engine().queue(encoded, context.waker().clone(), || {})?;
        self.stage = Stage::Queued(queued);
        Poll::Pending
    }

    fn judge(
        &mut self,
        mut judging: Judging,
        context: &mut Context<'_>,
    ) -> Poll<Result<Committed, AppendError>> {
        match Pin::new(&mut judging).poll(context) {
            Poll::Ready(judged) => self.queue(judged.flatten()?, context),
            Poll::Pending => {
                self.stage = Stage::Judging(judging);
                Poll::Pending
            }
        }
    }
}

impl Future for Committing {
    type Output = Result<Committed, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::New(commit) => match self.open.engine().judge(EncodedCommit::new(commit)?)? {
                Ok(encoded) => self.queue(encoded, context),
                Err(judging) => self.judge(judging, context),
            },
            Stage::Judging(judging) => self.judge(judging, context),
            Stage::Queued(mut queued) => match Pin::new(&mut queued).poll(context) {
                Poll::Ready(outcome) => Poll::Ready(outcome.map(|(committed, _)| committed)),
                Poll::Pending => {
                    self.stage = Stage::Queued(queued);
                    Poll::Pending
                }
            },
            Stage::Ended => panic!("a future was polled after its end"),
        }
    }
}

impl fmt::Debug for Committing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committing").finish_non_exhaustive()
    }
}

/// The future of an append; see [`Store::append`](crate::aio::Store::append), and [`Committing`].
#[derive(Debug)]
#[must_use = "an append does nothing unless it is awaited"]
pub struct Appending(pub(super) Committing);

impl Future for Appending {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let committed = ready!(Pin::new(&mut self.0).poll(context))?;
        let appended = committed.appended.into_iter().next();
        Poll::Ready(Ok(appended.expect("a commit with one append has appended once")))
    }
}
