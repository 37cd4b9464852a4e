//! Sends a request to a thread of the engine, and waits for the reply.
//!
//! A caller gets a reply, or learns that the request was dropped or that the thread has ended. The last is needed
//! because a channel is not emptied when its receiver is dropped, so a request may stay in it.

use crate::log::core::Log;
use crate::value::callback;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::{CROSSED_WAIT_MAX, REQUESTS_WAITING_MAX};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, at, bounded, never, select};
use parking_lot::Mutex;
use std::thread::ThreadId;
use std::time::Duration;

/// A request, and the channel for its reply.
pub(crate) struct Request<A> {
    pub(crate) ask: A,
    pub(crate) answer: Sender<Result<()>>,
}

/// The requesting side. Holding it keeps the channel open when no handle is left.
pub(crate) struct RequestSender<A> {
    owner: Owner,
    requests: Sender<Request<A>>,
    /// Disconnected when the replying thread has ended.
    ended: Receiver<()>,
    /// The replying thread, once it runs, and the threads that it waits for.
    threads: Mutex<Vec<ThreadId>>,
}

/// The replying side. Dropping it ends the wait of all callers.
pub(crate) struct RequestReceiver<A> {
    requests: Receiver<Request<A>>,
    _answers: Sender<()>,
}

impl<A> RequestReceiver<A> {
    /// The channel of the requests.
    pub(crate) fn channel(&self) -> &Receiver<Request<A>> {
        &self.requests
    }
}

/// Why a request got no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The thread has ended.
    Ended,
    /// The timeout has passed, or the thread would have waited for itself.
    Late,
    /// The thread has sent itself more requests than the channel holds.
    Full,
}

impl NoReply {
    /// The error for a caller of `who`, such as `projection X`.
    pub(crate) fn by(self, who: &str) -> Error {
        match self {
            NoReply::Ended => Error::new(ErrorKind::Closed, format!("{who} has stopped")),
            NoReply::Late => Error::new(ErrorKind::Timeout, format!("{who} has not replied")),
            NoReply::Full => {
                let waiting = REQUESTS_WAITING_MAX;
                let message = format!("{who} already waits for {waiting} requests to itself");
                Error::new(ErrorKind::QueueFull, message)
            }
        }
    }
}

/// Makes a channel for requests, with its two sides.
pub(crate) fn requests<A>() -> (RequestSender<A>, RequestReceiver<A>) {
    let (sender, requests) = bounded(REQUESTS_WAITING_MAX);
    let (answers, ended) = bounded(0);
    let asking = RequestSender {
        owner: Owner::this_process(),
        requests: sender,
        ended,
        threads: Mutex::default(),
    };
    (asking, RequestReceiver { requests, _answers: answers })
}

impl<A> RequestSender<A> {
    /// Registers the current thread as the one that replies, or as one that the replying thread may wait for.
    pub(crate) fn answered_here(&self) {
        self.threads.lock().push(std::thread::current().id());
    }

    /// Whether a request waits in the channel.
    #[cfg(test)]
    pub(crate) fn has_waiting(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Sends a request and waits for the reply, at most for `timeout`. Application code that the replying thread
    /// calls or waits for does not wait: the request is handled later. Other threads of the engine that answer requests
    /// wait for a bounded time, because two threads that send each other requests would deadlock. A thread of the pool
    /// answers none, and waits as its task does.
    pub(crate) fn ask(&self, ask: A, timeout: Option<Duration>) -> Result<Result<()>, NoReply> {
        if let Err(forked) = self.owner.check() {
            return Ok(Err(forked));
        }
        let answers_here = self.threads.lock().contains(&std::thread::current().id());
        let is_behind = (answers_here || callback::holds_anything())
            && !failpoint!("model::ask_and_wait_for_itself");
        let may_be_asked = Log::is_own_thread()
            && (!Log::is_pool_thread() || failpoint!("model::hurry_requests_of_tasks"));
        let longest = (!is_behind && may_be_asked).then_some(CROSSED_WAIT_MAX);
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
            // If there is a reply, the thread sent it before it ended.
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

    /// A request from application code that the replying thread calls would make the thread wait for itself forever.
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

    /// Stopping a projection twice hung once in a run of the whole suite. The second request came after the thread
    /// had replied to the first one and was about to end. The request stayed in the channel, which is not emptied
    /// when its receiver is dropped, and kept the channel of its reply open.
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
