//! Callers of the commit queue that wait without a thread: tasks, which are answered through a waker.
//!
//! * No task leads: it may not be polled for as long as it likes. If nobody leads, a thread of the engine does. Nor
//!   does a task pass replies on: who gives the replies wakes each task itself.
//! * Work for which there is no room waits in the line; who withdraws it there has not written it. Work that is queued
//!   is written, whether or not somebody still waits for the reply.

use super::ticket::{Ticket, TicketState};
use super::{CommitQueue, Queue, Waiting};
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use std::mem;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// The reply that a task waits for.
pub(crate) struct Awaited<R> {
    ticket: Arc<Ticket<R>>,
    /// Its place in the line, if it did not get into the queue at once.
    place: Option<u64>,
}

/// The engine's thread, while it leads.
pub(crate) struct EngineLeader<'a, T, R> {
    queue: &'a CommitQueue<T, R>,
    /// The callers of the group in progress.
    tickets: Vec<Arc<Ticket<R>>>,
}

impl<R> Awaited<R> {
    /// The reply; or `waker` is woken when it is there.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<R> {
        // To clone or drop a waker is code of the executor's: not under the lock.
        let polled = TicketState::Polled(waker.clone());
        let mut state = self.ticket.state.lock();
        let before = match *state {
            TicketState::Answered(..) => mem::replace(&mut *state, TicketState::Waiting),
            _ => mem::replace(&mut *state, polled),
        };
        drop(state);
        match before {
            TicketState::Answered(reply, _) => Poll::Ready(reply),
            _ => Poll::Pending,
        }
    }
}

impl<T, R> CommitQueue<T, R> {
    /// Queues `wanted`, of size `bytes`, or lets it wait in line for room, and calls `queued`. What is queued after the
    /// call of `queued` comes after it. `waker` is woken when the reply is there. A thread of the engine must be in
    /// [`lead_for_tasks`](CommitQueue::lead_for_tasks), or on its way there.
    ///
    /// # Errors
    /// `Closed` or `ReadOnly`, if it was not queued.
    pub(crate) fn enter(
        &self,
        wanted: T,
        bytes: usize,
        waker: Waker,
        queued: impl FnOnce(),
    ) -> Result<Awaited<R>> {
        let ticket = Arc::new(Ticket::new(TicketState::Polled(waker), true));
        let joining = Waiting { wanted, bytes, ticket: Arc::clone(&ticket) };
        let mut queue = self.queue.lock();
        queue.accept()?;
        let place = match queue.has_room(bytes) {
            true => {
                queue.push(joining);
                self.find_a_leader(&mut queue);
                None
            }
            false => Some(queue.line.join(Some(joining))),
        };
        drop(queue);
        queued();
        Ok(Awaited { ticket, place })
    }

    /// Nobody waits for this reply any more. What is still in line is not written.
    pub(crate) fn withdraw(&self, awaited: &Awaited<R>) {
        let withdrawn = awaited.place.and_then(|place| {
            let mut queue = self.queue.lock();
            let withdrawn = queue.line.leave(place);
            self.advance(&mut queue);
            self.changed.notify_all();
            withdrawn
        });
        // Dropped without the locks; so is the waker, which holds the task.
        drop(withdrawn);
        let mut state = awaited.ticket.state.lock();
        let before = mem::replace(&mut *state, TicketState::Waiting);
        drop(state);
        drop(before);
    }

    /// Waits until the engine's thread is to lead. `None` once the queue is closed and everybody is answered.
    pub(crate) fn lead_for_tasks(&self) -> Option<EngineLeader<'_, T, R>> {
        let mut queue = self.queue.lock();
        loop {
            if mem::take(&mut queue.summoned) {
                return Some(EngineLeader { queue: self, tickets: Vec::new() });
            }
            if queue.closed && !queue.led {
                return None;
            }
            self.seat.wait(&mut queue);
        }
    }

    /// Queues what waits in line and has room now.
    pub(super) fn advance(&self, queue: &mut Queue<T, R>) {
        while let Some(next) = queue.next_in_line() {
            queue.push(next);
        }
        if !queue.waiting.is_empty() {
            self.find_a_leader(queue);
        }
    }

    /// Queues everything that waits in line, because nothing may join any more.
    pub(super) fn let_in(&self, queue: &mut Queue<T, R>) {
        for work in queue.line.take_work() {
            queue.push(work);
        }
        if !queue.waiting.is_empty() {
            self.find_a_leader(queue);
        }
    }

    /// Calls the engine's thread if nobody leads.
    fn find_a_leader(&self, queue: &mut Queue<T, R>) {
        if !mem::replace(&mut queue.led, true) {
            self.summon(queue);
        }
    }

    /// Calls the engine's thread to lead.
    pub(super) fn summon(&self, queue: &mut Queue<T, R>) {
        queue.summoned = !failpoint!("queue::leave_tasks_without_leader");
        self.seat.notify_one();
    }

    /// Whether there is more for the engine's thread to do. If not, it no longer leads.
    fn engine_goes_on(&self) -> bool {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() {
            queue.led = false;
            self.changed.notify_all();
            return false;
        }
        true
    }
}

impl<T, R> EngineLeader<'_, T, R> {
    /// Takes the next group.
    pub(crate) fn take_group(&mut self) -> Vec<T> {
        let (group, tickets) = self.queue.take_group();
        self.tickets = tickets;
        group
    }

    /// Replies to each caller of the group in progress. Returns whether there is another group: it leads as long as
    /// anybody waits, because it has no reply of its own to return with.
    pub(crate) fn reply(&mut self, answers: Vec<R>) -> bool {
        let goes_on = self.queue.engine_goes_on();
        let replies = mem::take(&mut self.tickets).into_iter().zip(answers);
        let (tasks, mut threads): (Vec<_>, Vec<_>) =
            replies.partition(|(ticket, _)| ticket.is_awaited);
        if let Some((messenger, answer)) = threads.pop() {
            messenger.reply(answer, threads);
        }
        tasks.into_iter().for_each(|(ticket, answer)| ticket.reply(answer, Vec::new()));
        goes_on
    }
}
