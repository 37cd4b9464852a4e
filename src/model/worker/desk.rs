//! A worker's side of its handles: where it hears what they ask, and shows why it does not get on.

use crate::model::policy::OnError;
use crate::model::request::{Request, RequestReceiver};
use crate::model::worker::ask::Ask;
use crate::model::worker::status::Shared;
use crate::value::error::{Error, ErrorKind};
use crossbeam_channel::{Receiver, after, never, select};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What interrupts following the log.
pub(crate) enum Interrupt<Own> {
    Request(Request<Ask<Own>>),
    Fault(Error),
    /// What is followed must be read again.
    Again,
    Closed,
}

pub(crate) type Step<Own> = Result<(), Interrupt<Own>>;

impl<Own> From<Error> for Interrupt<Own> {
    /// The end of the store is no fault of the worker.
    fn from(error: Error) -> Interrupt<Own> {
        match error.kind() {
            ErrorKind::Closed => Interrupt::Closed,
            _ => Interrupt::Fault(error),
        }
    }
}

impl<Own> Interrupt<Own> {
    /// This interrupt, if what had to be written before it was; else the callers with requests are told why not.
    pub(crate) fn after(self, written: Step<Own>) -> Interrupt<Own> {
        let Err(instead) = written else { return self };
        if let (Interrupt::Request(Request { answer, .. }), Interrupt::Fault(error)) =
            (self, &instead)
        {
            let _ = answer.send(Err(error.clone()));
        }
        instead
    }
}

pub(crate) struct Desk<Own, Shown> {
    pub(crate) shared: Arc<Shared<Own, Shown>>,
    pub(crate) on_error: OnError,
    pub(crate) requests: RequestReceiver<Ask<Own>>,
    /// Disconnected when the store is closed.
    pub(crate) closed: Receiver<()>,
}

impl<Own, Shown> Desk<Own, Shown> {
    /// Waits for a request, but no longer than `timer` runs; `None` if it has run out.
    pub(crate) fn wait(&self, timer: &Receiver<Instant>) -> Option<Interrupt<Own>> {
        select! {
            recv(self.requests.channel()) -> request => {
                Some(request.map_or(Interrupt::Closed, Interrupt::Request))
            }
            recv(self.closed) -> _ => Some(Interrupt::Closed),
            recv(timer) -> _ => None,
        }
    }
}

/// A timer that runs so long, or for ever.
pub(crate) fn timer(timeout: Option<Duration>) -> Receiver<Instant> {
    timeout.map_or_else(never, after)
}
