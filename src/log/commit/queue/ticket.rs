//! One waiting caller of the commit queue, and the replies that callers pass on to each other.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// One waiting caller.
pub(super) struct Ticket<R> {
    pub(super) state: Mutex<TicketState<R>>,
    changed: Condvar,
    /// It is a task: it neither leads nor passes replies on.
    #[cfg(feature = "async")]
    pub(super) is_awaited: bool,
}

pub(super) enum TicketState<R> {
    Waiting,
    /// A task waits, and is woken by this.
    #[cfg(feature = "async")]
    Polled(std::task::Waker),
    Leads,
    /// The caller's reply, and replies to others, which it passes on.
    Answered(R, Replies<R>),
}

/// Replies that are still to be delivered, with their receivers.
pub(super) type Replies<R> = Vec<(Arc<Ticket<R>>, R)>;

impl<R> Ticket<R> {
    #[cfg_attr(
        not(feature = "async"),
        expect(unused_variables, reason = "all callers have a thread")
    )]
    pub(super) fn new(state: TicketState<R>, is_awaited: bool) -> Ticket<R> {
        Ticket {
            state: Mutex::new(state),
            changed: Condvar::new(),
            #[cfg(feature = "async")]
            is_awaited,
        }
    }

    /// Whether it has a thread, which leads, and passes on replies to others.
    pub(super) fn passes_on(&self) -> bool {
        #[cfg(feature = "async")]
        return !self.is_awaited;
        #[cfg(not(feature = "async"))]
        true
    }

    /// Waits for a reply; `None` if the caller must lead.
    pub(super) fn wait(&self) -> Option<R> {
        let mut state = self.state.lock();
        loop {
            match std::mem::replace(&mut *state, TicketState::Waiting) {
                TicketState::Waiting => self.changed.wait(&mut state),
                #[cfg(feature = "async")]
                TicketState::Polled(_) => unreachable!("a thread is not polled"),
                TicketState::Leads => return None,
                TicketState::Answered(answer, others) => {
                    drop(state);
                    deliver(others);
                    return Some(answer);
                }
            }
        }
    }

    pub(super) fn lead(&self) {
        *self.state.lock() = TicketState::Leads;
        self.changed.notify_one();
    }

    pub(super) fn reply(&self, answer: R, others: Replies<R>) {
        let answered = TicketState::Answered(answer, others);
        // The lock is released with this statement: to wake a task is the executor's code.
        let before = std::mem::replace(&mut *self.state.lock(), answered);
        match before {
            #[cfg(feature = "async")]
            TicketState::Polled(waker) => wake(waker),
            _ => {
                self.changed.notify_one();
            }
        }
    }
}

/// Delivers `answers` by halves: each caller gets half of the remaining ones to pass on. So the last of 64 callers is
/// six wake-ups away, and no thread wakes more than six. Other ways were 12 to 14 % slower: docs/decisions/0014.
pub(super) fn deliver<R>(mut answers: Replies<R>) {
    while let Some((ticket, answer)) = answers.pop() {
        let others = match ticket.passes_on() {
            true => answers.split_off(answers.len() / 2),
            false => Vec::new(),
        };
        ticket.reply(answer, others);
    }
}

/// Wakes a task. It is the executor's code: it may panic, or run the task at once, which then must not wait for a
/// commit that this thread leads.
#[cfg(feature = "async")]
fn wake(waker: std::task::Waker) {
    let _held = crate::value::callback::Holding::Commits.begin();
    let _ = crate::value::error::catch(|| waker.wake());
}
