//! Calling the application's code: as often as it may be tried, and interrupted by requests.

use crate::model::policy::{OnError, Retrying, passing};
use crate::model::process::status::{ProcessRequest, Shared};
use crate::model::request::{Request, RequestReceiver};
use crate::value::error::{Error, ErrorKind, HandlerError, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::json::told;
use crossbeam_channel::{Receiver, RecvError, Sender, after, never, select};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What interrupts following the log.
pub(super) enum Interrupt {
    Request(Request<ProcessRequest>),
    Fault(Error),
    /// What is followed must be looked at anew.
    Again,
    Closed,
}

pub(super) type Step = Result<(), Interrupt>;

/// Why a call led to nothing.
pub(super) enum Failure {
    /// The log cannot be read or written: that is not the application's fault.
    Log(Error),
    /// The application's code refused.
    Handler(HandlerError),
}

impl From<HandlerError> for Failure {
    fn from(error: HandlerError) -> Failure {
        Failure::Handler(error)
    }
}

pub(super) struct RetryLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) on_error: OnError,
    pub(super) requests: RequestReceiver<ProcessRequest>,
    pub(super) closed: Receiver<()>,
    /// Those who wait until nothing is left to do.
    pub(super) settling: Vec<Sender<Result<()>>>,
    /// Why it goes no further, if it does not; then nobody waits.
    pub(super) fault: Option<Error>,
}

impl RetryLoop {
    /// Calls until it succeeds, or has failed too often. `at` says where, for the error.
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
                        self.shared.retrying(None);
                    }
                    return Ok(done);
                }
                Ok(Err(Failure::Log(error))) => return Err(interrupt_of(error)),
                Ok(Err(Failure::Handler(cause))) => match passing(&*cause) {
                    // It is the store's, and passes by itself.
                    Some(error) => return Err(Interrupt::Fault(error)),
                    None => told::by_handler(cause),
                },
                Err(panic) => format!("it panicked: {panic}").into(),
            };
            failures += 1;
            let Some(delay) = self.on_error.delay_after(failures) else {
                let message = format!("process {} stopped at {at}: {cause}", self.shared.name);
                let error = Error::with_source(ErrorKind::Faulted, message, cause);
                return Err(Interrupt::Fault(error));
            };
            let (what, cause) = (at.to_string(), cause.to_string());
            if !failpoint!("process::retry_without_a_word") {
                self.shared.retrying(Some(Retrying { what, failures, cause }));
            }
            if let Some(interrupt) = self.wait(Some(delay)) {
                return Err(interrupt);
            }
        }
    }

    /// Waits for a request, but no longer than this; `None` if the time has passed.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt> {
        let timer = timeout.map_or_else(never::<Instant>, after);
        loop {
            let step = select! {
                recv(self.requests.channel()) -> asked => asked,
                recv(self.closed) -> _ => Err(RecvError),
                recv(timer) -> _ => return None,
            };
            if let Err(interrupt) = self.asked(step) {
                return Some(interrupt);
            }
        }
    }

    /// Hears a request, if there is one.
    pub(super) fn listen(&mut self) -> Step {
        match self.requests.channel().try_recv() {
            Ok(request) => self.asked(Ok(request)),
            Err(_) => Ok(()),
        }
    }

    /// Takes note of who waits; other requests interrupt.
    pub(super) fn asked(&mut self, asked: Result<Request<ProcessRequest>, RecvError>) -> Step {
        match asked {
            Ok(Request { ask: ProcessRequest::Settle, answer }) => {
                self.settling.push(answer);
                if let Some(fault) = self.fault.clone() {
                    self.settled(&Err(fault));
                }
                Ok(())
            }
            Ok(request) => Err(Interrupt::Request(request)),
            Err(RecvError) => Err(Interrupt::Closed),
        }
    }

    /// Answers all who wait.
    pub(super) fn settled(&mut self, how: &Result<()>) {
        for answer in self.settling.drain(..) {
            // Whoever asked may not wait any more.
            let _ = answer.send(how.clone());
        }
    }
}

/// The end of the store is no fault of the process.
pub(super) fn interrupt_of(error: Error) -> Interrupt {
    match error.kind() {
        ErrorKind::Closed => Interrupt::Closed,
        _ => Interrupt::Fault(error),
    }
}
