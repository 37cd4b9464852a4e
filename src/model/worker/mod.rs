//! The worker: the one thread under each projection and each process. It follows the log, does what its handles
//! ask, tries again what may succeed later, and shows how it is.
//!
//! * What it does with events is its [`Work`]; when it does so, and when it rests, is here.
//! * Requests interrupt everything but the application's code.
//! * After a failure of the store that may pass by itself it goes on by itself; after any other it is faulted, and
//!   goes on when it is resumed.

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
use crate::value::position::Position;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::Duration;

/// What a worker is for.
pub(crate) trait Work: Send + 'static {
    /// What only this kind of worker can be asked.
    type Own: Send + 'static;
    /// What only this kind of worker shows.
    type Shown: Send + 'static;

    /// Up to where everything is done.
    fn position(&self) -> Position;

    /// Follows the log until something comes in between.
    fn follow(&mut self) -> Interrupt<Self::Own>;

    /// Waits for a request, but no longer than this; `None` if the time has passed.
    fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt<Self::Own>>;

    /// Is about to follow, or to rest.
    fn begin(&mut self) {}

    /// Is about to do what it was asked for: makes good what a failed write has left.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Is about to follow again; returns the position from which its waiting callers count.
    fn resume(&mut self) -> Result<Position>;

    /// Does what it was asked for.
    fn answer(&mut self, ask: Self::Own, answer: &Sender<Result<()>>, follows: bool) -> Answer;

    /// Following the log has failed, and will be tried again, or not.
    fn failed(&mut self, _: &Error) {}

    /// Says in the program's log why it goes no further.
    fn log_fault(&self, error: &Error);

    /// Goes no further, which can be seen already.
    fn faulted(&mut self, _: &Error) {}

    /// Makes durable how far it has come: it is about to end.
    fn finish(&mut self) -> Result<()>;
}

/// What came of a request.
pub(crate) enum Answer {
    Now(Result<()>),
    /// It is under way, and answered when it is done.
    Later,
    /// It is done, and the worker follows again; its waiting callers count from this position.
    Resumes(Position),
}

/// A worker that runs.
pub(crate) struct Worker<W: Work> {
    work: W,
    shared: Arc<Shared<W::Own, W::Shown>>,
    registered: Registered,
    doing: Doing,
    /// So often in a row following the log has failed.
    failures: u32,
}

impl<W: Work> Worker<W> {
    /// Runs on a thread of its own, called `name`, until it is stopped or the store is closed.
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
            self.work.begin();
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
                    // Before the reply: its caller may then start another of this name.
                    self.registered.end();
                    // The caller may not wait for the answer.
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
        // The state first: a caller that waits in vain finds the cause there.
        self.doing = Doing::Faulted(error.clone());
        self.shared.see(&self.doing);
        self.shared.progress.end(error.clone());
        self.work.faulted(&error);
    }

    /// Does what was asked for; `None` if it is answered later.
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
                Answer::Resumes(position) => {
                    self.resume(position);
                    Ok(())
                }
            },
            // Done where it is heard.
            Ask::Stop => Ok(()),
        };
        Some(done)
    }

    fn resume(&mut self, position: Position) {
        self.shared.progress.restart(position);
        self.doing = Doing::Following;
    }
}
