//! The commit queue: callers' threads do each other's work, in groups.
//!
//! * A caller who finds no leader leads: it takes the waiting work and does it as one group.
//! * After a group the leader hands over to the first waiting caller. If many callers wait for little work, the
//!   leader does the next group itself, because waking another thread would take as long. The number of groups that
//!   one caller leads is bounded.
//! * The replies to one group do not delay the next one. A leader that continues gives all replies to one of the
//!   callers. A caller that has replies for others passes them on before it returns.
//! * Every caller gets a reply. After `refuse`, waiting callers and later ones get the refusal.
//!
//! The figures behind these rules are in docs/decisions/0014.

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::limits::{
    GO_ON_BYTES_MAX, GO_ON_WAITING_MIN, GROUP_BYTES_MAX, GROUPS_LED_MAX, QUEUE_BYTES_MAX,
};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;

/// A queue of callers. Each hands over work of type `T` and gets a reply of type `R`.
pub(crate) struct CommitQueue<T, R> {
    queue: Mutex<Queue<T, R>>,
    /// Notified when the queue has become shorter, or when nobody leads any more.
    changed: Condvar,
    terms: Terms,
}

/// How long a leader leads. The models use shorter terms, so that they reach the bounds.
pub(crate) struct Terms {
    /// The maximum number of groups.
    pub(crate) groups_max: usize,
    /// How many callers must be waiting after a group for its leader to do the next one.
    pub(crate) waiting_min: usize,
    /// The maximum size of their waiting work, in bytes.
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
    /// A caller leads, or is being woken to lead.
    led: bool,
    closed: bool,
    /// The cause, if `refuse` was called.
    refusing: Option<Error>,
}

/// A caller's work.
struct Waiting<T, R> {
    wanted: T,
    bytes: usize,
    ticket: Arc<Ticket<R>>,
}

/// One waiting caller.
struct Ticket<R> {
    state: Mutex<TicketState<R>>,
    changed: Condvar,
}

enum TicketState<R> {
    Waiting,
    Leads,
    /// The caller's reply, and replies to others, which it passes on.
    Answered(R, Replies<R>),
}

/// Replies that are still to be delivered, with their receivers.
type Replies<R> = Vec<(Arc<Ticket<R>>, R)>;

/// The result of joining the queue.
#[must_use = "who leads must do what waits, or nobody is answered any more"]
pub(crate) enum Turn<'a, T, R> {
    Leads(Leader<'a, T, R>),
    Answered(R),
}

/// A caller who leads: it does one group after the other, until it hands over. It must not panic between taking a
/// group and replying.
pub(crate) struct Leader<'a, T, R> {
    queue: &'a CommitQueue<T, R>,
    /// The number of groups done.
    led: usize,
    /// The callers of the group in progress.
    tickets: Vec<Arc<Ticket<R>>>,
    /// The leader's own reply.
    own: Option<R>,
}

impl<T, R> Leader<'_, T, R> {
    /// Takes the next group. The leader's own work is the first item of its first group.
    pub(crate) fn take_group(&mut self) -> Vec<T> {
        let (group, tickets) = self.queue.take_group();
        self.tickets = tickets;
        group
    }

    /// Replies to each caller of the group in progress. Returns the leader's own reply once it no longer leads. If
    /// `is_slow` says that the next group may take long, the leader hands over.
    pub(crate) fn reply(&mut self, answers: Vec<R>, is_slow: impl Fn() -> bool) -> Option<R> {
        self.led += 1;
        let goes_on = self.queue.goes_on(self.led, is_slow);
        let tickets = std::mem::take(&mut self.tickets);
        let mut answers: Replies<R> = tickets.into_iter().zip(answers).collect();
        if self.led == 1 {
            self.own = Some(answers.swap_remove(0).1);
        }
        if !goes_on {
            deliver(answers);
            return self.own.take();
        }
        if let Some((messenger, answer)) = answers.pop() {
            messenger.reply(answer, answers);
        }
        None
    }
}

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

    /// Queues `wanted`, of size `bytes`, calls `queued`, and waits until the caller has a reply or must lead. What is
    /// queued after the call of `queued` comes after it, in its group or a later one.
    ///
    /// # Errors
    /// `Closed` or `ReadOnly`, if it was not queued.
    pub(crate) fn join(
        &self,
        wanted: T,
        bytes: usize,
        queued: impl FnOnce(),
    ) -> Result<Turn<'_, T, R>> {
        let (state, changed) = (Mutex::new(TicketState::Waiting), Condvar::new());
        let ticket = Arc::new(Ticket { state, changed });
        let leads = self.enqueue(Waiting { wanted, bytes, ticket: Arc::clone(&ticket) })?;
        queued();
        if !leads && let Some(reply) = ticket.wait() {
            return Ok(Turn::Answered(reply));
        }
        Ok(Turn::Leads(Leader { queue: self, led: 0, tickets: Vec::new(), own: None }))
    }

    /// Refuses further work and waits until the queued work is done. Returns whether this was the first call.
    pub(crate) fn close(&self) -> bool {
        let mut queue = self.queue.lock();
        let first = !std::mem::replace(&mut queue.closed, true);
        while queue.led {
            self.changed.wait(&mut queue);
        }
        first
    }

    /// Refuses all further work. Replies to all waiting callers with `answer` of the refusal.
    pub(crate) fn refuse(&self, cause: &Error, answer: impl Fn(Error) -> R) {
        let mut queue = self.queue.lock();
        queue.refusing = Some(cause.clone());
        queue.bytes = 0;
        for waiting in std::mem::take(&mut queue.waiting) {
            waiting.ticket.reply(answer(refusal(cause)), Vec::new());
        }
        self.changed.notify_all();
    }

    /// Checks that the queue still accepts work.
    ///
    /// # Errors
    /// `ReadOnly`, after `refuse`.
    pub(crate) fn refused(&self) -> Result<()> {
        match &self.queue.lock().refusing {
            Some(cause) => Err(refusal(cause)),
            None => Ok(()),
        }
    }

    /// The number of callers whose work waits to be taken, and the size of that work.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.waiting.len(), queue.bytes)
    }

    /// Queues a caller's work; true if the caller must lead.
    fn enqueue(&self, joining: Waiting<T, R>) -> Result<bool> {
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

    /// Takes work from the front of the queue: as much as fits a group, and at least one item.
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

    /// Whether a leader that has done `led` groups continues. If not, the first waiting caller, if there is one,
    /// becomes the leader.
    fn goes_on(&self, led: usize, is_slow: impl Fn() -> bool) -> bool {
        let Terms { groups_max, waiting_min, bytes_max } = self.terms;
        let mut queue = self.queue.lock();
        if led < groups_max && queue.waiting.len() >= waiting_min && queue.bytes <= bytes_max {
            // `is_slow` takes other locks. Meanwhile callers may join, but none can leave: only a leader takes a
            // group.
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
    /// Waits for a reply; `None` if the caller must lead.
    fn wait(&self) -> Option<R> {
        let mut state = self.state.lock();
        loop {
            match std::mem::replace(&mut *state, TicketState::Waiting) {
                TicketState::Waiting => self.changed.wait(&mut state),
                TicketState::Leads => return None,
                TicketState::Answered(answer, others) => {
                    drop(state);
                    deliver(others);
                    return Some(answer);
                }
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
}

/// Delivers `answers` by halves: each caller gets half of the remaining ones to pass on. So the last of 64 callers is
/// six wake-ups away, and no thread wakes more than six. Other ways were 12 to 14 % slower: docs/decisions/0014.
fn deliver<R>(mut answers: Replies<R>) {
    while let Some((ticket, answer)) = answers.pop() {
        let others = answers.split_off(answers.len() / 2);
        ticket.reply(answer, others);
    }
}

fn refusal(cause: &Error) -> Error {
    let message = format!(
        "the store refuses commits since an earlier failure ({cause}); reopen it to continue"
    );
    Error::with_source(ErrorKind::ReadOnly, message, cause.clone())
}
