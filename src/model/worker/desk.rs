//! The worker's side of the connection to its handles: it receives requests, and shows the status.

use crate::model::policy::OnError;
use crate::model::request::{Request, RequestReceiver};
use crate::model::worker::ask::Ask;
use crate::model::worker::status::Shared;
use crate::value::error::{Error, ErrorKind};
use crossbeam_channel::{Receiver, after, never, select};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interrupts following the log.
pub(crate) enum Interrupt<Own> {
    Request(Request<Ask<Own>>),
    Fault(Error),
    /// The feed must be started again.
    Again,
    Closed,
}

pub(crate) type Step<Own> = Result<(), Interrupt<Own>>;

impl<Own> From<Error> for Interrupt<Own> {
    /// That the store is closed is not a fault of the worker.
    fn from(error: Error) -> Interrupt<Own> {
        match error.kind() {
            ErrorKind::Closed => Interrupt::Closed,
            _ => Interrupt::Fault(error),
        }
    }
}

impl<Own> Interrupt<Own> {
    /// This interrupt, if the write before it succeeded. Otherwise the write's interrupt, and a caller with a request
    /// gets the write's error.
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
    /// Waits for a request; `None` when `timer` fires.
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

/// A timer that fires after `timeout`, or never.
pub(crate) fn timer(timeout: Option<Duration>) -> Receiver<Instant> {
    timeout.map_or_else(never, after)
}
