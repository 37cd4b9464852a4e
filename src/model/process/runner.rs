//! The thread of a process: it decides what to do next, and when to rest.
//!
//! * It handles one event, deadline or request at a time. Before each, it runs the pending effects. So an instance
//!   sees the effects of its own events before anything else.
//! * A deadline is ordered among the events: before those that were recorded after it, and after those that were
//!   recorded before the clock reached it.

use crate::follow::feed::{Batch, Feed, FeedStop};
use crate::log::core::Log;
use crate::log::engine::Engine;
use crate::model::process::contract::ProcessManager;
use crate::model::process::durable_state::DurableState;
use crate::model::process::effects::Executors;
use crate::model::process::instances::Instances;
use crate::model::process::retries::{Interrupt, RetryLoop, Step};
use crate::model::process::status::{Settle, Shown};
use crate::model::request::Request;
use crate::model::worker::ask::Ask;
use crate::model::worker::{Answer, Work};
use crate::value::clock::{ClockWaiter, Micros};
use crate::value::error::{Error, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::{CHECKPOINT_EVENTS_MAX, CLOCK_LOOK_MAX};
use crate::value::position::Position;
use crossbeam_channel::{Receiver, RecvError, Sender, after, never, select};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Runner<M> {
    pub(super) engine: Arc<Engine>,
    pub(super) filter: Filter,
    pub(super) tries: RetryLoop,
    pub(super) instances: Instances<M>,
    pub(super) kept: DurableState,
    pub(super) executors: Arc<Executors>,
    pub(super) clock: ClockWaiter,
    pub(super) came_due: Option<CameDue>,
}

/// Due deadlines that wait until all earlier events are ingested.
#[derive(Clone, Copy)]
pub(super) struct CameDue {
    /// The head when they were found to be due.
    head: Position,
    /// The clock's time then.
    now: Micros,
}

/// The reason why the thread woke up.
enum Woken {
    Request(Result<Request<Ask<Settle>>, RecvError>),
    Batch(Result<Result<Batch>, RecvError>),
    Time,
}

impl<M: ProcessManager> Work for Runner<M> {
    type Own = Settle;
    type Shown = Shown;

    /// The position up to which everything is done, including effects.
    fn position(&self) -> Position {
        done(&self.kept)
    }

    fn follow(&mut self) -> Interrupt {
        match self.follow_until_interrupted() {
            Ok(never) => match never {},
            Err(interrupt) => interrupt,
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt> {
        self.tries.wait(timeout)
    }

    fn resume(&mut self) -> Result<Position> {
        self.tries.fault = None;
        Ok(self.position())
    }

    fn answer(&mut self, _: Settle, _: &Sender<Result<()>>, _: bool) -> Answer {
        // `RetryLoop::note` handles this request earlier.
        Answer::Now(Ok(()))
    }

    fn log_fault(&self, error: &Error) {
        tracing::error!(process = M::NAME, %error, "a process has stopped");
    }

    fn faulted(&mut self, error: &Error) {
        self.tries.settled(&Err(error.clone()));
        self.tries.fault = Some(error.clone());
    }

    fn finish(&mut self) -> Result<()> {
        self.write()
    }
}

impl<M: ProcessManager> Runner<M> {
    fn follow_until_interrupted(&mut self) -> Result<Infallible, Interrupt> {
        // Run the effects that were pending after a crash or a fault.
        self.do_effects()?;
        self.show();
        let stop = FeedStop::new(Arc::clone(self.log()));
        let (after, filter) = (self.kept.position(), self.filter.clone());
        let feed = Feed::start(&stop, "filmstrip-read", after, filter)?;
        loop {
            self.fire_due()?;
            self.rest()?;
            match self.sleep(&feed) {
                Woken::Request(Ok(request)) => self.tries.note(Interrupt::Request(request))?,
                Woken::Batch(Ok(batch)) => self.take_in(&batch?)?,
                Woken::Request(Err(RecvError)) | Woken::Batch(Err(RecvError)) => {
                    return Err(Interrupt::Closed);
                }
                Woken::Time => {}
            }
        }
    }

    /// Waits for an event, a request, or a time.
    fn sleep(&self, feed: &Feed) -> Woken {
        let timer = self.timer();
        select! {
            recv(self.tries.desk.requests.channel()) -> asked => Woken::Request(asked),
            recv(feed.batches()) -> batch => Woken::Batch(batch),
            recv(self.clock.woken()) -> _ => Woken::Time,
            recv(timer) -> _ => Woken::Time,
        }
    }

    /// A timer for the next look at the clock: at the next deadline, or earlier, in case the clock was set without a
    /// notification.
    fn timer(&self) -> Receiver<Instant> {
        match self.kept.next_due() {
            Some((due, _)) if self.came_due.is_none() => {
                let wait = u64::try_from(due.saturating_sub(self.now().0)).unwrap_or(0);
                after(Duration::from_micros(wait).min(CLOCK_LOOK_MAX))
            }
            // A due deadline waits for events that are still to be ingested.
            _ => never(),
        }
    }

    fn take_in(&mut self, batch: &Batch) -> Step {
        for event in &batch.events {
            self.take_in_event(event)?;
            self.show();
            let heard = self.tries.listen();
            if heard.is_err() && failpoint!("process::drop_half_taken_batch") {
                self.kept.pass(batch.until);
            }
            heard?;
        }
        self.kept.pass(batch.until);
        if self.kept.ahead() >= CHECKPOINT_EVENTS_MAX {
            self.write()?;
        }
        self.show();
        Ok(())
    }

    fn take_in_event(&mut self, event: &RecordedEvent) -> Step {
        // A deadline before this event is handled first, even if it is noticed later.
        self.fire_until(Micros::of(event.recorded_at).0 - 1)?;
        self.react_to(event)?;
        self.do_effects()
    }

    /// Wakes the instances whose deadline has come by the clock, once all events recorded before are ingested.
    fn fire_due(&mut self) -> Step {
        let Some((due, _)) = self.kept.next_due() else {
            self.came_due = None;
            return Ok(());
        };
        let seen = self.came_due.unwrap_or(CameDue { head: self.head(), now: self.now() });
        if due > seen.now.0 {
            self.came_due = None;
            return Ok(());
        }
        self.came_due = Some(seen);
        if self.kept.position() < seen.head {
            return Ok(());
        }
        self.fire_until(seen.now.0)?;
        self.came_due = None;
        Ok(())
    }

    /// Wakes the instances whose deadline is at or before `time`.
    fn fire_until(&mut self, time: i64) -> Step {
        while let Some((due, id)) = self.kept.next_due().filter(|(due, _)| *due <= time) {
            let id = id.to_owned();
            self.wake(&id, due)?;
            self.do_effects()?;
            self.show();
            self.tries.listen()?;
        }
        Ok(())
    }

    /// If nothing is left to do, writes the done effects that were left to the next commit, and replies to the
    /// waiting callers.
    fn rest(&mut self) -> Step {
        if self.came_due.is_some() || self.kept.position() < self.head() {
            return Ok(());
        }
        if self.kept.has_unwritten_effects() {
            self.write()?;
        }
        self.tries.settled(&Ok(()));
        Ok(())
    }

    /// Updates the shared status.
    fn show(&self) {
        let shared = &self.tries.desk.shared;
        let mut seen = shared.seen.lock();
        (seen.own.deadlines, seen.retrying) = (self.kept.deadlines(), None);
        drop(seen);
        shared.progress.advance(self.position());
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        self.engine.log()
    }

    fn head(&self) -> Position {
        self.log().head_position()
    }

    fn now(&self) -> Micros {
        self.log().now()
    }
}

/// The position up to which everything is done, including effects: without the last event while effects are pending.
pub(super) fn done(kept: &DurableState) -> Position {
    match kept.next_effect() {
        None => kept.position(),
        Some(_) => Position::new(kept.position().get().saturating_sub(1)),
    }
}
