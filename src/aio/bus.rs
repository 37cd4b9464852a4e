//! A command bus, for tasks.

use crate::aio::store::run;
use crate::model::aggregate::Aggregate;
use crate::model::bus;
use crate::model::ticket;
use crate::model::ticket::{Outcome, SendError};
use crate::telemetry::context;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::Metadata;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A running command bus, for tasks; see [`bus::Bus`](crate::bus::Bus). Cloning is cheap.
///
/// Tasks that [execute](crate::aio::Repository::execute) commands themselves need no bus. A bus keeps the order of the
/// commands of one aggregate, and has threads of its own.
pub struct Bus<A: Aggregate>(bus::Bus<A>);

impl<A: Aggregate> Clone for Bus<A> {
    fn clone(&self) -> Bus<A> {
        Bus(self.0.clone())
    }
}

impl<A: Aggregate> bus::Bus<A> {
    /// Returns the same bus for tasks.
    #[must_use]
    pub fn aio(&self) -> Bus<A> {
        Bus(self.clone())
    }
}

impl<A: Aggregate> Bus<A> {
    /// Sends a command to the aggregate `id`. If its worker's queue is full, a thread of the pool waits for room.
    ///
    /// If the future is dropped, the command may have been sent.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    pub async fn send(&self, id: impl Into<String>, command: A::Command) -> Result<Ticket<A>> {
        self.send_with(id, command, Metadata::default()).await
    }

    /// Sends a command with this metadata; see [`CommandBuilder::metadata`](crate::bus::CommandBuilder::metadata).
    /// With a `command_id`, a command whose future was dropped can be sent again: it is executed once.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed).
    pub async fn send_with(
        &self,
        id: impl Into<String>,
        command: A::Command,
        mut metadata: Metadata,
    ) -> Result<Ticket<A>> {
        let id = id.into();
        context::stamp_for_task(&mut metadata, self.0.traces());
        let sending = self.0.command(id.clone(), command).metadata(metadata.clone());
        let SendError { command, error } = match sending.try_send() {
            Ok(ticket) => return Ok(Ticket::new(ticket)),
            Err(not_sent) => not_sent,
        };
        if error.kind() != ErrorKind::QueueFull {
            return Err(error);
        }
        let bus = self.0.clone();
        let send = move || bus.command(id, command).metadata(metadata).send();
        let sent = run(self.0.log_handle(), send).await?;
        sent.map(Ticket::new).map_err(|not_sent| not_sent.error)
    }

    /// Closes the bus; see [`Bus::close`](crate::bus::Bus::close). A thread of the pool waits until the commands that
    /// were sent are executed. If the future is dropped after its turn on the pool has come, the bus is closed all the
    /// same.
    pub async fn close(&self) -> Result<()> {
        let bus = self.0.clone();
        run(self.0.log_handle(), move || bus.close()).await
    }
}

/// A future of the outcome of a sent command. It needs no thread, and dropping it does not cancel the command. See
/// [`bus::Ticket`](crate::bus::Ticket).
#[must_use = "whether the command was executed, only its ticket tells"]
pub struct Ticket<A: Aggregate>(Option<ticket::Ticket<A>>);

impl<A: Aggregate> Ticket<A> {
    fn new(ticket: ticket::Ticket<A>) -> Ticket<A> {
        Ticket(Some(ticket))
    }
}

impl<A: Aggregate> Unpin for Ticket<A> {}

impl<A: Aggregate> Drop for Ticket<A> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.0 {
            ticket.leave();
        }
    }
}

impl<A: Aggregate> Future for Ticket<A> {
    type Output = Outcome<A>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<A>> {
        let Some(ticket) = &self.0 else {
            let told = Error::new(ErrorKind::Closed, "the command's outcome was already returned");
            return Poll::Ready(Err(told.into()));
        };
        let polled = ticket.poll(context.waker());
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}
