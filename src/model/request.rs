//! Asking a thread of the engine for something, and waiting for its answer.
//!
//! Whoever asks is answered, or learns that the thread has ended: a request that goes unanswered is
//! dropped with its answer's channel.

use crate::error::Result;
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use std::time::{Duration, Instant};

/// Requests that wait for one thread.
const REQUESTS_WAITING_MAX: usize = 16;

/// A question with the channel that its answer goes to.
pub(crate) struct Request<A> {
    pub(crate) ask: A,
    pub(crate) answer: Sender<Result<()>>,
}

/// The side that asks. Holding it keeps the channel open when no handle is left.
pub(crate) struct Asking<A>(Sender<Request<A>>);

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The thread has ended.
    Ended,
    /// The time has passed.
    Late,
}

/// A way to ask, and where the thread hears of it.
pub(crate) fn requests<A>() -> (Asking<A>, Receiver<Request<A>>) {
    let (sender, asked) = bounded(REQUESTS_WAITING_MAX);
    (Asking(sender), asked)
}

impl<A> Asking<A> {
    /// Asks and waits for the answer, but no longer than `timeout`.
    pub(crate) fn ask(&self, ask: A, timeout: Option<Duration>) -> Result<Result<()>, Unanswered> {
        // A wait too long for the clock is one without an end.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (answer, answered) = bounded(1);
        let request = Request { ask, answer };
        let Some(deadline) = deadline else {
            self.0.send(request).map_err(|_| Unanswered::Ended)?;
            return answered.recv().map_err(|_| Unanswered::Ended);
        };
        self.0.send_deadline(request, deadline).map_err(|error| match error {
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
        drop(asked);
        assert_eq!(asking.ask(4, Some(SHORT)).unwrap_err(), Unanswered::Ended);
    }
}
