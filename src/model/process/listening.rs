//! What a process is asked by its handles, and who waits until nothing is left to do.

use crate::model::process::status::{Own, Shown};
use crate::model::request::Request;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::{self, Desk, timer};
use crate::value::error::{Error, Result};
use crossbeam_channel::Sender;
use std::time::Duration;

pub(super) type Interrupt = desk::Interrupt<Own>;
pub(super) type Step = desk::Step<Own>;

/// Callers that wait until nothing is left to do.
#[derive(Default)]
pub(super) struct Settling {
    callers: Vec<Sender<Result<()>>>,
    /// Why it goes no further, if it does not; then nobody waits.
    pub(super) fault: Option<Error>,
}

impl Settling {
    /// Waits for a request, but no longer than this; `None` if the time has passed.
    pub(super) fn wait(
        &mut self,
        desk: &Desk<Own, Shown>,
        timeout: Option<Duration>,
    ) -> Option<Interrupt> {
        let timer = timer(timeout);
        loop {
            if let Err(interrupt) = self.note(desk.wait(&timer)?) {
                return Some(interrupt);
            }
        }
    }

    /// Hears a request, if there is one.
    pub(super) fn listen(&mut self, desk: &Desk<Own, Shown>) -> Step {
        match desk.requests.channel().try_recv() {
            Ok(request) => self.note(Interrupt::Request(request)),
            Err(_) => Ok(()),
        }
    }

    /// Registers waiting callers; anything else interrupts.
    pub(super) fn note(&mut self, interrupt: Interrupt) -> Step {
        match interrupt {
            Interrupt::Request(Request { ask: Ask::Own(Own::Settle), answer }) => {
                self.callers.push(answer);
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
        for answer in self.callers.drain(..) {
            // The caller may no longer wait.
            let _ = answer.send(how.clone());
        }
    }
}
