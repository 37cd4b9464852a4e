//! Asking a thread of the engine for something, and waiting for its answer.
//!
//! A caller gets a reply, or learns that the request was dropped, or that the thread has ended: a
//! request may still wait in the channel then, which is not emptied when its receiver goes.

use crate::log::core::Log;
use crate::value::callback;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::{CROSSED_WAIT_MAX, REQUESTS_WAITING_MAX};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, at, bounded, never, select};
use std::sync::OnceLock;
use std::thread::ThreadId;
use std::time::Duration;

/// A question with the channel that its answer goes to.
pub(crate) struct Request<A> {
    pub(crate) ask: A,
    pub(crate) answer: Sender<Result<()>>,
}

/// The side that asks. Holding it keeps the channel open when no handle is left.
pub(crate) struct RequestSender<A> {
    owner: Owner,
    requests: Sender<Request<A>>,
    /// Disconnected once nobody answers any more.
    ended: Receiver<()>,
    /// The thread that answers, once it runs.
    thread: OnceLock<ThreadId>,
}

/// The side that answers: its requests. Dropping it replies to everybody who still waits.
pub(crate) struct RequestReceiver<A> {
    requests: Receiver<Request<A>>,
    _answers: Sender<()>,
}

impl<A> RequestReceiver<A> {
    /// The channel that the requests come through.
    pub(crate) fn channel(&self) -> &Receiver<Request<A>> {
        &self.requests
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The thread has ended.
    Ended,
    /// The time has passed, or the thread would have waited for itself.
    Late,
    /// The thread has asked itself for more than it can remember.
    Full,
}

impl NoReply {
    /// The error for a caller of `who`, such as `projection X`.
    pub(crate) fn by(self, who: &str) -> Error {
        match self {
            NoReply::Ended => Error::new(ErrorKind::Closed, format!("{who} has stopped")),
            NoReply::Late => Error::new(ErrorKind::Timeout, format!("{who} has not answered")),
            NoReply::Full => {
                let waiting = REQUESTS_WAITING_MAX;
                let message = format!("{who} already waits for {waiting} requests to itself");
                Error::new(ErrorKind::QueueFull, message)
            }
        }
    }
}

/// A way to ask, and where the thread hears of it.
pub(crate) fn requests<A>() -> (RequestSender<A>, RequestReceiver<A>) {
    let (sender, requests) = bounded(REQUESTS_WAITING_MAX);
    let (answers, ended) = bounded(0);
    let asking = RequestSender {
        owner: Owner::this_process(),
        requests: sender,
        ended,
        thread: OnceLock::new(),
    };
    (asking, RequestReceiver { requests, _answers: answers })
}

impl<A> RequestSender<A> {
    /// The present thread is the one that answers.
    pub(crate) fn answered_here(&self) {
        // A thread that begins again keeps its place.
        let _ = self.thread.set(std::thread::current().id());
    }

    /// Whether somebody waits for the thread to come to what was asked.
    #[cfg(test)]
    pub(crate) fn has_waiting(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Asks and waits for the answer, but no longer than `timeout`. In the application's code that the
    /// answering thread calls, or waits for, nobody waits: it is done when the thread comes to it.
    /// Other threads of the engine, which call the application's code too, wait for a while: two that ask each
    /// other would not end.
    pub(crate) fn ask(&self, ask: A, timeout: Option<Duration>) -> Result<Result<()>, NoReply> {
        if let Err(forked) = self.owner.check() {
            return Ok(Err(forked));
        }
        let answers_here = self.thread.get() == Some(&std::thread::current().id());
        let is_behind = (answers_here || callback::holds_anything())
            && !failpoint!("model::ask_and_wait_for_itself");
        let longest = (!is_behind && Log::is_own_thread()).then_some(CROSSED_WAIT_MAX);
        let timeout =
            timeout.map_or(longest, |timeout| Some(timeout.min(longest.unwrap_or(timeout))));
        let deadline = timeout.and_then(deadline_after);
        let (answer, answered) = bounded(1);
        let request = Request { ask, answer };
        if is_behind {
            return match timeout {
                None => self.requests.try_send(request).map(Ok).map_err(|_| NoReply::Full),
                Some(_) => Err(NoReply::Late),
            };
        }
        let sent = match deadline {
            None => self.requests.send(request).map_err(|_| NoReply::Ended),
            Some(deadline) => {
                self.requests.send_deadline(request, deadline).map_err(|error| match error {
                    SendTimeoutError::Timeout(_) => NoReply::Late,
                    SendTimeoutError::Disconnected(_) => NoReply::Ended,
                })
            }
        };
        sent?;
        select! {
            recv(answered) -> answer => answer.map_err(|_| NoReply::Ended),
            // What the thread has answered, it has answered before it ended.
            recv(self.ended) -> _ => answered.try_recv().map_err(|_| NoReply::Ended),
            recv(deadline.map_or(never(), at)) -> _ => Err(NoReply::Late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_question_is_answered_or_ends_with_its_thread_or_its_time() {
        let (asking, asked) = requests();
        assert_eq!(asking.ask(1, Some(SHORT)).unwrap_err(), NoReply::Late);
        let late: Request<u8> = asked.channel().recv().unwrap();
        assert_eq!(late.ask, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| asked.channel().recv().unwrap().answer.send(Ok(())).unwrap());
            assert!(asking.ask(2, None).unwrap().is_ok());
            scope.spawn(|| drop(asked.channel().recv().unwrap()));
            assert_eq!(asking.ask(3, None).unwrap_err(), NoReply::Ended);
        });
        let (asking, asked) = requests::<u8>();
        drop(asked);
        assert_eq!(asking.ask(4, Some(SHORT)).unwrap_err(), NoReply::Ended);
    }

    /// The thread that answers, asked from the application's code that it calls, would wait for itself for ever.
    #[test]
    fn a_thread_that_asks_itself_does_not_wait() {
        let (tell, told) = bounded(1);
        std::thread::spawn(move || {
            let (asking, asked) = requests();
            asking.answered_here();
            for n in 0..REQUESTS_WAITING_MAX {
                assert!(asking.ask(n as u8, None).unwrap().is_ok());
            }
            assert_eq!(asking.ask(5, None).unwrap_err(), NoReply::Full);
            assert_eq!(asking.ask(6, Some(SHORT)).unwrap_err(), NoReply::Late);
            assert_eq!(asked.channel().try_iter().count(), REQUESTS_WAITING_MAX);
            tell.send(()).unwrap();
        });
        told.recv_timeout(LONG).expect("the thread waits for itself");
    }

    /// Stopping a projection twice hung once in a run of the whole suite. The second request came
    /// when the thread had answered the first one and was about to end. It stayed in the channel,
    /// which is not emptied when its receiver goes, and kept the channel of its answer open.
    #[test]
    fn a_question_that_waits_when_the_thread_ends_is_not_waited_for() {
        let (asking, asked) = requests();
        let (tell, told) = bounded(1);
        std::thread::spawn(move || tell.send(asking.ask(7_u8, None).unwrap_err()));
        while asked.channel().is_empty() {
            std::thread::yield_now();
        }
        drop(asked);
        assert_eq!(told.recv_timeout(LONG), Ok(NoReply::Ended));
    }
}
