//! The worker: the thread of each projection and each process. It follows the log, handles requests, retries steps
//! that may succeed later, and shows its status.
//!
//! * [`Work`] says what it does with events; this module says when.
//! * Requests interrupt everything but the application's code.
//! * After a failure of the store that passes without an operator it continues by itself. After any other failure it
//!   is faulted, and continues when it is resumed.

pub(crate) mod ask;
pub(crate) mod desk;
pub(crate) mod registry;
pub(crate) mod status;

use crate::log::core::Log;
use crate::model::policy::recovery_delay;
use crate::model::request::Request;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::Interrupt;
use crate::model::worker::registry::Registered;
use crate::model::worker::status::{Doing, Shared};
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::Duration;

/// The work of one kind of worker.
pub(crate) trait Work: Send + 'static {
    /// The requests that only this kind of worker handles.
    type Own: Send + 'static;
    /// The part of the status that only this kind of worker has.
    type Shown: Send + 'static;

    /// The position up to which everything is done.
    fn position(&self) -> Position;

    /// Follows the log until it is interrupted.
    fn follow(&mut self) -> Interrupt<Self::Own>;

    /// Waits for a request; `None` after `timeout`.
    fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt<Self::Own>>;

    /// Called before the worker follows the log, or rests.
    fn begin(&mut self, _rests: bool) {}

    /// Called before a request is handled: repairs the remains of a failed write.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Called before the worker follows the log again. Returns the position at which its progress restarts.
    fn resume(&mut self) -> Result<Position>;

    /// Handles a request.
    fn answer(&mut self, ask: Self::Own, answer: &Sender<Result<()>>, follows: bool) -> Answer;

    /// Called after following the log has failed, whether or not it is retried.
    fn failed(&mut self, _: &Error) {}

    /// Logs the error at which the worker stops.
    fn log_fault(&self, error: &Error);

    /// Called after the status shows that the worker is faulted.
    fn faulted(&mut self, _: &Error) {}

    /// Called before the worker ends: makes its position durable.
    fn finish(&mut self) -> Result<()>;
}

/// The result of a request.
pub(crate) enum Answer {
    Now(Result<()>),
    /// It is in progress, and the reply comes when it is done.
    Later,
    /// It is done; the waiting callers count from this position, and the worker follows again unless it is paused.
    BeginsAt(Position),
}

/// A running worker.
pub(crate) struct Worker<W: Work> {
    work: W,
    shared: Arc<Shared<W::Own, W::Shown>>,
    registered: Registered,
    doing: Doing,
    /// How often in a row following the log has failed.
    failures: u32,
}

impl<W: Work> Worker<W> {
    /// Runs the worker on a thread `name`, until it is stopped or the store is closed.
    pub(crate) fn start(
        log: &Log,
        name: &str,
        work: W,
        shared: Arc<Shared<W::Own, W::Shown>>,
        registered: Registered,
    ) -> Result<()> {
        let worker = Worker { work, shared, registered, doing: Doing::Following, failures: 0 };
        log.spawn(name, move || worker.run())
    }

    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        shared.requests.answered_here();
        if let Err(cause) = catch(|| self.run_until_ended()) {
            let message = format!("the thread of {} panicked: {cause}", shared.who);
            shared.progress.end(Error::new(ErrorKind::Panicked, message));
        }
        shared.stopped();
    }

    fn run_until_ended(&mut self) {
        loop {
            self.shared.see(&self.doing);
            self.work.begin(!matches!(self.doing, Doing::Following));
            let interrupt = match self.doing {
                Doing::Following => self.follow_or_recover(),
                _ => self.work.wait(None).unwrap_or(Interrupt::Closed),
            };
            match interrupt {
                Interrupt::Closed => return,
                Interrupt::Again => {}
                Interrupt::Fault(error) => self.fault(error),
                Interrupt::Request(Request { ask: Ask::Stop, answer }) => {
                    let finished = self.work.finish();
                    self.shared.stopped();
                    // Before the reply, because the caller may then start another worker of this name.
                    self.registered.end();
                    // The caller may have stopped waiting.
                    let _ = answer.send(finished);
                    return;
                }
                Interrupt::Request(Request { ask, answer }) => {
                    if let Some(done) = self.answer(ask, &answer) {
                        self.shared.see(&self.doing);
                        let _ = answer.send(done);
                    }
                }
            }
        }
    }

    fn follow_or_recover(&mut self) -> Interrupt<W::Own> {
        let from = self.work.position();
        let interrupt = self.work.follow();
        if self.work.position() != from {
            self.failures = 0;
        }
        let Interrupt::Fault(error) = &interrupt else { return interrupt };
        self.failures = self.failures.saturating_add(1);
        self.work.failed(error);
        let Some(delay) = recovery_delay(error, self.failures) else { return interrupt };
        self.shared.retrying("following the log".to_owned(), self.failures, error.to_string());
        self.work.wait(Some(delay)).unwrap_or(Interrupt::Again)
    }

    fn fault(&mut self, error: Error) {
        self.work.log_fault(&error);
        self.shared.faults.add(1);
        // Show the state first, so that a caller whose wait ends finds the cause there.
        self.doing = Doing::Faulted(error.clone());
        self.shared.see(&self.doing);
        self.shared.progress.end(error.clone());
        self.work.faulted(&error);
    }

    /// Handles a request; `None` if the reply comes later.
    fn answer(&mut self, ask: Ask<W::Own>, answer: &Sender<Result<()>>) -> Option<Result<()>> {
        let follows = matches!(self.doing, Doing::Following);
        let done = match ask {
            Ask::Pause => self.work.prepare().map(|()| {
                if follows {
                    self.doing = Doing::Paused;
                }
            }),
            Ask::Resume => {
                let position = self.work.prepare().and_then(|()| self.work.resume());
                position.map(|position| self.resume(position))
            }
            Ask::Own(own) => match self.work.answer(own, answer, follows) {
                Answer::Now(done) => done,
                Answer::Later => return None,
                Answer::BeginsAt(position) => {
                    let is_paused = matches!(self.doing, Doing::Paused);
                    self.resume(position);
                    if is_paused && !failpoint!("worker::resume_unasked") {
                        self.doing = Doing::Paused;
                    }
                    Ok(())
                }
            },
            // `run_until_ended` handles it.
            Ask::Stop => Ok(()),
        };
        Some(done)
    }

    fn resume(&mut self, position: Position) {
        self.shared.progress.restart(position);
        self.doing = Doing::Following;
    }
}
