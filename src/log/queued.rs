//! Commits that no thread waits for.
//!
//! * A [`Queued`] commit is whole or not at all, whatever becomes of it: dropped, it is not waited for, and not written
//!   if it was still in line for room.
//! * The thread that leads for tasks is started with the first of them.

use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::group::{AwaitedReply, Outcome};
use crate::log::commit::judging::{is_judged_at_once, judge_before_queueing};
use crate::log::commit::outcome::AppendError;
use crate::log::engine::{Engine, commit_span, tell};
use crate::log::pool::Job;
use crate::telemetry::spans::{TaskSpan, task_span};
use crate::value::callback;
use crate::value::error::Result;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A commit whose conditions are judged.
pub(crate) type Judging = Job<Result<EncodedCommit>>;

/// A queued commit: how it ends.
#[must_use = "how the commit ended, only this tells"]
pub(crate) struct Queued {
    engine: Arc<Engine>,
    /// Nothing once it has been answered.
    awaited: Option<AwaitedReply>,
    span: TaskSpan,
}

impl Engine {
    /// Judges the conditions of `encoded`, which is to be queued: at once if it has none or few events are left to
    /// compare, and otherwise on a thread of the pool.
    pub(crate) fn judge(
        &self,
        mut encoded: EncodedCommit,
    ) -> Result<Result<EncodedCommit, Judging>> {
        #[cfg(feature = "erasure")]
        if encoded.has_unsealed() {
            self.refuse_replica()?;
            // Keys may come from a service.
            let log = Arc::clone(self.log());
            let seal = move || {
                log.seal(&mut encoded)?;
                judge_before_queueing(&log, &mut encoded).map(|()| encoded)
            };
            return Ok(Err(self.pool.job(self.log(), seal)));
        }
        if encoded.conditions().is_empty() {
            return Ok(Ok(encoded));
        }
        self.log().owner.check()?;
        callback::refuse_if_commits_wait("a commit")?;
        let log = Arc::clone(self.log());
        if is_judged_at_once(&log, &encoded) {
            judge_before_queueing(&log, &mut encoded)?;
            return Ok(Ok(encoded));
        }
        let judge = move || judge_before_queueing(&log, &mut encoded).map(|()| encoded);
        Ok(Err(self.pool.job(self.log(), judge)))
    }

    /// Queues `encoded`. Calls `queued`, which must not panic, once its place among all commits is fixed. `waker` is
    /// woken when it has ended.
    pub(crate) fn queue(
        self: &Arc<Self>,
        encoded: EncodedCommit,
        waker: Waker,
        queued: impl FnOnce(),
    ) -> Result<Queued, AppendError> {
        self.log().owner.check()?;
        callback::refuse_if_commits_wait("a commit")?;
        let span = commit_span!(task_span, encoded);
        self.leads_for_tasks.ensure(|| {
            // Nobody joins a thread that is started later.
            self.log().refuse_if_ended()?;
            let engine = Arc::clone(self);
            let lead = move || engine.group_commit().lead_for_tasks(engine.log());
            self.log().spawn("filmstrip-commits", lead)
        })?;
        let entered = self.group_commit().enter(self.log(), encoded, waker, queued);
        let awaited = entered.map_err(|error| self.explained(error.into()))?;
        Ok(Queued { engine: Arc::clone(self), awaited: Some(awaited), span })
    }
}

impl Future for Queued {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let awaited = self.awaited.as_ref().expect("a future is not polled after its end");
        let polled = awaited.poll(self.engine.log(), context.waker());
        let Poll::Ready(outcome) = polled else { return Poll::Pending };
        self.awaited = None;
        if self.span.is_on() {
            tell(&self.span, &outcome);
        }
        Poll::Ready(outcome.map_err(|error| self.engine.explained(error)))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let Some(awaited) = self.awaited.take() else { return };
        self.span.outcome("dropped", None);
        match self.engine.log().owner.is_this_process() {
            true => self.engine.group_commit().withdraw(&awaited),
            false => std::mem::forget((awaited, Arc::clone(&self.engine))),
        }
    }
}
