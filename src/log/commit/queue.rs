//! The commit queue: callers' threads do each other's work, in groups.
//!
//! * A caller who finds no leader leads: it takes the waiting work and does it as one group.
//! * After a group the leader hands over to the first waiting caller. If many callers wait for little work, the
//!   leader does the next group itself, because waking another thread would take as long. The number of groups that
//!   one caller leads is bounded.
//! * The replies to one group do not delay the next one. A leader that continues gives all replies to one of the
//!   callers. A caller that has replies for others passes them on before it returns.
//! * Every caller gets a reply. After `refuse`, waiting callers and later ones get the refusal.
//! * Who finds no room waits in line, and nobody passes the line. Tasks, which have no thread, wait like all others
//!   (`awaited`).
//!
//! The figures behind these rules are in docs/decisions/0014.

#[cfg(feature = "async")]
pub(crate) mod awaited;
mod line;
mod ticket;

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::limits::{
    GO_ON_BYTES_MAX, GO_ON_WAITING_MIN, GROUP_BYTES_MAX, GROUPS_LED_MAX, QUEUE_BYTES_MAX,
};
use line::Line;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use ticket::{Replies, Ticket, TicketState, deliver};

/// A queue of callers. Each hands over work of type `T` and gets a reply of type `R`.
pub(crate) struct CommitQueue<T, R> {
    queue: Mutex<Queue<T, R>>,
    /// Notified when the queue has become shorter, or when nobody leads any more.
    changed: Condvar,
    /// Notified when the engine's thread is to lead, or to end.
    #[cfg(feature = "async")]
    seat: Condvar,
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
    /// Those for whom there is no room.
    line: Line<Waiting<T, R>>,
    /// The engine's thread is being woken to lead.
    #[cfg(feature = "async")]
    summoned: bool,
    /// A caller leads, or is being woken to lead.
    led: bool,
    closed: bool,
    /// The error that work is refused by, if it is.
    refusing: Option<Error>,
}

/// A caller's work.
struct Waiting<T, R> {
    wanted: T,
    bytes: usize,
    ticket: Arc<Ticket<R>>,
}

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
        match answers.iter().rposition(|(ticket, _)| ticket.passes_on()) {
            Some(place) => {
                let (messenger, answer) = answers.swap_remove(place);
                messenger.reply(answer, answers);
            }
            None => deliver(answers),
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
                line: Line::new(),
                #[cfg(feature = "async")]
                summoned: false,
                led: false,
                closed: false,
                refusing: None,
            }),
            changed: Condvar::new(),
            #[cfg(feature = "async")]
            seat: Condvar::new(),
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
        let ticket = Arc::new(Ticket::new(TicketState::Waiting, false));
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
        #[cfg(feature = "async")]
        self.let_in(&mut queue);
        // Threads that wait for room.
        self.changed.notify_all();
        while queue.led {
            self.changed.wait(&mut queue);
        }
        #[cfg(feature = "async")]
        self.seat.notify_all();
        first
    }

    /// Refuses all further work. Replies to all waiting callers with `answer` of the refusal.
    pub(crate) fn refuse(&self, cause: &Error, answer: impl Fn(Error) -> R) {
        let mut queue = self.queue.lock();
        let refusal = refusal(cause);
        queue.refusing = Some(refusal.clone());
        queue.bytes = 0;
        #[cfg_attr(
            not(feature = "async"),
            expect(unused_mut, reason = "only tasks wait in line with their work")
        )]
        let mut refused = std::mem::take(&mut queue.waiting);
        #[cfg(feature = "async")]
        refused.extend(queue.line.take_work());
        self.changed.notify_all();
        // To wake a task is the executor's code.
        drop(queue);
        for waiting in refused {
            waiting.ticket.reply(answer(refusal.clone()), Vec::new());
        }
    }

    /// Refuses work by `error` from now on, or accepts it again. No work waits.
    pub(crate) fn set_refusal(&self, error: Option<Error>) {
        self.queue.lock().refusing = error;
    }

    /// Checks that the queue still accepts work.
    ///
    /// # Errors
    /// What `refuse` or `set_refusal` has made of it.
    pub(crate) fn refused(&self) -> Result<()> {
        match &self.queue.lock().refusing {
            Some(refusal) => Err(refusal.clone()),
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
        queue.accept()?;
        if !queue.has_room(joining.bytes) {
            self.wait_in_line(&mut queue, joining.bytes)?;
        }
        queue.push(joining);
        Ok(!std::mem::replace(&mut queue.led, true))
    }

    /// Waits until it is the caller's turn and there is room.
    #[cold]
    fn wait_in_line(&self, queue: &mut MutexGuard<'_, Queue<T, R>>, bytes: usize) -> Result<()> {
        let place = queue.line.join(None);
        let accepted = loop {
            self.changed.wait(queue);
            let accepted = queue.accept();
            if accepted.is_err() || queue.line.is_first(place) && queue.fits(bytes) {
                break accepted;
            }
        };
        queue.line.leave(place);
        // The next one in line may have room, too.
        self.changed.notify_all();
        accepted
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
        #[cfg(feature = "async")]
        self.advance(&mut queue);
        self.changed.notify_all();
        (group, tickets)
    }

    /// Whether a leader that has done `led` groups continues. If not, the first waiting caller, if there is one,
    /// becomes the leader.
    fn goes_on(&self, led: usize, is_slow: impl Fn() -> bool) -> bool {
        let Terms { groups_max, waiting_min, bytes_max } = self.terms;
        let mut queue = self.queue.lock();
        let is_for_callers = queue.waiting.front().is_some_and(|next| next.ticket.passes_on());
        if is_for_callers
            && led < groups_max
            && queue.waiting.len() >= waiting_min
            && queue.bytes <= bytes_max
        {
            // `is_slow` takes other locks. Meanwhile callers may join, but none can leave: only a leader takes a
            // group.
            drop(queue);
            if !is_slow() {
                return true;
            }
            queue = self.queue.lock();
        }
        match queue.waiting.front() {
            Some(next) if next.ticket.passes_on() => next.ticket.lead(),
            #[cfg(feature = "async")]
            Some(_) => self.summon(&mut queue),
            #[cfg(not(feature = "async"))]
            Some(_) => unreachable!("every caller has a thread"),
            None => {
                queue.led = false;
                self.changed.notify_all();
            }
        }
        false
    }
}

impl<T, R> Queue<T, R> {
    /// Checks that work may join.
    fn accept(&self) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Closed, "the store is closed"));
        }
        match &self.refusing {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(()),
        }
    }

    /// Whether so much fits the queue.
    fn fits(&self, bytes: usize) -> bool {
        self.waiting.is_empty() || self.bytes + bytes <= QUEUE_BYTES_MAX
    }

    /// Whether so much may join now: nobody passes those in line.
    fn has_room(&self, bytes: usize) -> bool {
        self.line.is_empty() && self.fits(bytes)
    }

    fn push(&mut self, joining: Waiting<T, R>) {
        self.bytes += joining.bytes;
        self.waiting.push_back(joining);
    }

    /// The work of the next one in line, if it has no thread, and there is room for it.
    #[cfg(feature = "async")]
    fn next_in_line(&mut self) -> Option<Waiting<T, R>> {
        let Queue { line, waiting, bytes, .. } = self;
        line.take_first_if(|next| waiting.is_empty() || *bytes + next.bytes <= QUEUE_BYTES_MAX)
    }
}

fn refusal(cause: &Error) -> Error {
    let message = format!(
        "the store refuses commits since an earlier failure ({cause}); reopen it to continue"
    );
    Error::with_source(ErrorKind::ReadOnly, message, cause.clone())
}
