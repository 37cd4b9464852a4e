//! The projector: one thread for each projection, which alone writes its views.
//!
//! * Rows, parked events and the checkpoint move in one write, under the lock that readers share.
//! * What one event changes is written as a whole or not at all, whatever `apply` does.
//! * A view that takes another's place is not behind it. Until then nobody reads it, so what it gets is held
//!   in memory and written now and then: most views have far fewer rows than events.

use crate::clock::Micros;
use crate::error::{Error, ErrorKind, Result, catch};
use crate::event::RecordedEvent;
use crate::filter::Filter;
use crate::follow::feed::{Batch, Feed, FeedStop};
use crate::index::views::Change;
use crate::limits::{
    CHECKPOINT_EVENTS_MAX, VIEW_BUILD_BYTES_MAX, VIEW_BUILD_EVENTS_MAX, VIEW_CHANGES_BYTES_MIN,
    VIEW_SWAP_EVENTS_MAX,
};
use crate::log::core::Log;
use crate::log::read_all::event_at;
use crate::model::policy::{OnError, Then};
use crate::model::projection::apply::{Failure, Pending, apply, stopped_at};
use crate::model::projection::contract::Projection;
use crate::model::projection::registry::Registered;
use crate::model::projection::status::{Ask, Doing, Shared};
use crate::model::projection::trees::{Generation, Place, Trees, parked, write_in_parts};
use crate::model::request::{Asked, Request};
use crate::position::Position;
use crate::stream::StreamId;
use crossbeam_channel::{Receiver, select, select_biased};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Runner<P> {
    pub(super) projection: P,
    pub(super) filter: Filter,
    pub(super) on_error: OnError,
    pub(super) log: Arc<Log>,
    pub(super) closed: Receiver<()>,
    pub(super) trees: Trees,
    pub(super) shared: Arc<Shared>,
    pub(super) asked: Asked<Ask>,
    pub(super) registered: Registered,
    /// The number of the view that is served.
    pub(super) current: u64,
    pub(super) target: Target,
    /// There may be views that are of no use any more.
    pub(super) has_outdated: bool,
}

/// The view that is written to.
pub(super) struct Target {
    generation: Generation,
    /// It is to take the place of the one that is served.
    building: bool,
    /// Up to where its checkpoint says that it has everything.
    written: Place,
    /// What is applied and not written yet.
    pending: Pending,
    /// A write failed half-way: it has no checkpoint any more, and must be begun anew.
    torn: bool,
    /// The streams of its parked events.
    parked_streams: HashSet<StreamId>,
}

impl Target {
    pub(super) fn new(generation: Generation, building: bool) -> Result<Target> {
        let parked = parked(&generation.tree)?;
        let streams = parked.iter().map(|(_, record)| StreamId::new(&record.stream));
        let parked_streams = streams.collect::<Result<_>>()?;
        let (written, pending, torn) = (generation.place, Pending::default(), false);
        Ok(Target { generation, building, written, pending, torn, parked_streams })
    }

    /// Whether `pending`, which reaches up to `position`, is too much to be held.
    fn is_too_much(&self, pending: &Pending, position: Position) -> bool {
        if !self.building {
            return pending.bytes() >= VIEW_CHANGES_BYTES_MIN;
        }
        pending.bytes_in_memory() >= VIEW_BUILD_BYTES_MAX
            || position.get() - self.written.position.get() >= VIEW_BUILD_EVENTS_MAX
    }
}

/// What interrupts following the log.
enum Interrupt {
    Request(Request<Ask>),
    Fault(Error),
    /// The view that was being built has caught up.
    CaughtUp,
    Closed,
}

impl Interrupt {
    /// This interrupt, if what had to be written before it was; else whoever asked for something is told why
    /// not.
    fn behind(self, written: Result<()>) -> Interrupt {
        let Err(error) = written else { return self };
        if let Interrupt::Request(Request { answer, .. }) = self {
            let _ = answer.send(Err(error.clone()));
        }
        interrupt_of(error)
    }
}

type Step = Result<(), Interrupt>;

impl<P: Projection> Runner<P> {
    /// Runs until it is stopped or the store is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        shared.requests.answered_here();
        if let Err(panic) = catch(|| self.run_until_ended()) {
            let cause = panic;
            let message = format!("the thread of projection {} panicked: {cause}", shared.name);
            shared.progress.end(Error::new(ErrorKind::Panicked, message));
        }
        shared.stopped();
    }

    fn run_until_ended(&mut self) {
        let mut doing = Doing::Following;
        loop {
            self.see(&doing);
            self.remove_outdated();
            let interrupt = match doing {
                Doing::Following => self.follow(),
                _ => self.wait(None).unwrap_or(Interrupt::Closed),
            };
            match interrupt {
                Interrupt::Closed => return,
                Interrupt::Fault(error) => doing = self.fault(error),
                Interrupt::CaughtUp => {
                    if let Err(error) = self.promote() {
                        doing = self.fault(error);
                    }
                }
                Interrupt::Request(Request { ask: Ask::Stop, answer }) => {
                    let written = self.write(Pending::default(), self.place(), true);
                    self.shared.stopped();
                    // Before the answer: who got it may start the projection again.
                    self.registered.end();
                    // Whoever asked may not wait for the answer.
                    let _ = answer.send(written);
                    return;
                }
                Interrupt::Request(Request { ask, answer }) => {
                    let done = self.answer(ask, &mut doing);
                    self.see(&doing);
                    let _ = answer.send(done);
                }
            }
        }
    }

    fn fault(&self, error: Error) -> Doing {
        tracing::error!(projection = self.shared.name, %error, "a projection has stopped");
        // The state first: who waits in vain looks there for the cause.
        let doing = Doing::Faulted(error.clone());
        self.see(&doing);
        self.shared.progress.end(error);
        doing
    }

    /// Follows the log from where the target stands, until something comes in between, and leaves nothing
    /// pending.
    fn follow(&mut self) -> Interrupt {
        // A write that a request led to may have failed.
        if self.target.torn {
            if let Err(error) = self.build_anew() {
                return interrupt_of(error);
            }
            self.see(&Doing::Following);
        }
        let interrupt = self.follow_feed();
        let pending = std::mem::take(&mut self.target.pending);
        if pending.is_empty() {
            return interrupt;
        }
        interrupt.behind(self.write(pending, self.place(), true))
    }

    fn follow_feed(&mut self) -> Interrupt {
        let stop = FeedStop::new(Arc::clone(&self.log));
        let filter = self.filter.clone();
        let feed = Feed::start(&self.log, "filmstrip-read", self.position(), filter, &stop);
        let feed = match feed {
            Ok(feed) => feed,
            Err(error) => return interrupt_of(error),
        };
        loop {
            if self.target.building && self.has_caught_up() {
                return Interrupt::CaughtUp;
            }
            // Who asks for something is answered before the next batch; who closes the store, before that.
            let batch = select_biased! {
                recv(self.closed) -> _ => return Interrupt::Closed,
                recv(self.asked.channel()) -> request => match request {
                    Ok(request) => return Interrupt::Request(request),
                    Err(_) => return Interrupt::Closed,
                },
                recv(feed.batches()) -> batch => batch,
            };
            let step = match batch {
                Ok(Ok(batch)) => self.take_in(&batch),
                Ok(Err(error)) => Err(interrupt_of(error)),
                Err(_) => Err(Interrupt::Closed),
            };
            if let Err(interrupt) = step {
                return interrupt;
            }
        }
    }

    /// Waits for a request, but no longer than this; `None` if the time has passed.
    fn wait(&self, timeout: Option<Duration>) -> Option<Interrupt> {
        let request = |request: Result<Request<Ask>, _>| {
            Some(request.map_or(Interrupt::Closed, Interrupt::Request))
        };
        match timeout {
            Some(timeout) => select! {
                recv(self.asked.channel()) -> asked => request(asked),
                recv(self.closed) -> _ => Some(Interrupt::Closed),
                default(timeout) => None,
            },
            None => select! {
                recv(self.asked.channel()) -> asked => request(asked),
                recv(self.closed) -> _ => Some(Interrupt::Closed),
            },
        }
    }

    fn take_in(&mut self, batch: &Batch) -> Step {
        let mut pending = std::mem::take(&mut self.target.pending);
        for event in &batch.events {
            if let Err(interrupt) = self.take_in_event(event, &mut pending) {
                let before = self.place_in(batch, Position::new(event.position.get() - 1));
                return Err(interrupt.behind(self.write(pending, before, true)));
            }
            if self.target.is_too_much(&pending, event.position) {
                let pending = std::mem::take(&mut pending);
                let place = self.place_in(batch, event.position);
                self.write(pending, place, true).map_err(interrupt_of)?;
            }
        }
        let until = self.place_in(batch, batch.until);
        if self.target.building && !pending.is_empty() && !pending.parks() {
            self.target.pending = pending;
            self.target.generation.place = until;
            self.show();
            return Ok(());
        }
        self.write(pending, until, false).map_err(interrupt_of)
    }

    /// The place of `position`, up to which `batch`, or what came before it, reaches.
    fn place_in(&self, batch: &Batch, position: Position) -> Place {
        match batch.chain_at(position) {
            Some(chain) if position > self.position() => Place { position, chain },
            _ => self.place(),
        }
    }

    fn take_in_event(&self, event: &RecordedEvent, pending: &mut Pending) -> Step {
        let parks_streams = self.on_error.then == Then::ParkStream;
        if parks_streams && self.is_parked(&event.stream, pending) {
            pending.park(event, String::new(), 0, self.now());
            return Ok(());
        }
        let mut failures = 0;
        loop {
            let tree = &self.target.generation.tree;
            let cause = match apply(&self.projection, event, tree, pending.rows()) {
                Ok(changes) => {
                    pending.take(changes);
                    return Ok(());
                }
                Err(Failure::View(error)) => return Err(interrupt_of(error)),
                Err(Failure::Event(cause)) => cause,
            };
            failures += 1;
            match (self.on_error.delay_after(failures), self.on_error.then) {
                (Some(delay), _) => match self.wait(Some(delay)) {
                    Some(interrupt) => return Err(interrupt),
                    None => continue,
                },
                (None, Then::Stop) => {
                    let error = stopped_at(&self.shared.name, event, &cause);
                    return Err(Interrupt::Fault(error));
                }
                (None, Then::ParkEvent | Then::ParkStream) => {
                    let (projection, position) = (&self.shared.name, event.position);
                    tracing::warn!(projection, %position, cause, "an event was parked");
                    pending.park(event, cause, failures, self.now());
                    return Ok(());
                }
            }
        }
    }

    fn is_parked(&self, stream: &StreamId, pending: &Pending) -> bool {
        self.target.parked_streams.contains(stream)
            || pending.parked_streams().any(|parked| parked == stream)
    }

    /// Writes `pending`, and that everything up to `place` is done. A checkpoint alone is only
    /// written if `at_once`, or if much would be read again without it.
    fn write(&mut self, pending: Pending, place: Place, at_once: bool) -> Result<()> {
        let ahead = place.position.get() - self.target.written.position.get();
        let moves_only = pending.is_empty();
        if !moves_only || (at_once && ahead > 0) || ahead >= CHECKPOINT_EVENTS_MAX {
            let parks = pending.parks();
            let parked_streams: Vec<_> = pending.parked_streams().cloned().collect();
            let changes = pending.into_changes(P::VERSION, self.log.journal.store(), place);
            self.write_changes(changes).inspect_err(|_| {
                // What was applied behind it is lost, and is applied again.
                self.target.generation.place = self.target.written;
            })?;
            self.target.parked_streams.extend(parked_streams);
            self.target.written = place;
            if parks {
                self.count_parked();
            }
        }
        self.target.generation.place = place;
        self.show();
        Ok(())
    }

    fn write_changes(&mut self, changes: Vec<Change>) -> Result<()> {
        let target = &mut self.target;
        if !target.building {
            // Readers wait here, so they see all of it or nothing.
            let _served = self.shared.served.write();
            return target.generation.tree.write(changes);
        }
        target.torn = true;
        write_in_parts(&target.generation.tree, changes)?;
        target.torn = false;
        Ok(())
    }

    /// Shows how far it has come.
    fn show(&self) {
        let position = self.position();
        let mut seen = self.shared.seen.lock();
        if self.target.building {
            seen.building = Some(position);
            return;
        }
        seen.checkpoint = position;
        seen.building = None;
        drop(seen);
        self.shared.progress.advance(position);
    }

    fn see(&self, doing: &Doing) {
        let mut seen = self.shared.seen.lock();
        seen.doing = doing.clone();
        seen.target = Arc::clone(&self.target.generation.tree);
        drop(seen);
        self.count_parked();
    }

    fn count_parked(&self) {
        // What cannot be counted now is counted the next time.
        if let Ok(parked) = parked(&self.target.generation.tree) {
            self.shared.seen.lock().parked = parked.len() as u64;
        }
    }

    fn has_caught_up(&self) -> bool {
        let served = self.shared.seen.lock().checkpoint;
        let lag = self.log.head.position().saturating_sub(self.position().get());
        self.position() >= served && lag <= VIEW_SWAP_EVENTS_MAX
    }

    /// Serves the view that has been built.
    fn promote(&mut self) -> Result<()> {
        self.write(Pending::default(), self.place(), true)?;
        let generation = &self.target.generation;
        self.trees.promote(generation.number)?;
        *self.shared.served.write() = Arc::clone(&generation.tree);
        self.current = generation.number;
        self.target.building = false;
        self.show();
        self.has_outdated = true;
        Ok(())
    }

    /// Removes views that are of no use any more, until somebody asks for something.
    fn remove_outdated(&mut self) {
        if !self.has_outdated {
            return;
        }
        let is_asked = || !self.asked.channel().is_empty();
        match self.trees.remove_outdated(|| !is_asked()) {
            Ok(none_is_left) => self.has_outdated = !none_is_left,
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => {
                // They only take room, until the projection is started again.
                self.has_outdated = false;
                let projection = &self.shared.name;
                tracing::warn!(projection, %error, "views of no use could not be removed");
            }
        }
    }

    fn answer(&mut self, ask: Ask, doing: &mut Doing) -> Result<()> {
        if self.target.torn && !matches!(ask, Ask::Rebuild) {
            self.build_anew()?;
        }
        match ask {
            Ask::Pause => {
                if matches!(doing, Doing::Following) {
                    *doing = Doing::Paused;
                }
                Ok(())
            }
            Ask::Resume => {
                self.restart();
                *doing = Doing::Following;
                Ok(())
            }
            Ask::Rebuild => {
                self.build_anew()?;
                self.restart();
                *doing = Doing::Following;
                Ok(())
            }
            Ask::ReplayParked => self.replay_parked(),
            Ask::DiscardParked => self.discard_parked(),
            Ask::Stop => Ok(()),
        }
    }

    /// Begins the view that is to take the place of the one that is served, instead of any that was begun.
    fn build_anew(&mut self) -> Result<()> {
        // Until it is replaced: what is begun here removes it.
        self.target.torn = self.target.building;
        let generation = self.trees.begin_building(self.current, P::VERSION)?;
        self.has_outdated = true;
        self.target = Target::new(generation, true)?;
        Ok(())
    }

    /// Lets those who wait begin anew: for the view that is being built, if one is.
    fn restart(&self) {
        let building = self.target.building;
        self.shared.seen.lock().building = building.then(|| self.position());
        let position = if building { Position::START } else { self.position() };
        self.shared.progress.restart(position);
    }

    /// Tries each parked event again, once, in order.
    fn replay_parked(&mut self) -> Result<()> {
        let mut failed_streams = HashSet::new();
        for (position, record) in parked(&self.target.generation.tree)? {
            let event = event_at(&self.log, position)?;
            let waits =
                self.on_error.then == Then::ParkStream && failed_streams.contains(&event.stream);
            if waits {
                continue;
            }
            let mut pending = Pending::default();
            match apply(&self.projection, &event, &self.target.generation.tree, pending.rows()) {
                Ok(changes) => {
                    pending.take(changes);
                    pending.release(position);
                }
                Err(Failure::View(error)) => return Err(error),
                Err(Failure::Event(cause)) => {
                    pending.park(&event, cause, record.attempts + 1, self.now());
                    failed_streams.insert(event.stream.clone());
                }
            }
            self.write(pending, self.place(), true)?;
        }
        self.forget_released()
    }

    fn discard_parked(&mut self) -> Result<()> {
        let mut pending = Pending::default();
        for (position, _) in parked(&self.target.generation.tree)? {
            pending.release(position);
        }
        self.write(pending, self.place(), true)?;
        self.forget_released()
    }

    /// Streams of which nothing is parked any more flow again.
    fn forget_released(&mut self) -> Result<()> {
        let parked = parked(&self.target.generation.tree)?;
        let streams = parked.iter().map(|(_, record)| StreamId::new(&record.stream));
        self.target.parked_streams = streams.collect::<Result<_>>()?;
        Ok(())
    }

    fn position(&self) -> Position {
        self.place().position
    }

    fn place(&self) -> Place {
        self.target.generation.place
    }

    fn now(&self) -> Micros {
        Micros::of(self.log.clock.now())
    }
}

/// The end of the store is no fault of the projection.
fn interrupt_of(error: Error) -> Interrupt {
    match error.kind() {
        ErrorKind::Closed => Interrupt::Closed,
        _ => Interrupt::Fault(error),
    }
}
