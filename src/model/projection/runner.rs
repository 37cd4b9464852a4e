//! What a projection does with events. Only its worker writes its views.
//!
//! * Rows, parked events and the checkpoint move in one write, under the lock that readers share.
//! * The changes of one event are written as a whole or not at all, whatever `apply` does.
//! * A new view replaces the served one only when it does not lag behind it. Until then nobody reads the new view, so
//!   its changes are held in memory and written now and then: most views have far fewer rows than events.

use crate::follow::feed::{Feed, FeedStop};
use crate::log::core::Log;
use crate::model::projection::apply::Pending;
use crate::model::projection::contract::Projection;
use crate::model::projection::parked::entries_after;
use crate::model::projection::replay::Replay;
use crate::model::projection::status::{ProjectionRequest, Shown};
use crate::model::projection::target::Target;
use crate::model::projection::trees::{MadeBy, Place, Trees};
use crate::model::projection::view::Served;
use crate::model::worker::desk::{self, Desk, timer};
use crate::model::worker::status::Seen;
use crate::model::worker::{Answer, Work};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::VIEW_SWAP_EVENTS_MAX;
use crate::value::position::Position;
use crate::value::stream::StreamId;
use crossbeam_channel::{Sender, after, never, select_biased};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Runner<P> {
    pub(super) projection: P,
    pub(super) filter: Filter,
    pub(super) log: Arc<Log>,
    pub(super) trees: Trees,
    pub(super) desk: Desk<ProjectionRequest, Shown>,
    pub(super) served: Arc<Served>,
    /// The number of the view that is served.
    pub(super) current: u64,
    pub(super) target: Target,
    /// Whether there may be views that are no longer used.
    pub(super) has_outdated: bool,
    /// The replay of parked events in progress.
    pub(super) replay: Option<Replay>,
    /// The served view may hold something of somebody who was forgotten, until the new one replaces it.
    #[cfg(feature = "erasure")]
    pub(super) shows_forgotten: bool,
}

pub(super) type Interrupt = desk::Interrupt<ProjectionRequest>;
pub(super) type Step = desk::Step<ProjectionRequest>;

impl<P: Projection> Work for Runner<P> {
    type Own = ProjectionRequest;
    type Shown = Shown;

    fn position(&self) -> Position {
        self.place().position
    }

    /// Writes all pending changes before it returns.
    fn follow(&mut self) -> Interrupt {
        // A write for a request may have failed before.
        if let Err(error) = self.prepare() {
            return error.into();
        }
        let followed = self.follow_feed();
        let pending = std::mem::take(&mut self.target.pending);
        let written = match pending.is_empty() {
            true => {
                self.show_position();
                Ok(())
            }
            false => self.write(pending, self.place(), true),
        };
        match followed {
            Err(interrupt) => interrupt.after(written),
            Ok(()) => written.and_then(|()| self.promote()).err().unwrap_or(Interrupt::Again),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt> {
        self.desk.wait(&timer(timeout))
    }

    fn begin(&mut self, _rests: bool) {
        #[cfg(feature = "erasure")]
        if _rests {
            self.hide_the_forgotten();
        }
        self.remove_outdated();
    }

    fn prepare(&mut self) -> Result<()> {
        if self.target.torn { self.build_anew() } else { Ok(()) }
    }

    /// While a view is being built, callers wait for the new one.
    fn resume(&mut self) -> Result<Position> {
        let building = self.target.building;
        self.seen().own.building = building.then(|| self.position());
        Ok(if building { Position::START } else { self.position() })
    }

    fn answer(
        &mut self,
        ask: ProjectionRequest,
        answer: &Sender<Result<()>>,
        follows: bool,
    ) -> Answer {
        match ask {
            // What the feed has read ahead is dropped, in any case.
            #[cfg(feature = "erasure")]
            ProjectionRequest::Forget if !self.trees.is_private().unwrap_or(true) => {
                Answer::Now(Ok(()))
            }
            #[cfg(feature = "erasure")]
            ProjectionRequest::Forget => {
                self.shows_forgotten = true;
                self.answer(ProjectionRequest::Rebuild, answer, follows)
            }
            ProjectionRequest::Rebuild => match self.build_anew().and_then(|()| self.resume()) {
                Ok(position) => Answer::BeginsAt(position),
                Err(error) => Answer::Now(Err(error)),
            },
            ProjectionRequest::DiscardParked => {
                Answer::Now(self.prepare().and_then(|()| self.discard_parked()))
            }
            ProjectionRequest::ReplayParked => {
                self.begin_replay(answer, follows);
                Answer::Later
            }
        }
    }

    fn failed(&mut self, error: &Error) {
        if let Some(replay) = self.replay.take() {
            replay.end(&Err(error.clone()));
        }
    }

    fn log_fault(&self, error: &Error) {
        tracing::error!(projection = P::NAME, %error, "a projection has stopped");
    }

    fn finish(&mut self) -> Result<()> {
        result_of(self.write(Pending::default(), self.place(), true))
    }
}

impl<P: Projection> Runner<P> {
    /// Ingests events from the feed. Returns when a view that is being built has caught up.
    fn follow_feed(&mut self) -> Step {
        let stop = FeedStop::new(Arc::clone(&self.log));
        let filter = self.filter.clone();
        let feed = Feed::start(&stop, "filmstrip-read", self.position(), filter)?;
        if !self.target.building {
            self.desk.shared.progress.follow(&stop);
        }
        let followed = self.ingest_from(&feed);
        self.pass_unwanted(&feed);
        followed
    }

    /// Counts as passed what the feed has passed over. What is applied is written first, or with it, before that shows.
    fn pass_unwanted(&mut self, feed: &Feed) {
        if let Some((position, chain)) = feed.reached(self.position())
            && position > self.position()
        {
            self.target.generation.place = Place { position, chain };
        }
    }

    fn ingest_from(&mut self, feed: &Feed) -> Step {
        loop {
            if self.target.building {
                self.pass_unwanted(feed);
                if self.has_caught_up() {
                    return Ok(());
                }
            }
            let idle = match self.replay {
                Some(_) => after(Duration::ZERO),
                None => never(),
            };
            // Requests come before the next batch, and the close of the store before requests.
            let batch = select_biased! {
                recv(self.desk.closed) -> _ => return Err(Interrupt::Closed),
                recv(self.desk.requests.channel()) -> request => {
                    return Err(request.map_or(Interrupt::Closed, Interrupt::Request));
                }
                recv(feed.batches()) -> batch => Some(batch),
                recv(idle) -> _ => None,
            };
            match batch {
                Some(Ok(batch)) => self.take_in(&batch?, !feed.batches().is_empty())?,
                Some(Err(_)) => return Err(Interrupt::Closed),
                None => {}
            }
            self.replay_some()?;
        }
    }

    /// Updates the shared status.
    pub(super) fn show(&self) {
        self.seen().retrying = None;
        self.show_position();
    }

    fn show_position(&self) {
        let position = self.position();
        let mut seen = self.seen();
        if self.target.building {
            seen.own.building = Some(position);
            return;
        }
        seen.own.checkpoint = position;
        seen.own.building = None;
        drop(seen);
        self.desk.shared.progress.advance(position);
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen<Shown>> {
        self.desk.shared.seen.lock()
    }

    fn has_caught_up(&self) -> bool {
        let served = self.seen().own.checkpoint;
        let lag = self.log.head.position().saturating_sub(self.position().get());
        self.position() >= served && lag <= VIEW_SWAP_EVENTS_MAX
    }

    /// Serves the new view.
    fn promote(&mut self) -> Step {
        self.write(Pending::default(), self.place(), true)?;
        // Sync most of the data before readers have to wait.
        self.trees.sync()?;
        let generation = &self.target.generation;
        let begun = Instant::now();
        let give_up = || self.gives_up(self.waits(), begun);
        let mut served = self.served.change(give_up)?;
        self.trees.promote(generation.number)?;
        *served = Arc::clone(&generation.tree);
        drop(served);
        self.current = generation.number;
        self.target.building = false;
        #[cfg(feature = "erasure")]
        {
            self.shows_forgotten = false;
        }
        self.show();
        self.has_outdated = true;
        Ok(())
    }

    /// Serves the new view at once, however much of it there is, if the old one may hold somebody who was forgotten:
    /// nobody builds the new one now.
    #[cfg(feature = "erasure")]
    fn hide_the_forgotten(&mut self) {
        if self.shows_forgotten
            && self.target.building
            && !failpoint!("projection::show_the_forgotten_while_it_rests")
            && let Err(Interrupt::Fault(error)) = self.promote()
        {
            tracing::error!(projection = P::NAME, %error, "the view still shows who was forgotten");
        }
    }

    /// Removes views that are no longer used, until there is a request.
    fn remove_outdated(&mut self) {
        if !self.has_outdated {
            return;
        }
        let is_asked = || !self.desk.requests.channel().is_empty();
        match self.trees.remove_outdated(|| !is_asked()) {
            Ok(none_is_left) => self.has_outdated = !none_is_left,
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => {
                // They only take space, until the projection is started again.
                self.has_outdated = false;
                tracing::warn!(projection = P::NAME, %error, "unused views could not be removed");
            }
        }
    }

    /// Begins a new view that will replace the served one. Replaces any new view that was begun before.
    pub(super) fn build_anew(&mut self) -> Result<()> {
        if let Some(replay) = self.replay.take() {
            // Every event will be applied again, and nothing is parked any more.
            replay.end(&Ok(()));
        }
        // Until it is replaced below, an unfinished target counts as torn: its tree is removed once the new one is
        // named.
        self.target.torn = self.target.building;
        let generation = self.trees.begin_building(self.current, MadeBy::of::<P>())?;
        self.has_outdated = true;
        self.target = Target::new(generation, true)?;
        let mut seen = self.seen();
        seen.own.target = Arc::clone(&self.target.generation.tree);
        seen.own.parked = self.target.parked.all;
        drop(seen);
        Ok(())
    }

    fn discard_parked(&mut self) -> Result<()> {
        let (mut after, mut pending) = (Position::START, Pending::default());
        loop {
            let entries = entries_after(&self.target.generation.tree, after)?;
            let is_last = entries.is_empty();
            for entry in entries {
                after = Position::new(entry.key);
                for (_, record) in &entry.events {
                    pending.release(StreamId::new(&record.stream)?);
                }
                pending.leave(entry.key, Vec::new());
            }
            if is_last || !failpoint!("projection::discard_all_at_once") {
                let pending = std::mem::take(&mut pending);
                result_of(self.write(pending, self.place(), true))?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    pub(super) fn place(&self) -> Place {
        self.target.generation.place
    }

    pub(super) fn now(&self) -> Micros {
        self.log.now()
    }
}

/// The outcome of a step that no request interrupts.
fn result_of(step: Step) -> Result<()> {
    match step {
        Err(Interrupt::Fault(error)) => Err(error),
        Err(Interrupt::Closed) => Err(Error::new(ErrorKind::Closed, "the store is closed")),
        _ => Ok(()),
    }
}
