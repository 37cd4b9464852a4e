//! Asking a thread of the engine for something, and waiting for its answer.
//!
//! Whoever asks is answered, or learns that the thread has ended: a request that goes unanswered is
//! dropped with its answer's channel.

use crate::error::{Error, ErrorKind, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use std::sync::OnceLock;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Requests that wait for one thread.
const REQUESTS_WAITING_MAX: usize = 16;

/// A question with the channel that its answer goes to.
pub(crate) struct Request<A> {
    pub(crate) ask: A,
    pub(crate) answer: Sender<Result<()>>,
}

/// The side that asks. Holding it keeps the channel open when no handle is left.
pub(crate) struct Asking<A> {
    requests: Sender<Request<A>>,
    /// The thread that answers, once it runs.
    thread: OnceLock<ThreadId>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The thread has ended.
    Ended,
    /// The time has passed, or the thread would have waited for itself.
    Late,
    /// The thread has asked itself for more than it can remember.
    Full,
}

impl Unanswered {
    /// The error for somebody who asked `who`, such as `projection X`.
    pub(crate) fn by(self, who: &str) -> Error {
        match self {
            Unanswered::Ended => Error::new(ErrorKind::Closed, format!("{who} has stopped")),
            Unanswered::Late => Error::new(ErrorKind::Timeout, format!("{who} has not answered")),
            Unanswered::Full => {
                let waiting = REQUESTS_WAITING_MAX;
                let message = format!("{who} has asked itself for {waiting} things already");
                Error::new(ErrorKind::QueueFull, message)
            }
        }
    }
}

/// A way to ask, and where the thread hears of it.
pub(crate) fn requests<A>() -> (Asking<A>, Receiver<Request<A>>) {
    let (sender, asked) = bounded(REQUESTS_WAITING_MAX);
    (Asking { requests: sender, thread: OnceLock::new() }, asked)
}

impl<A> Asking<A> {
    /// The present thread is the one that answers.
    pub(crate) fn answered_here(&self) {
        // A thread that begins again keeps its place.
        let _ = self.thread.set(std::thread::current().id());
    }

    /// Asks and waits for the answer, but no longer than `timeout`. On the thread that answers (in
    /// the application's code, which it calls) nobody waits: it is done when the thread comes to it.
    pub(crate) fn ask(&self, ask: A, timeout: Option<Duration>) -> Result<Result<()>, Unanswered> {
        // A wait too long for the clock is one without an end.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (answer, answered) = bounded(1);
        let request = Request { ask, answer };
        if self.thread.get() == Some(&std::thread::current().id()) {
            return match timeout {
                None => self.requests.try_send(request).map(Ok).map_err(|_| Unanswered::Full),
                Some(_) => Err(Unanswered::Late),
            };
        }
        let Some(deadline) = deadline else {
            self.requests.send(request).map_err(|_| Unanswered::Ended)?;
            return answered.recv().map_err(|_| Unanswered::Ended);
        };
        self.requests.send_deadline(request, deadline).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => Unanswered::Late,
            SendTimeoutError::Disconnected(_) => Unanswered::Ended,
        })?;
        answered.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => Unanswered::Late,
            RecvTimeoutError::Disconnected => Unanswered::Ended,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn a_question_is_answered_or_ends_with_its_thread_or_its_time() {
        let (asking, asked) = requests();
        assert_eq!(asking.ask(1, Some(SHORT)).unwrap_err(), Unanswered::Late);
        let late: Request<u8> = asked.recv().unwrap();
        assert_eq!(late.ask, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| asked.recv().unwrap().answer.send(Ok(())).unwrap());
            assert!(asking.ask(2, None).unwrap().is_ok());
            scope.spawn(|| drop(asked.recv().unwrap()));
            assert_eq!(asking.ask(3, None).unwrap_err(), Unanswered::Ended);
        });
        // The thread that answers would wait for itself.
        asking.answered_here();
        for n in 0..REQUESTS_WAITING_MAX {
            assert!(asking.ask(n as u8, None).unwrap().is_ok());
        }
        assert_eq!(asking.ask(5, None).unwrap_err(), Unanswered::Full);
        assert_eq!(asking.ask(6, Some(SHORT)).unwrap_err(), Unanswered::Late);
        assert_eq!(asked.try_iter().count(), REQUESTS_WAITING_MAX);
        let (asking, asked) = requests::<u8>();
        drop(asked);
        assert_eq!(asking.ask(4, Some(SHORT)).unwrap_err(), Unanswered::Ended);
    }
}
