//! Calls the application's code and retries it; requests interrupt the retries.

use crate::model::policy::passing;
use crate::model::process::status::{Settle, Shown};
use crate::model::request::Request;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::{self, Desk, timer};
use crate::value::error::{Error, ErrorKind, HandlerError, Result, catch};
use crate::value::json::told;
use crossbeam_channel::Sender;
use std::fmt::Display;
use std::time::Duration;

pub(super) type Interrupt = desk::Interrupt<Settle>;
pub(super) type Step = desk::Step<Settle>;

/// Why a call failed.
pub(super) enum Failure {
    /// The log cannot be read or written, which is not the application's fault.
    Log(Error),
    /// The application's code returned an error.
    Handler(HandlerError),
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Failure {
        Failure::Handler(error)
    }
}

pub(super) struct RetryLoop {
    pub(super) desk: Desk<Settle, Shown>,
    /// Callers that wait until the process has nothing left to do.
    pub(super) settling: Vec<Sender<Result<()>>>,
    /// The error at which the process has stopped, if it has. Then no caller waits.
    pub(super) fault: Option<Error>,
}

impl RetryLoop {
    /// Calls `call` until it succeeds or has failed too often. `at` is the place for the error message.
    pub(super) fn attempt<T>(
        &mut self,
        at: &dyn Display,
        mut call: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Interrupt> {
        let mut failures = 0;
        loop {
            let cause = match catch(&mut call) {
                Ok(Ok(done)) => {
                    if failures > 0 {
                        self.desk.shared.seen.lock().retrying = None;
                    }
                    return Ok(done);
                }
                Ok(Err(Failure::Log(error))) => return Err(error.into()),
                Ok(Err(Failure::Handler(cause))) => match passing(&*cause) {
                    // It is an error of the store that passes without an operator.
                    Some(error) => return Err(Interrupt::Fault(error)),
                    None => told::by_handler(cause),
                },
                Err(panic) => format!("it panicked: {panic}").into(),
            };
            failures += 1;
            let Some(delay) = self.desk.on_error.delay_after(failures) else {
                let message = format!("{} stopped at {at}: {cause}", self.desk.shared.who);
                let error = Error::with_source(ErrorKind::Faulted, message, cause);
                return Err(Interrupt::Fault(error));
            };
            self.desk.shared.retrying(at.to_string(), failures, cause.to_string());
            if let Some(interrupt) = self.wait(Some(delay)) {
                return Err(interrupt);
            }
        }
    }

    /// Waits for a request; `None` after `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt> {
        let timer = timer(timeout);
        loop {
            if let Err(interrupt) = self.note(self.desk.wait(&timer)?) {
                return Some(interrupt);
            }
        }
    }

    /// Handles a request, if there is one.
    pub(super) fn listen(&mut self) -> Step {
        match self.desk.requests.channel().try_recv() {
            Ok(request) => self.note(Interrupt::Request(request)),
            Err(_) => Ok(()),
        }
    }

    /// Registers waiting callers; anything else interrupts.
    pub(super) fn note(&mut self, interrupt: Interrupt) -> Step {
        match interrupt {
            Interrupt::Request(Request { ask: Ask::Own(Settle), answer }) => {
                self.settling.push(answer);
                if let Some(fault) = self.fault.clone() {
                    self.settled(&Err(fault));
                }
                Ok(())
            }
            interrupt => Err(interrupt),
        }
    }

    /// Replies to all waiting callers.
    pub(super) fn settled(&mut self, how: &Result<()>) {
        for answer in self.settling.drain(..) {
            // The caller may have stopped waiting.
            let _ = answer.send(how.clone());
        }
    }
}
