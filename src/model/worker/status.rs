//! What can be seen of a worker from outside its thread, and asking it for something.

use crate::model::policy::Retrying;
use crate::model::progress::Progress;
use crate::model::request::{NoReply, RequestSender};
use crate::model::worker::ask::Ask;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use parking_lot::Mutex;
use std::sync::Arc;

/// What a worker is doing.
#[derive(Clone)]
pub(crate) enum Doing {
    Following,
    Paused,
    Faulted(Error),
    Stopped,
}

/// What a worker's thread and its handles share.
pub(crate) struct Shared<Own, Shown> {
    /// For messages: `projection X`.
    pub(crate) who: String,
    pub(crate) progress: Progress,
    pub(crate) seen: Mutex<Seen<Shown>>,
    pub(crate) requests: RequestSender<Ask<Own>>,
}

/// What the thread was last seen doing.
pub(crate) struct Seen<Shown> {
    pub(crate) doing: Doing,
    pub(crate) retrying: Option<Retrying>,
    /// What only this kind of worker shows.
    pub(crate) own: Shown,
}

impl<Own, Shown> Shared<Own, Shown> {
    /// Of a worker of this `kind`, which has done everything up to `done` before it begins.
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
        Arc::new(Shared { who, progress, seen, requests })
    }

    /// Asks the thread and waits for its answer. From within the application's code, which is on that thread,
    /// nobody waits: it answers when it is done with what it is at.
    pub(crate) fn ask(&self, ask: Ask<Own>) -> Result<()> {
        let stops = matches!(ask, Ask::Stop);
        match self.requests.ask(ask, None) {
            Ok(answer) => answer,
            Err(NoReply::Ended) if stops => Ok(()),
            Err(unanswered) => Err(unanswered.by(&self.who)),
        }
    }

    /// Shows what it is doing.
    pub(super) fn see(&self, doing: &Doing) {
        let mut seen = self.seen.lock();
        seen.doing = doing.clone();
        if !matches!(doing, Doing::Following) {
            seen.retrying = None;
        }
    }

    /// Shows what has failed and will be tried again.
    pub(crate) fn retrying(&self, what: String, failures: u32, cause: String) {
        if !failpoint!("worker::retry_without_a_word") {
            self.seen.lock().retrying = Some(Retrying { what, failures, cause });
        }
    }

    /// The thread does nothing more.
    pub(super) fn stopped(&self) {
        self.see(&Doing::Stopped);
        self.progress.close();
    }
}
