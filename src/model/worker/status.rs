//! The status of a worker for other threads, and requests to it.

use crate::model::policy::Retrying;
use crate::model::progress::Progress;
use crate::model::request::{NoReply, RequestSender};
use crate::model::worker::ask::Ask;
use crate::telemetry::counters::Counter;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use parking_lot::Mutex;
use std::sync::Arc;

/// A running worker, for those who look at all of them.
pub(crate) struct Report<S> {
    pub(crate) name: String,
    pub(crate) status: S,
    pub(crate) retries: u64,
    pub(crate) faults: u64,
}

/// What a worker is doing.
#[derive(Clone)]
pub(crate) enum Doing {
    Following,
    Paused,
    Faulted(Error),
    Stopped,
}

/// The state shared by a worker's thread and its handles.
pub(crate) struct Shared<Own, Shown> {
    pub(crate) name: String,
    /// The worker's name in messages, such as `projection X`.
    pub(crate) who: String,
    pub(crate) progress: Progress,
    pub(crate) seen: Mutex<Seen<Shown>>,
    pub(crate) requests: RequestSender<Ask<Own>>,
    /// How often something was tried again.
    pub(crate) retries: Counter,
    /// How often it has stopped at an error.
    pub(crate) faults: Counter,
}

/// The last status of the thread.
pub(crate) struct Seen<Shown> {
    pub(crate) doing: Doing,
    pub(crate) retrying: Option<Retrying>,
    /// The part that only this kind of worker has.
    pub(crate) own: Shown,
}

impl<Own, Shown> Shared<Own, Shown> {
    /// Makes the shared state of a worker of this `kind`, which has done everything up to `done`.
    pub(crate) fn new(
        kind: &str,
        name: &str,
        done: Position,
        own: Shown,
        requests: RequestSender<Ask<Own>>,
    ) -> Arc<Shared<Own, Shown>> {
        let who = format!("{kind} {name}");
        let progress = Progress::new(who.clone(), done);
        let seen = Mutex::new(Seen { doing: Doing::Following, retrying: None, own });
        Arc::new(Shared {
            name: name.to_owned(),
            who,
            progress,
            seen,
            requests,
            retries: Counter::default(),
            faults: Counter::default(),
        })
    }

    /// Its report, with this status.
    pub(crate) fn report<S>(&self, status: S) -> Report<S> {
        let (retries, faults) = (self.retries.get(), self.faults.get());
        Report { name: self.name.clone(), status, retries, faults }
    }

    /// Sends the thread a request and waits for the reply. Application code on that thread does not wait: the request
    /// is handled after the current step.
    pub(crate) fn ask(&self, ask: Ask<Own>) -> Result<()> {
        let stops = matches!(ask, Ask::Stop);
        match self.requests.ask(ask, None) {
            Ok(answer) => answer,
            Err(NoReply::Ended) if stops => Ok(()),
            Err(unanswered) => Err(unanswered.by(&self.who)),
        }
    }

    /// Shows what the worker is doing.
    pub(super) fn see(&self, doing: &Doing) {
        let mut seen = self.seen.lock();
        seen.doing = doing.clone();
        if !matches!(doing, Doing::Following) {
            seen.retrying = None;
        }
    }

    /// Shows what has failed and is being retried.
    pub(crate) fn retrying(&self, what: String, failures: u32, cause: String) {
        self.retries.add(1);
        if !failpoint!("worker::retry_without_a_word") {
            self.seen.lock().retrying = Some(Retrying { what, failures, cause });
        }
    }

    /// Shows that the thread has ended.
    pub(super) fn stopped(&self) {
        self.see(&Doing::Stopped);
        self.progress.close();
    }
}
