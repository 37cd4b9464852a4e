//! What a relay does: it opens its target, sends what the target lacks, and keeps track of what is confirmed.

use crate::follow::feed::{Feed, FeedStop};
use crate::log::engine::Engine;
use crate::log::read::event_cursor::EventCursor;
#[cfg(feature = "erasure")]
use crate::log::read::private::leaving_sealed;
use crate::model::relay::failure::RelayError;
use crate::model::relay::receipts::{Receipts, ReceiptsReader};
use crate::model::relay::status::{Own, Shown};
use crate::model::relay::target::{LastEvent, RelaySource, RelayTarget};
use crate::model::relay::window::Window;
use crate::model::worker::desk::{self, Desk, timer};
use crate::model::worker::{Answer, Work};
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::{RELAY_CONFIRM_WAIT_MAX, RELAY_IDLE_LOOK};
use crate::value::position::Position;
use crossbeam_channel::{Receiver, Sender, at, never, select_biased};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Interrupt = desk::Interrupt<Own>;
type Step<T = ()> = Result<T, Interrupt>;

/// What a relay sends, and how much at once.
pub(super) struct Settings {
    pub(super) filter: Filter,
    pub(super) source: RelaySource,
    /// Events that are under way at most.
    pub(super) window: usize,
}

pub(super) struct Runner<T> {
    engine: Arc<Engine>,
    target: T,
    settings: Settings,
    desk: Desk<Own, Shown>,
    /// The position up to which the target holds everything, or it is not wanted.
    position: Position,
    /// The last event that the target is known to hold.
    last: Position,
    /// Where the outcome of the first attempt to open the target goes.
    begun: Option<Sender<Result<()>>>,
}

/// An open target, and what is on its way to it.
struct Link {
    feed: Feed,
    receipts: ReceiptsReader,
    window: Window,
    /// Whether something was sent since the last flush.
    is_unflushed: bool,
}

impl<T: RelayTarget> Work for Runner<T> {
    type Own = Own;
    type Shown = Shown;

    fn position(&self) -> Position {
        self.position
    }

    fn follow(&mut self) -> Interrupt {
        match self.open() {
            Ok(mut link) => {
                let Err(interrupt) = self.send_over(&mut link);
                // What was confirmed until then counts.
                let (confirmed, _) = link.receipts.take();
                self.confirm(&mut link, confirmed);
                if let Some((reached, _)) = link.feed.reached(self.position) {
                    self.position = self.position.max(reached);
                }
                self.desk.shared.seen.lock().own.in_flight = 0;
                interrupt
            }
            Err(interrupt) => interrupt,
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Option<Interrupt> {
        self.desk.wait(&timer(timeout))
    }

    fn resume(&mut self) -> Result<Position> {
        Ok(self.position)
    }

    fn answer(&mut self, ask: Own, _: &Sender<Result<()>>, _: bool) -> Answer {
        match ask {}
    }

    fn failed(&mut self, error: &Error) {
        // The clock is the application's code, so not under a lock.
        let now = self.engine.log().now().to_utc();
        let mut seen = self.desk.shared.seen.lock();
        let is_first = seen.own.failing_since.is_none();
        seen.own.failing_since.get_or_insert(now);
        drop(seen);
        if is_first {
            tracing::warn!(relay = self.desk.shared.name, %error, "a relay does not get on");
        }
    }

    fn log_fault(&self, error: &Error) {
        tracing::error!(relay = self.desk.shared.name, %error, "a relay has stopped");
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl<T: RelayTarget> Runner<T> {
    pub(super) fn new(
        engine: Arc<Engine>,
        target: T,
        settings: Settings,
        desk: Desk<Own, Shown>,
        begun: Sender<Result<()>>,
    ) -> Runner<T> {
        let (position, last, begun) = (Position::START, Position::START, Some(begun));
        Runner { engine, target, settings, desk, position, last, begun }
    }

    /// Opens the target, and begins to read after what it holds.
    fn open(&mut self) -> Step<Link> {
        let (receipts, reader) = Receipts::new();
        let source = self.settings.source.clone();
        let opened = self
            .call(|target| target.open(&source, receipts))
            .and_then(|last| self.begin_after(last));
        if let Some(begun) = self.begun.take() {
            let outcome = match &opened {
                Err(error) if error.kind() != ErrorKind::Unavailable => Err(error.clone()),
                _ => Ok(()),
            };
            // The builder waits for it.
            let _ = begun.send(outcome);
        }
        opened?;
        let stop = FeedStop::new(Arc::clone(self.engine.log()));
        let after = match failpoint!("relay::resume_one_too_far") && self.position.get() > 0 {
            true => Position::new(self.position.get() + 1),
            false => self.position,
        };
        #[cfg(feature = "erasure")]
        let start = Feed::start_sealed;
        #[cfg(not(feature = "erasure"))]
        let start = Feed::start;
        let feed = start(&stop, "filmstrip-read", after, self.settings.filter.clone())?;
        self.desk.shared.progress.follow(&stop);
        let window = Window::new(self.settings.window, self.position);
        Ok(Link { feed, receipts: reader, window, is_unflushed: false })
    }

    /// Sets the position to that of the last event that the target holds, if it is an event of this store.
    fn begin_after(&mut self, last: Option<LastEvent>) -> Result<()> {
        let name = &self.desk.shared.name;
        let head = self.engine.log().head_position();
        let position = last.map_or(Position::START, |last| last.position);
        if position > head {
            return Err(self.ahead(position, head));
        }
        if let Some(LastEvent { position, id: Some(id) }) = last {
            let read = || EventCursor::new(self.engine.log()).event_at(position);
            // Its id is in clear, and a key service may be away.
            #[cfg(feature = "erasure")]
            let recorded = leaving_sealed(read)?.id;
            #[cfg(not(feature = "erasure"))]
            let recorded = read()?.id;
            if recorded != id && !failpoint!("relay::trust_any_history") {
                let message = format!(
                    "relay {name}: the target holds the event {id} of position {position}, but the store's is \
                     {recorded}; it was sent from another history"
                );
                return Err(Error::new(ErrorKind::Refused, message));
            }
        }
        if position < self.last {
            tracing::warn!(
                relay = name,
                held = position.get(),
                confirmed = self.last.get(),
                "a target has lost events that it had confirmed; they are sent again"
            );
            self.position = position;
        } else {
            // What is between the last event and the position is not wanted.
            self.position = self.position.max(position);
        }
        self.last = position;
        self.desk.shared.progress.restart(self.position);
        Ok(())
    }

    /// The error for a target that holds more than this store has: a replica may still get that.
    fn ahead(&self, held: Position, head: Position) -> Error {
        let name = &self.desk.shared.name;
        let (kind, why) = match self.engine.refuse_replica() {
            Err(_) => (ErrorKind::Unavailable, "this replica does not have that yet"),
            Ok(()) => (
                ErrorKind::Refused,
                "it was sent from a later state of this store, or from another store",
            ),
        };
        let message = format!(
            "relay {name}: the target holds an event of position {held}, but the store's head is {head}; {why}"
        );
        Error::new(kind, message)
    }

    /// Sends what there is and what comes, until something interrupts it.
    fn send_over(&mut self, link: &mut Link) -> Step<std::convert::Infallible> {
        let no_batches = never();
        loop {
            let (confirmed, failed) = link.receipts.take();
            self.confirm(link, confirmed);
            if let Some(error) = failed {
                return Err(self.error_of(error).into());
            }
            self.send(link)?;
            let timer = self.look_at_time(link)?;
            let batches = match link.window.is_all_sent() {
                true => link.feed.batches(),
                false => &no_batches,
            };
            // Requests come before what is sent, and the close of the store before requests.
            select_biased! {
                recv(self.desk.closed) -> _ => return Err(Interrupt::Closed),
                recv(self.desk.requests.channel()) -> request => {
                    return Err(request.map_or(Interrupt::Closed, Interrupt::Request));
                }
                recv(link.receipts.bell) -> _ => {}
                recv(batches) -> batch => match batch {
                    Ok(batch) => link.window.take(batch?),
                    Err(_) => return Err(Interrupt::Closed),
                },
                recv(timer) -> _ => {}
            }
        }
    }

    /// Sends the events for which there is room, and flushes if no more will follow at once.
    fn send(&mut self, link: &mut Link) -> Step {
        let events = link.window.sendable();
        if !events.is_empty() {
            let (count, sent) = (events.len(), self.call(|target| target.send(events)));
            // Also after an error: some of them may have been, and be confirmed.
            link.window.sent(count);
            link.is_unflushed = true;
            sent?;
        }
        self.show(link);
        let has_more = link.window.is_all_sent() && !link.feed.batches().is_empty();
        if link.is_unflushed && !has_more {
            self.call(RelayTarget::flush)?;
            link.is_unflushed = false;
        }
        Ok(())
    }

    /// Counts what is confirmed.
    fn confirm(&mut self, link: &mut Link, confirmed: Position) {
        if link.window.confirm(confirmed) {
            self.last = self.last.max(confirmed);
            self.show_that_it_works();
        }
        self.show(link);
    }

    fn show(&mut self, link: &Link) {
        self.position = self.position.max(link.window.position());
        self.desk.shared.seen.lock().own.in_flight = link.window.in_flight() as u64;
        self.desk.shared.progress.advance(self.position);
    }

    fn show_that_it_works(&self) {
        let mut seen = self.desk.shared.seen.lock();
        seen.retrying = None;
        let failing_since = seen.own.failing_since.take();
        drop(seen);
        if let Some(since) = failing_since {
            tracing::info!(relay = self.desk.shared.name, %since, "a relay gets on again");
        }
    }

    /// Ends an attempt in which nothing is confirmed for too long. Returns when to look again.
    fn look_at_time(&mut self, link: &Link) -> Step<Receiver<Instant>> {
        if let Some(since) = link.window.waits_since() {
            let deadline = since + RELAY_CONFIRM_WAIT_MAX;
            if Instant::now() < deadline {
                return Ok(at(deadline));
            }
            let cause = format!(
                "{} events are sent, and none was confirmed for {RELAY_CONFIRM_WAIT_MAX:?}",
                link.window.in_flight()
            );
            return Err(self.error_of(RelayError::outage(cause)).into());
        }
        if self.desk.shared.seen.lock().own.failing_since.is_none() {
            return Ok(never());
        }
        // The target is open again. If there is nothing to send, nothing will be confirmed.
        if self.desk.shared.progress.position() >= self.engine.log().head_position() {
            self.show_that_it_works();
            return Ok(never());
        }
        Ok(at(Instant::now() + RELAY_IDLE_LOOK))
    }

    /// Calls the target, which is not the engine's code.
    fn call<R>(&mut self, call: impl FnOnce(&mut T) -> Result<R, RelayError>) -> Result<R> {
        match catch(|| call(&mut self.target)) {
            Ok(done) => done.map_err(|error| self.error_of(error)),
            Err(panicked) => {
                let name = &self.desk.shared.name;
                let message = format!("relay {name}: its target panicked: {panicked}");
                Err(Error::new(ErrorKind::Panicked, message))
            }
        }
    }

    fn error_of(&self, error: RelayError) -> Error {
        let (kind, cause) = match error {
            RelayError::Outage(cause) => (ErrorKind::Unavailable, cause),
            RelayError::Refused(cause) => (ErrorKind::Refused, cause),
        };
        let message = format!("relay {}: {cause}", self.desk.shared.name);
        Error::with_source(kind, message, cause)
    }
}
