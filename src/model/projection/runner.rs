//! The projector: one thread for each projection, which alone writes its views.
//!
//! * Rows, parked events and the checkpoint move in one write, under the lock that readers share.
//! * What one event changes is written as a whole or not at all, whatever `apply` does.
//! * A view that takes another's place is not behind it. Until then nobody reads it, so what it gets is held
//!   in memory and written now and then: most views have far fewer rows than events.

use crate::follow::feed::{Batch, Feed, FeedStop};
use crate::log::core::Log;
use crate::model::policy::{ErrorAction, OnError, Retrying, recovery_delay};
use crate::model::projection::apply::{
    Failure, ParkedCounts, Pending, apply, being_read, stopped_at,
};
use crate::model::projection::contract::Projection;
use crate::model::projection::registry::Registered;
use crate::model::projection::replay::Replay;
use crate::model::projection::status::{Doing, ProjectionRequest, Shared};
use crate::model::projection::trees::{Generation, Place, Trees, parked, write_in_parts};
use crate::model::request::{Request, RequestReceiver};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::{
    CHECKPOINT_EVENTS_MAX, VIEW_BUILD_BYTES_MAX, VIEW_BUILD_EVENTS_MAX, VIEW_CHANGES_BYTES_MIN,
    VIEW_READERS_WAIT_MAX, VIEW_SWAP_EVENTS_MAX,
};
use crate::value::position::Position;
use crate::value::stream::StreamId;
use crate::views::Change;
use crossbeam_channel::{Receiver, TryRecvError, after, never, select, select_biased};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Runner<P> {
    pub(super) projection: P,
    pub(super) filter: Filter,
    pub(super) on_error: OnError,
    pub(super) log: Arc<Log>,
    pub(super) closed: Receiver<()>,
    pub(super) trees: Trees,
    pub(super) shared: Arc<Shared>,
    pub(super) asked: RequestReceiver<ProjectionRequest>,
    pub(super) registered: Registered,
    /// The number of the view that is served.
    pub(super) current: u64,
    pub(super) target: Target,
    /// There may be views that are of no use any more.
    pub(super) has_outdated: bool,
    /// Parked events are being tried again.
    pub(super) replay: Option<Replay>,
}

/// The view that is written to.
pub(super) struct Target {
    pub(super) generation: Generation,
    /// It is to take the place of the one that is served.
    building: bool,
    /// Up to where its checkpoint says that it has everything.
    written: Place,
    /// What is applied and not written yet.
    pub(super) pending: Pending,
    /// A write failed half-way: it has no checkpoint any more, and must be begun anew.
    pub(super) torn: bool,
    parked: ParkedCounts,
}

impl Target {
    pub(super) fn new(generation: Generation, building: bool) -> Result<Target> {
        let mut counts = ParkedCounts::default();
        for (_, record) in parked(&generation.tree)? {
            counts.add(StreamId::new(&record.stream)?);
        }
        let (written, pending, torn) = (generation.place, Pending::default(), false);
        Ok(Target { generation, building, written, pending, torn, parked: counts })
    }

    /// Whether `pending`, which reaches up to `position`, is too much to be held.
    pub(super) fn is_too_much(&self, pending: &Pending, position: Position) -> bool {
        if !self.building {
            return pending.bytes() >= VIEW_CHANGES_BYTES_MIN;
        }
        pending.bytes_in_memory() >= VIEW_BUILD_BYTES_MAX
            || position.get() - self.written.position.get() >= VIEW_BUILD_EVENTS_MAX
    }
}

/// What interrupts following the log.
pub(super) enum Interrupt {
    Request(Request<ProjectionRequest>),
    Fault(Error),
    /// What is followed must be looked at anew.
    Again,
    /// The view that was being built has caught up.
    CaughtUp,
    Closed,
}

impl Interrupt {
    /// This interrupt, if what had to be written before it was; else whoever asked for something is told why
    /// not.
    fn behind(self, written: Step) -> Interrupt {
        let Err(instead) = written else { return self };
        if let (Interrupt::Request(Request { answer, .. }), Interrupt::Fault(error)) =
            (self, &instead)
        {
            let _ = answer.send(Err(error.clone()));
        }
        instead
    }
}

pub(super) type Step = Result<(), Interrupt>;

/// How long a write waits until nobody reads the view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Until somebody asks for something: it may be a reader who does, and waits for the answer.
    UntilAsked,
    /// Not for long: somebody waits for it.
    ForAWhile,
}

impl<P: Projection> Runner<P> {
    /// Runs until it is stopped or the store is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        shared.requests.answered_here();
        if let Err(cause) = catch(|| self.run_until_ended()) {
            let message = format!("the thread of projection {} panicked: {cause}", shared.name);
            shared.progress.end(Error::new(ErrorKind::Panicked, message));
        }
        shared.stopped();
    }

    fn run_until_ended(&mut self) {
        let mut doing = Doing::Following;
        let mut failures = 0;
        loop {
            self.see(&doing);
            self.remove_outdated();
            let interrupt = match doing {
                Doing::Following => self.follow_or_recover(&mut failures),
                _ => self.wait(None).unwrap_or(Interrupt::Closed),
            };
            match interrupt {
                Interrupt::Closed => return,
                Interrupt::Again | Interrupt::CaughtUp => {}
                Interrupt::Fault(error) => doing = self.fault(error),
                Interrupt::Request(Request { ask: ProjectionRequest::ReplayParked, answer }) => {
                    self.begin_replay(answer, &doing);
                }
                Interrupt::Request(Request { ask: ProjectionRequest::Stop, answer }) => {
                    let written = self.write(Pending::default(), self.place(), true);
                    let written = result_of(written);
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

    fn fault(&mut self, error: Error) -> Doing {
        tracing::error!(projection = self.shared.name, %error, "a projection has stopped");
        if let Some(replay) = self.replay.take() {
            replay.end(&Err(error.clone()));
        }
        // The state first: who waits in vain looks there for the cause.
        let doing = Doing::Faulted(error.clone());
        self.see(&doing);
        self.shared.progress.end(error);
        doing
    }

    /// Follows the log. After a failure of the store that may pass by itself, which makes so many `failures`
    /// in a row, a while goes by before it does so again.
    fn follow_or_recover(&mut self, failures: &mut u32) -> Interrupt {
        let from = self.position();
        let interrupt = match self.follow() {
            Interrupt::CaughtUp => self.promote().err().unwrap_or(Interrupt::Again),
            interrupt => interrupt,
        };
        if self.position() != from {
            *failures = 0;
        }
        let Interrupt::Fault(error) = &interrupt else { return interrupt };
        *failures = failures.saturating_add(1);
        let Some(delay) = recovery_delay(error, *failures) else { return interrupt };
        if let Some(replay) = self.replay.take() {
            replay.end(&Err(error.clone()));
        }
        self.retrying("following the log".to_owned(), *failures, error.to_string());
        self.wait(Some(delay)).unwrap_or(Interrupt::Again)
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
        let feed = Feed::start(&stop, "filmstrip-read", self.position(), filter);
        let feed = match feed {
            Ok(feed) => feed,
            Err(error) => return interrupt_of(error),
        };
        loop {
            if self.target.building && self.has_caught_up() {
                return Interrupt::CaughtUp;
            }
            let idle = match self.replay {
                Some(_) => after(Duration::ZERO),
                None => never(),
            };
            // Who asks for something is answered before the next batch; who closes the store, before that.
            let batch = select_biased! {
                recv(self.closed) -> _ => return Interrupt::Closed,
                recv(self.asked.channel()) -> request => match request {
                    Ok(request) => return Interrupt::Request(request),
                    Err(_) => return Interrupt::Closed,
                },
                recv(feed.batches()) -> batch => Some(batch),
                recv(idle) -> _ => None,
            };
            let taken_in = match batch {
                Some(Ok(Ok(batch))) => self.take_in(&batch),
                Some(Ok(Err(error))) => Err(interrupt_of(error)),
                Some(Err(_)) => Err(Interrupt::Closed),
                None => Ok(()),
            };
            if let Err(interrupt) = taken_in.and_then(|()| self.replay_some()) {
                return interrupt;
            }
        }
    }

    /// Waits for a request, but no longer than this; `None` if the time has passed.
    fn wait(&self, timeout: Option<Duration>) -> Option<Interrupt> {
        let request = |request: Result<Request<ProjectionRequest>, _>| {
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
            if let Err(interrupt) = self.take_in_event(event, batch, &mut pending) {
                let before = match failpoint!("projection::drop_half_taken_batch") {
                    true => self.place_in(batch, batch.until),
                    false => self.place_in(batch, Position::new(event.position.get() - 1)),
                };
                return Err(interrupt.behind(self.write(pending, before, true)));
            }
            if self.target.is_too_much(&pending, event.position) {
                let pending = std::mem::take(&mut pending);
                let place = self.place_in(batch, event.position);
                self.write(pending, place, true)?;
            }
        }
        let until = self.place_in(batch, batch.until);
        if self.target.building && !pending.is_empty() && !pending.parks() {
            self.target.pending = pending;
            self.target.generation.place = until;
            self.show();
            return Ok(());
        }
        self.write(pending, until, false)
    }

    /// The place of `position`, up to which `batch`, or what came before it, reaches.
    fn place_in(&self, batch: &Batch, position: Position) -> Place {
        match batch.chain_at(position) {
            Some(chain) if position > self.position() => Place { position, chain },
            _ => self.place(),
        }
    }

    fn take_in_event(
        &mut self,
        event: &RecordedEvent,
        batch: &Batch,
        pending: &mut Pending,
    ) -> Step {
        let parks_streams = self.on_error.then == ErrorAction::ParkStream;
        if parks_streams && self.is_parked(&event.stream, pending) {
            pending.park(event, String::new(), 0, self.now());
            if let Some(replay) = &mut self.replay {
                replay.more_wait = true;
            }
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
                (Some(delay), _) => {
                    // What came before it can be seen meanwhile.
                    let before = self.place_in(batch, Position::new(event.position.get() - 1));
                    if !failpoint!("projection::hide_what_came_before") {
                        self.write(std::mem::take(pending), before, true)?;
                    }
                    self.retrying(described(event), failures, cause);
                    if let Some(interrupt) = self.wait(Some(delay)) {
                        return Err(interrupt);
                    }
                }
                (None, ErrorAction::Stop) => {
                    let error = stopped_at(&self.shared.name, event, &cause);
                    return Err(Interrupt::Fault(error));
                }
                (None, ErrorAction::ParkEvent | ErrorAction::ParkStream) => {
                    let (projection, position) = (&self.shared.name, event.position);
                    tracing::warn!(projection, %position, cause, "an event was parked");
                    pending.park(event, cause, failures, self.now());
                    return Ok(());
                }
            }
        }
    }

    fn is_parked(&self, stream: &StreamId, pending: &Pending) -> bool {
        self.target.parked.has(stream) || pending.parked_streams().any(|parked| parked == stream)
    }

    /// Writes `pending`, and that everything up to `place` is done. A checkpoint alone is only
    /// written if `at_once`, or if much would be read again without it.
    pub(super) fn write(&mut self, pending: Pending, place: Place, at_once: bool) -> Step {
        self.write_as(pending, place, at_once, self.waits())
    }

    /// How long a change of what is served waits.
    fn waits(&self) -> Waits {
        match self.replay {
            // Who waits for it may be waited for by a reader of the view, and asks for nothing more.
            Some(_) if !failpoint!("projection::replay_waits_for_its_reader") => Waits::ForAWhile,
            _ => Waits::UntilAsked,
        }
    }

    pub(super) fn write_as(
        &mut self,
        pending: Pending,
        place: Place,
        at_once: bool,
        waits: Waits,
    ) -> Step {
        let ahead = place.position.get() - self.target.written.position.get();
        let moves_only = pending.is_empty();
        if !moves_only || (at_once && ahead > 0) || ahead >= CHECKPOINT_EVENTS_MAX {
            let (parks, has_rows) = (pending.parks(), !pending.rows().is_empty());
            let parked: Vec<_> = pending.parked_streams().cloned().collect();
            let released: Vec<_> = pending.released_streams().cloned().collect();
            let changes = pending.into_changes(P::VERSION, self.log.journal.store(), place);
            self.write_changes(changes, has_rows, waits).inspect_err(|_| {
                // What was applied behind it is lost, and is applied again.
                self.target.generation.place = self.target.written;
            })?;
            released.iter().for_each(|stream| self.target.parked.remove(stream));
            parked.into_iter().for_each(|stream| self.target.parked.add(stream));
            self.target.written = place;
            if parks {
                self.shared.seen.lock().parked = self.target.parked.all;
            }
        }
        self.target.generation.place = place;
        self.show();
        Ok(())
    }

    fn write_changes(&mut self, changes: Vec<Change>, has_rows: bool, waits: Waits) -> Step {
        if !self.target.building {
            // Readers wait here, so they see all of the rows or none; nothing else is read.
            let begun = Instant::now();
            let give_up = || self.gives_up(waits, begun);
            let served = has_rows.then(|| self.shared.served.change(give_up)).transpose()?;
            let written = self.target.generation.tree.write(changes);
            drop(served);
            return written.map_err(interrupt_of);
        }
        self.target.torn = true;
        write_in_parts(&self.target.generation.tree, changes).map_err(interrupt_of)?;
        self.target.torn = false;
        Ok(())
    }

    /// Why a change of the view does not wait any longer for those who read it.
    fn gives_up(&self, waits: Waits, begun: Instant) -> Option<Interrupt> {
        if self.closed.try_recv() == Err(TryRecvError::Disconnected) {
            return Some(Interrupt::Closed);
        }
        match waits {
            Waits::UntilAsked => self.asked.channel().try_recv().ok().map(Interrupt::Request),
            Waits::ForAWhile => {
                let waited = begun.elapsed();
                let is_late = waited >= VIEW_READERS_WAIT_MAX;
                is_late.then(|| Interrupt::Fault(being_read(&self.shared.name, waited)))
            }
        }
    }

    /// Shows how far it has come.
    fn show(&self) {
        let position = self.position();
        let mut seen = self.shared.seen.lock();
        seen.retrying = None;
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
        seen.parked = self.target.parked.all;
        if !matches!(doing, Doing::Following) {
            seen.retrying = None;
        }
    }

    /// Shows what has failed and will be tried again.
    fn retrying(&self, what: String, failures: u32, cause: String) {
        if !failpoint!("projection::retry_without_a_word") {
            self.shared.seen.lock().retrying = Some(Retrying { what, failures, cause });
        }
    }

    fn has_caught_up(&self) -> bool {
        let served = self.shared.seen.lock().checkpoint;
        let lag = self.log.head.position().saturating_sub(self.position().get());
        self.position() >= served && lag <= VIEW_SWAP_EVENTS_MAX
    }

    /// Serves the view that has been built.
    fn promote(&mut self) -> Step {
        self.write(Pending::default(), self.place(), true)?;
        // Most of it goes to disk before anybody waits for it.
        self.trees.sync().map_err(interrupt_of)?;
        let generation = &self.target.generation;
        let begun = Instant::now();
        let give_up = || self.gives_up(self.waits(), begun);
        let mut served = self.shared.served.change(give_up)?;
        self.trees.promote(generation.number).map_err(interrupt_of)?;
        *served = Arc::clone(&generation.tree);
        drop(served);
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

    fn answer(&mut self, ask: ProjectionRequest, doing: &mut Doing) -> Result<()> {
        if self.target.torn && !matches!(ask, ProjectionRequest::Rebuild) {
            self.build_anew()?;
        }
        match ask {
            ProjectionRequest::Pause => {
                if matches!(doing, Doing::Following) {
                    *doing = Doing::Paused;
                }
                Ok(())
            }
            ProjectionRequest::Resume => {
                self.restart();
                *doing = Doing::Following;
                Ok(())
            }
            ProjectionRequest::Rebuild => {
                self.build_anew()?;
                self.restart();
                *doing = Doing::Following;
                Ok(())
            }
            ProjectionRequest::DiscardParked => self.discard_parked(),
            // Done where they are heard.
            ProjectionRequest::ReplayParked | ProjectionRequest::Stop => Ok(()),
        }
    }

    /// Begins the view that is to take the place of the one that is served, instead of any that was begun.
    pub(super) fn build_anew(&mut self) -> Result<()> {
        if let Some(replay) = self.replay.take() {
            // Every event is applied again, and nothing is parked any more.
            replay.end(&Ok(()));
        }
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

    fn discard_parked(&mut self) -> Result<()> {
        let mut pending = Pending::default();
        for (position, record) in parked(&self.target.generation.tree)? {
            pending.release(position, &StreamId::new(&record.stream)?);
        }
        result_of(self.write(pending, self.place(), true))
    }

    pub(super) fn position(&self) -> Position {
        self.place().position
    }

    pub(super) fn place(&self) -> Place {
        self.target.generation.place
    }

    pub(super) fn now(&self) -> Micros {
        self.log.now()
    }
}

/// What an event is called where it is told of.
fn described(event: &RecordedEvent) -> String {
    let RecordedEvent { position, event_type, stream, .. } = event;
    format!("position {position}, a {event_type} of {stream}")
}

/// The outcome of a step that no request interrupts.
fn result_of(step: Step) -> Result<()> {
    match step {
        Err(Interrupt::Fault(error)) => Err(error),
        Err(Interrupt::Closed) => Err(Error::new(ErrorKind::Closed, "the store is closed")),
        _ => Ok(()),
    }
}

/// The end of the store is no fault of the projection.
fn interrupt_of(error: Error) -> Interrupt {
    match error.kind() {
        ErrorKind::Closed => Interrupt::Closed,
        _ => Interrupt::Fault(error),
    }
}
