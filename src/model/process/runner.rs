//! The thread of a process: it decides what to do next, and when to rest.
//!
//! * Only this thread commits for the process. It reads events and lets instances react; the lanes run their effects.
//! * A deadline is ordered among an instance's events: before those that were recorded after it, and after those that
//!   were recorded before the clock reached it.
//! * The state in memory is ahead of the journal only until the next commit. If a commit fails, the state is loaded
//!   from the journal again, as after a restart.

use crate::follow::feed::{Batch, Feed, FeedStop};
use crate::log::core::{Closer, Log};
use crate::log::engine::Engine;
use crate::model::process::conflicts::Conflicts;
use crate::model::process::contract::ProcessManager;
use crate::model::process::deadlines::Deadlines;
use crate::model::process::durable_state::DurableState;
use crate::model::process::failure::Failing;
use crate::model::process::incoming::Incoming;
use crate::model::process::instances::Instances;
use crate::model::process::lane::{Ran, Task};
use crate::model::process::lanes::Closing;
use crate::model::process::listening::{Interrupt, Settling, Step};
use crate::model::process::passing_on::PassOn;
use crate::model::process::plan::Plan;
use crate::model::process::schedule::{Id, Schedule};
use crate::model::process::second_reading::Rereading;
use crate::model::process::status::{Own, Shown};
use crate::model::request::Request;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::Desk;
use crate::model::worker::{Answer, Work};
use crate::value::clock::{ClockWaiter, Micros};
use crate::value::error::{Error, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::{CLOCK_LOOK_MAX, INSTANCES_ACTIVE_MAX};
use crate::value::position::Position;
use crossbeam_channel::{Receiver, RecvError, Sender, after, at, never, select};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Runner<M> {
    pub(super) engine: Arc<Engine>,
    pub(super) filter: Filter,
    pub(super) pass_on: PassOn,
    pub(super) desk: Desk<Own, Shown>,
    pub(super) settling: Settling,
    pub(super) kept: DurableState,
    pub(super) schedule: Schedule<RecordedEvent>,
    pub(super) deadlines: Deadlines,
    pub(super) instances: Instances<M>,
    pub(super) plan: Plan,
    pub(super) lanes: Closing<Task<M>, Ran<M>>,
    /// Closes the lanes when the log closes. That must not wait for this thread, because application code that it calls
    /// may be what closes the log.
    pub(super) _closer: Arc<Closer>,
    /// Has a message when there are results of lanes.
    pub(super) bell: Receiver<()>,
    /// Results of lanes that are not handled yet.
    pub(super) ran: VecDeque<Ran<M>>,
    pub(super) incoming: Incoming,
    pub(super) rereading: Option<Rereading>,
    /// Events that were parked alone and that are replayed now, by instance.
    pub(super) replays: HashMap<Id, VecDeque<Position>>,
    /// Instances with such events that wait for room.
    pub(super) to_replay: VecDeque<Id>,
    /// Those of the events that were tried since the last commit.
    pub(super) replayed: Vec<(Id, Position)>,
    /// Instances whose next step is to be taken.
    pub(super) woken: Vec<Id>,
    pub(super) failing: HashMap<Id, Failing>,
    pub(super) retries: BTreeSet<(Instant, Id)>,
    pub(super) clock: ClockWaiter,
    pub(super) came_due: Option<CameDue>,
    /// The next commit must not be put off, because callers look for its records in the journal.
    pub(super) must_write: bool,
    /// A commit has failed, so the state in memory may be ahead of the journal.
    pub(super) stale: bool,
    pub(super) conflicts: Conflicts,
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
    Request(Result<Request<Ask<Own>>, RecvError>),
    Batch(Result<Result<Batch>, RecvError>),
    Again(Result<Result<Batch>, RecvError>),
    Other,
}

impl<M: ProcessManager> Work for Runner<M> {
    type Own = Own;
    type Shown = Shown;

    /// The position up to which everything is done, including effects.
    fn position(&self) -> Position {
        match self.stale {
            // The state in memory may be ahead of the journal.
            true => self.kept.done_at_last_commit(),
            false => self.kept.done(&self.schedule),
        }
    }

    fn follow(&mut self) -> Interrupt {
        let interrupt = match self.follow_until_interrupted() {
            Ok(never) => match never {},
            Err(interrupt) => interrupt,
        };
        let at_rest = match interrupt {
            Interrupt::Closed => Ok(()),
            _ => self.quiesce(),
        };
        let written = at_rest.and_then(|()| match interrupt {
            Interrupt::Request(_) if !self.stale => self.commit(),
            _ => Ok(()),
        });
        let interrupt = interrupt.after(written);
        self.show();
        self.incoming = Incoming::default();
        self.rereading = None;
        interrupt
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt> {
        self.settling.wait(&self.desk, timeout)
    }

    fn prepare(&mut self) -> Result<()> {
        self.reload_if_stale()
    }

    fn resume(&mut self) -> Result<Position> {
        self.settling.fault = None;
        // Everything that has failed is tried at once, with all its retries.
        self.failing.clear();
        self.retries.clear();
        self.desk.shared.seen.lock().own.stopped_at = None;
        Ok(self.position())
    }

    fn answer(&mut self, ask: Own, _: &Sender<Result<()>>, follows: bool) -> Answer {
        let answered = self.reload_if_stale().and_then(|()| match ask {
            // `Settling::note` handles this request earlier.
            Own::Settle => Ok(false),
            Own::Replay(id) => self.replay(&id).map(|()| false),
            Own::Skip(id) => self.skip(&id),
        });
        if answered.is_ok() {
            self.show();
        }
        match answered {
            Ok(true) if !follows => match self.resume() {
                Ok(position) => Answer::BeginsAt(position),
                Err(error) => Answer::Now(Err(error)),
            },
            answered => Answer::Now(answered.map(drop)),
        }
    }

    fn log_fault(&self, error: &Error) {
        tracing::error!(process = M::NAME, %error, "a process has stopped");
    }

    fn faulted(&mut self, error: &Error) {
        self.settling.settled(&Err(error.clone()));
        self.settling.fault = Some(error.clone());
    }

    fn finish(&mut self) -> Result<()> {
        self.lanes.0.close();
        match self.stale {
            true => Ok(()),
            false => self.write().map_err(Error::from),
        }
    }
}

impl<M: ProcessManager> Runner<M> {
    fn follow_until_interrupted(&mut self) -> Result<Infallible, Interrupt> {
        self.reload_if_stale()?;
        self.woken = self.schedule.all_busy();
        self.show();
        let stop = FeedStop::new(Arc::clone(self.log()));
        let (position, filter) = (self.kept.position(), self.filter.clone());
        let feed = Feed::start(&stop, "filmstrip-read", position, filter)?;
        self.desk.shared.progress.follow(&stop);
        let interrupted = self.follow_feed(&feed);
        self.pass_unwanted(&feed);
        interrupted
    }

    fn follow_feed(&mut self, feed: &Feed) -> Result<Infallible, Interrupt> {
        loop {
            self.take_steps(feed)?;
            self.rest(feed)?;
            match self.sleep(feed) {
                Woken::Request(Ok(request)) => self.settling.note(Interrupt::Request(request))?,
                Woken::Batch(Ok(batch)) => self.incoming.put(batch?),
                Woken::Again(Ok(batch)) => self.reread(batch?),
                Woken::Request(Err(RecvError))
                | Woken::Batch(Err(RecvError))
                | Woken::Again(Err(RecvError)) => return Err(Interrupt::Closed),
                Woken::Other => {}
            }
        }
    }

    /// Counts as passed what the feed has passed over.
    fn pass_unwanted(&mut self, feed: &Feed) {
        if !self.stale
            && let Some((position, _)) = feed.reached(self.kept.position())
        {
            self.kept.pass(position);
        }
    }

    /// Takes all steps that are possible now.
    fn take_steps(&mut self, feed: &Feed) -> Step {
        loop {
            self.hear_lanes()?;
            self.retry_due()?;
            self.advance_woken()?;
            self.begin_replays();
            self.ingest_incoming()?;
            self.ingest_reread()?;
            // Who asks whether it is at rest may have set the clock before.
            self.settling.listen(&self.desk)?;
            self.fire_due(feed)?;
            if self.woken.is_empty() {
                break;
            }
        }
        self.commit_if_needed()?;
        self.show();
        self.give_to_lanes();
        Ok(())
    }

    /// Waits for an event, a request, a lane's result or a deadline.
    fn sleep(&self, feed: &Feed) -> Woken {
        let (no_batch, timer) = (never(), self.timer());
        let batches = match self.incoming.is_empty() && self.has_room() {
            true => feed.batches(),
            false => &no_batch,
        };
        let again = self.rereading.as_ref().and_then(Rereading::batches).unwrap_or(&no_batch);
        select! {
            recv(self.desk.requests.channel()) -> asked => Woken::Request(asked),
            recv(self.bell) -> _ => Woken::Other,
            recv(batches) -> batch => Woken::Batch(batch),
            recv(again) -> batch => Woken::Again(batch),
            recv(self.clock.woken()) -> _ => Woken::Other,
            recv(self.desk.closed) -> _ => Woken::Request(Err(RecvError)),
            recv(timer) -> _ => Woken::Other,
        }
    }

    /// Whether further instances may become active.
    pub(super) fn has_room(&self) -> bool {
        self.schedule.busy() < INSTANCES_ACTIVE_MAX || failpoint!("process::ingest_without_room")
    }

    /// A timer for the next retry or the next look at the clock: at the next deadline, or earlier, in case the clock
    /// was set without a notification.
    fn timer(&self) -> Receiver<Instant> {
        let retry = self.retries.first().map(|(at, _)| *at);
        let again = self.rereading.as_ref().and_then(Rereading::retry_at);
        let retry = [retry, self.incoming.retry_at(), again].into_iter().flatten().min();
        let look = match self.deadlines.next() {
            Some((due, _)) if self.came_due.is_none() => {
                let wait = u64::try_from(due.saturating_sub(self.now().0)).unwrap_or(0);
                let wait = Duration::from_micros(wait).min(CLOCK_LOOK_MAX);
                Some(Instant::now() + wait)
            }
            // A due deadline waits for events that are still to be ingested.
            _ => None,
        };
        match [retry, look].into_iter().flatten().min() {
            Some(next) if next <= Instant::now() => after(Duration::ZERO),
            Some(next) => at(next),
            None => never(),
        }
    }

    /// Wakes the instances whose deadline has come by the clock, once all events recorded before are ingested.
    fn fire_due(&mut self, feed: &Feed) -> Step {
        if self.deadlines.has_run_out() {
            self.commit()?;
            self.deadlines = self.kept.load_deadlines(self.engine.log(), &self.schedule)?;
        }
        let Some((due, _)) = self.deadlines.next() else {
            self.came_due = None;
            return Ok(());
        };
        let seen = self.came_due.unwrap_or(CameDue { head: self.head(), now: self.now() });
        if due > seen.now.0 {
            self.came_due = None;
            return Ok(());
        }
        self.came_due = Some(seen);
        self.pass_unwanted(feed);
        if self.kept.position() < seen.head {
            return Ok(());
        }
        while let Some((due, id)) = self.deadlines.next()
            && due <= seen.now.0
            && self.has_room()
        {
            let id = Arc::clone(id);
            self.fire(&id, due)?;
            self.commit_if_large()?;
        }
        if self.has_room() {
            self.came_due = None;
        }
        Ok(())
    }

    /// If nothing is left to do, commits what was left to the next commit, and replies to the waiting callers.
    fn rest(&mut self, feed: &Feed) -> Step {
        let is_busy = self.schedule.busy() > 0 || !self.incoming.is_empty();
        let head = self.head();
        self.pass_unwanted(feed);
        if is_busy || self.came_due.is_some() || self.kept.position() < head {
            return Ok(());
        }
        if self.kept.lagging() > 0 {
            self.commit()?;
        }
        self.settling.settled(&Ok(()));
        Ok(())
    }

    /// Gives the lanes the effects whose events are durable.
    fn give_to_lanes(&mut self) {
        let mut tasks = Vec::new();
        while let Some((id, effects)) = self.schedule.give_to_lane() {
            let instance = self.instances.take(&id);
            tasks.push(Task { id, instance, effects });
        }
        if !tasks.is_empty() {
            self.lanes.0.offer(tasks);
        }
    }

    /// Waits until no lane runs an effect, or the store is closed. Effects that lanes have done count; effects that
    /// have failed are tried again.
    fn quiesce(&mut self) -> Step {
        for Task { id, instance, .. } in self.lanes.0.rest() {
            self.schedule.back_from_lane(&id);
            if let Some(instance) = instance {
                self.instances.put(&id, instance);
            }
        }
        while !self.lanes.0.is_idle() && !failpoint!("process::leave_lanes_running") {
            select! {
                recv(self.bell) -> _ => {}
                recv(self.desk.closed) -> _ => return Ok(()),
            }
        }
        self.ran.extend(self.lanes.0.results());
        // After a commit that failed it is all done again.
        while let Some(ran) = self.ran.pop_front()
            && !self.stale
        {
            self.note(ran);
            self.commit_if_large()?;
        }
        Ok(())
    }

    /// Updates the shared status.
    pub(super) fn show(&self) {
        let shared = &self.desk.shared;
        let mut seen = shared.seen.lock();
        seen.own.deadlines = self.kept.deadlines();
        seen.own.parked = self.kept.parked() as u64;
        seen.own.active = self.schedule.busy() as u64;
        let rereads = self.rereading.as_ref().is_some_and(Rereading::is_retrying);
        if self.failing.is_empty() && !self.incoming.is_retrying() && !rereads {
            seen.retrying = None;
        }
        drop(seen);
        if !self.stale && self.plan.is_empty() {
            shared.progress.advance(self.position());
        }
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
