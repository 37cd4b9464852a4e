//! Taking turns: callers' threads do each other's work, in groups.
//!
//! * Whoever finds no leader leads: takes what waits, and does it as one group.
//! * Behind a group its leader hands over to the first who waits. Where many wait for something short, it goes on
//!   with their group itself: to wake another takes as long as to do that. Nobody leads for long.
//! * The next group is not held up by the answers to this one. A leader that goes on gives all of them to one of
//!   those who wait for them, and who is given answers to others passes them on before it returns.
//! * Everyone is answered: those of a group in this way; those who wait, and those who come, with a refusal
//!   once there is one.

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::limits::{
    GO_ON_BYTES_MAX, GO_ON_WAITING_MIN, GROUP_BYTES_MAX, GROUPS_LED_MAX, QUEUE_BYTES_MAX,
};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;

/// A queue of those who want something of type `T` done, and an answer of type `R`.
pub(crate) struct CommitQueue<T, R> {
    queue: Mutex<Queue<T, R>>,
    /// The queue has become shorter, or nobody leads any more.
    changed: Condvar,
    terms: Terms,
}

/// How long a leader leads. Models have shorter terms, and reach their ends.
pub(crate) struct Terms {
    /// Groups, at most.
    pub(crate) groups_max: usize,
    /// How many must wait behind a group for its leader to go on with the next.
    pub(crate) waiting_min: usize,
    /// What they want must be of so many bytes at most.
    pub(crate) bytes_max: usize,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            groups_max: GROUPS_LED_MAX,
            waiting_min: GO_ON_WAITING_MIN,
            bytes_max: GO_ON_BYTES_MAX,
        }
    }
}

struct Queue<T, R> {
    waiting: VecDeque<Waiting<T, R>>,
    bytes: usize,
    /// Somebody leads, or was told to.
    led: bool,
    /// Somebody has closed it.
    closed: bool,
    /// Why nothing is done any more.
    refusing: Option<Error>,
}

/// What somebody wants done.
struct Waiting<T, R> {
    wanted: T,
    bytes: usize,
    ticket: Arc<Ticket<R>>,
}

/// One caller who waits.
struct Ticket<R> {
    state: Mutex<TicketState<R>>,
    changed: Condvar,
}

enum TicketState<R> {
    Waiting,
    Leads,
    /// With the answers to others, which the caller passes on.
    Answered(R, Replies<R>),
    Taken,
}

/// Who is still to be told what.
type Replies<R> = Vec<(Arc<Ticket<R>>, R)>;

impl<T, R> CommitQueue<T, R> {
    pub(crate) fn new(terms: Terms) -> CommitQueue<T, R> {
        CommitQueue {
            terms,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                bytes: 0,
                led: false,
                closed: false,
                refusing: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Has `wanted` done, which takes so many bytes, together with whatever else waits. `lead` does one group after
    /// the other, and gives an answer for each thing in it; it must not panic. A leader does not go on where
    /// `is_slow` says that the next group may take long.
    ///
    /// # Errors
    /// `Closed` or `Refusing`, if it was not even queued.
    pub(crate) fn take(
        &self,
        wanted: T,
        bytes: usize,
        lead: impl FnMut(Vec<T>) -> Vec<R>,
        is_slow: impl Fn() -> bool,
    ) -> Result<R> {
        let (state, changed) = (Mutex::new(TicketState::Waiting), Condvar::new());
        let ticket = Arc::new(Ticket { state, changed });
        if self.join(Waiting { wanted, bytes, ticket: Arc::clone(&ticket) })? || ticket.wait() {
            self.lead(lead, is_slow);
        }
        Ok(ticket.answer())
    }

    /// Does group after group, until others can go on as well.
    fn lead(&self, mut lead: impl FnMut(Vec<T>) -> Vec<R>, is_slow: impl Fn() -> bool) {
        for led in 1.. {
            let (group, tickets) = self.take_group();
            let answers = lead(group);
            let goes_on = self.goes_on(led, &is_slow);
            let mut answers: Replies<R> = tickets.into_iter().zip(answers).collect();
            if led == 1 {
                // The leader is the first of its first group, and nobody else answers it.
                let (own, answer) = answers.swap_remove(0);
                own.reply(answer, Vec::new());
            }
            if !goes_on {
                return deliver(answers);
            }
            if let Some((messenger, answer)) = answers.pop() {
                messenger.reply(answer, answers);
            }
        }
    }

    /// Takes nothing more and waits until what is under way is done. Returns whether this was the first
    /// call.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.queue.lock();
        let first = !std::mem::replace(&mut queue.closed, true);
        while queue.led {
            self.changed.wait(&mut queue);
        }
        first
    }

    /// Does nothing more, for good, and answers all that wait with what `answer` makes of the refusal.
    pub(crate) fn refuse(&self, cause: &Error, answer: impl Fn(Error) -> R) {
        let mut queue = self.queue.lock();
        queue.refusing = Some(cause.clone());
        queue.bytes = 0;
        for waiting in std::mem::take(&mut queue.waiting) {
            waiting.ticket.reply(answer(refusal(cause)), Vec::new());
        }
        self.changed.notify_all();
    }

    /// Whether anything is done yet.
    ///
    /// # Errors
    /// `Refusing`, once it has been refused.
    pub(crate) fn refused(&self) -> Result<()> {
        match &self.queue.lock().refusing {
            Some(cause) => Err(refusal(cause)),
            None => Ok(()),
        }
    }

    /// Queues what is wanted; true if its caller must lead.
    fn join(&self, joining: Waiting<T, R>) -> Result<bool> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return Err(Error::new(ErrorKind::Closed, "the store is closed"));
            }
            if let Some(cause) = &queue.refusing {
                return Err(refusal(cause));
            }
            if queue.waiting.is_empty() || queue.bytes + joining.bytes <= QUEUE_BYTES_MAX {
                break;
            }
            self.changed.wait(&mut queue);
        }
        queue.bytes += joining.bytes;
        queue.waiting.push_back(joining);
        Ok(!std::mem::replace(&mut queue.led, true))
    }

    /// What the first who wait want, as much as fits a group, at least one.
    fn take_group(&self) -> (Vec<T>, Vec<Arc<Ticket<R>>>) {
        let mut queue = self.queue.lock();
        let (mut group, mut tickets) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while let Some(waiting) = queue.waiting.front() {
            bytes += waiting.bytes;
            if bytes > GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            let waiting = queue.waiting.pop_front().expect("there is a front");
            queue.bytes -= waiting.bytes;
            group.push(waiting.wanted);
            tickets.push(waiting.ticket);
        }
        self.changed.notify_all();
        (group, tickets)
    }

    /// Whether the leader of so many groups goes on. If not, the first who waits leads, if anybody does.
    fn goes_on(&self, led: usize, is_slow: impl Fn() -> bool) -> bool {
        let Terms { groups_max, waiting_min, bytes_max } = self.terms;
        let mut queue = self.queue.lock();
        if led < groups_max && queue.waiting.len() >= waiting_min && queue.bytes <= bytes_max {
            // Others come meanwhile, and nobody goes.
            drop(queue);
            if !is_slow() {
                return true;
            }
            queue = self.queue.lock();
        }
        match queue.waiting.front() {
            Some(next) => next.ticket.lead(),
            None => {
                queue.led = false;
                self.changed.notify_all();
            }
        }
        false
    }
}

impl<R> Ticket<R> {
    /// Waits for an answer (false), or to be told to lead (true).
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            match *state {
                TicketState::Waiting => self.changed.wait(&mut state),
                TicketState::Leads => return true,
                TicketState::Answered(..) | TicketState::Taken => return false,
            }
        }
    }

    fn lead(&self) {
        *self.state.lock() = TicketState::Leads;
        self.changed.notify_one();
    }

    fn reply(&self, answer: R, others: Replies<R>) {
        *self.state.lock() = TicketState::Answered(answer, others);
        self.changed.notify_one();
    }

    fn answer(&self) -> R {
        let state = std::mem::replace(&mut *self.state.lock(), TicketState::Taken);
        match state {
            TicketState::Answered(answer, others) => {
                deliver(others);
                answer
            }
            _ => unreachable!("whoever has led or waited has been answered, once"),
        }
    }
}

/// Replies all, by halves: each who is answered passes half of what is left on.
fn deliver<R>(mut answers: Replies<R>) {
    while let Some((ticket, answer)) = answers.pop() {
        let others = answers.split_off(answers.len() / 2);
        ticket.reply(answer, others);
    }
}

fn refusal(cause: &Error) -> Error {
    let message =
        format!("the store refuses commits since an earlier failure ({cause}); reopen it to go on");
    Error::with_source(ErrorKind::ReadOnly, message, cause.clone())
}
