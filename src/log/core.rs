//! The log as readers see it: the journal, its index, the tail between them, and the head.

use crate::codec::state::StreamState;
use crate::journal::read::Journal;
use crate::journal::torn::TornWrite;
use crate::log::indexer::managed::IndexSlot;
use crate::log::indexer::signal::Control;
use crate::log::interest::Interest;
#[cfg(feature = "erasure")]
use crate::log::privacy::state::Privacy;
use crate::log::tail::Tail;
use crate::log::tail::head::Head;
use crate::telemetry::Observers;
#[cfg(feature = "async")]
use crate::telemetry::context;
use crate::telemetry::counters::Counters;
use crate::value::clock::{AskedClock, Clock, ClockWaiter, Micros};
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::{CLOCK_BEHIND_MAX, RECORDS_PAGE};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The readable log, and the threads that read it. Only `log::commit::group` makes new events visible.
pub(crate) struct Log {
    /// The process that opened the log; no other process may use it.
    pub(crate) owner: Owner,
    pub(crate) journal: Arc<Journal>,
    pub(crate) index: IndexSlot,
    pub(crate) tail: Tail,
    pub(crate) head: Head,
    /// What the live followers want.
    pub(crate) interest: Interest,
    pub(crate) counters: Counters,
    pub(crate) observers: Observers,
    #[cfg(feature = "erasure")]
    pub(crate) privacy: Privacy,
    clock: Box<dyn Clock>,
    pub(crate) indexer: Control,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closers: Mutex<Vec<Weak<Closer>>>,
    closing: (Mutex<Option<Sender<()>>>, Receiver<()>),
    torn: Option<TornWrite>,
    /// Whether the last message about the clock said that it lags.
    is_clock_behind: AtomicBool,
}

/// Wakes threads, so that they end: what is called when the log closes, before its threads are joined.
pub(crate) type Closer = dyn Fn() + Send + Sync;

/// Where the journal is in a store's directory.
pub(crate) fn journal_directory(store_directory: &Path) -> PathBuf {
    store_directory.join("journal")
}

thread_local! {
    static IS_OWN_THREAD: Cell<bool> = const { Cell::new(false) };
    /// Set by the threads of the pool.
    static SERVES_TASKS: Cell<bool> = const { Cell::new(false) };
    /// The address of the log whose clock this thread is reading.
    static CLOCK_ASKED: Cell<usize> = const { Cell::new(0) };
    /// A log's address, and the time that this thread uses instead of that log's clock.
    static TIME_TAKEN: Cell<Option<(usize, Micros)>> = const { Cell::new(None) };
}

/// Restores the thread's earlier `TIME_TAKEN` when it is dropped.
struct TimeBefore(Option<(usize, Micros)>);

impl Drop for TimeBefore {
    fn drop(&mut self) {
        TIME_TAKEN.set(self.0);
    }
}

fn behind(now: Micros, last: Micros) -> Duration {
    Duration::from_micros(last.0.saturating_sub(now.0).try_into().unwrap_or(0))
}

impl Log {
    pub(crate) fn new(
        journal: Arc<Journal>,
        index: IndexSlot,
        tail: Tail,
        head: Head,
        clock: Box<dyn Clock>,
        torn: Option<TornWrite>,
    ) -> Log {
        let (closing, closed) = bounded(0);
        Log {
            owner: Owner::this_process(),
            journal,
            index,
            tail,
            head,
            interest: Interest::default(),
            counters: Counters::default(),
            observers: Observers::default(),
            #[cfg(feature = "erasure")]
            privacy: Privacy::default(),
            clock: Box::new(AskedClock(clock)),
            indexer: Control::default(),
            threads: Mutex::new(Vec::new()),
            closers: Mutex::new(Vec::new()),
            closing: (Mutex::new(Some(closing)), closed),
            torn,
            is_clock_behind: AtomicBool::new(false),
        }
    }

    /// The same log, which tells `observers` what it does.
    pub(crate) fn observed_by(self, observers: Observers) -> Log {
        Log { observers, ..self }
    }

    /// The same log, with what is known of its private events.
    #[cfg(feature = "erasure")]
    pub(crate) fn with_privacy(self, privacy: Privacy) -> Log {
        Log { privacy, ..self }
    }

    /// `event`, which was read some time ago, as it would be read now. What holds events calls this when it hands one
    /// out.
    #[inline]
    pub(crate) fn as_of_now(&self, event: RecordedEvent) -> RecordedEvent {
        #[cfg(feature = "erasure")]
        let event = self.unless_forgotten(event);
        event
    }

    /// Runs `work` on a thread of the engine. Closing the log joins the thread.
    pub(crate) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        self.owner.check()?;
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        let work = || {
            IS_OWN_THREAD.set(true);
            // The payload of a panic may itself panic when it is dropped, so it must not reach the joining thread.
            let _ = catch(work);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = thread.map_err(|e| {
            Error::with_source(ErrorKind::Io, format!("cannot start the thread {name}: {e}"), e)
        })?;
        threads.push(thread);
        Ok(())
    }

    /// Whether the current thread is an engine thread, which is joined when its log closes.
    pub(crate) fn is_own_thread() -> bool {
        IS_OWN_THREAD.get()
    }

    /// Whether the current thread does the work of tasks, and belongs to no follower.
    pub(crate) fn is_pool_thread() -> bool {
        SERVES_TASKS.get()
    }

    /// From now on the current thread does the work of tasks.
    #[cfg(feature = "async")]
    pub(crate) fn serve_tasks() {
        SERVES_TASKS.set(true);
        context::serve_many();
    }

    /// A channel that closing the log disconnects, for threads that wait in a `select!`.
    pub(crate) fn closing(&self) -> Receiver<()> {
        self.closing.1.clone()
    }

    /// Calls `closer` when the log closes, if it is still held by then: for threads that wait for something else than
    /// a channel, and whose owner may be the one who closes.
    pub(crate) fn when_closing(&self, closer: &Arc<Closer>) {
        let mut closers = self.closers.lock();
        closers.retain(|known| known.strong_count() > 0);
        closers.push(Arc::downgrade(closer));
    }

    /// Lets nobody wait for the head any more, lets the indexer come to its end, and joins the
    /// threads.
    pub(crate) fn end_threads(&self) {
        self.head.close();
        self.closing.0.lock().take();
        let closers = std::mem::take(&mut *self.closers.lock());
        closers.iter().filter_map(Weak::upgrade).for_each(|close| close());
        self.indexer.close();
        let here = std::thread::current().id();
        loop {
            let threads = std::mem::take(&mut *self.threads.lock());
            if threads.is_empty() {
                return;
            }
            // The last handle may be dropped on one of the engine's own threads, which cannot join itself.
            for thread in threads.into_iter().filter(|thread| thread.thread().id() != here) {
                let _ = thread.join();
            }
        }
    }

    /// The present time by the store's clock. The clock is the application's code, so call this without a lock and
    /// not within a commit. Within the clock itself, or if the clock panics, this is the time of the last commit.
    pub(crate) fn now(&self) -> Micros {
        self.ask_clock().unwrap_or_else(|error| {
            tracing::error!(%error, "the clock failed; the time of the last commit is used instead");
            self.head.time()
        })
    }

    /// Like `now`, but returns an error if the clock panics.
    pub(crate) fn ask_clock(&self) -> Result<Micros> {
        let address = std::ptr::from_ref(self).addr();
        if let Some((_, time)) = TIME_TAKEN.get().filter(|(of, _)| *of == address) {
            return Ok(time);
        }
        let before = CLOCK_ASKED.replace(address);
        if before == address {
            return Ok(self.head.time());
        }
        let asked = catch(|| Micros::of(self.clock.now()));
        CLOCK_ASKED.set(before);
        asked.map_err(|cause| {
            Error::new(ErrorKind::Panicked, format!("the store's clock panicked: {cause}"))
        })
    }

    /// Reads the clock once, then runs `work` with that time, so that `work` does not call the clock while it holds
    /// locks.
    pub(crate) fn at_one_time<T>(&self, work: impl FnOnce() -> T) -> T {
        if failpoint!("log::ask_clock_under_locks") {
            return work();
        }
        let time = (std::ptr::from_ref(self).addr(), self.now());
        let _before = TimeBefore(TIME_TAKEN.replace(Some(time)));
        work()
    }

    /// Returns a waiter that the clock notifies when it is set.
    pub(crate) fn watch_clock(&self) -> ClockWaiter {
        ClockWaiter::new(&*self.clock)
    }

    /// The torn write that was found when the log was opened.
    pub(crate) fn torn(&self) -> Option<&TornWrite> {
        self.torn.as_ref()
    }

    /// How far the clock lags behind the time of the last commit. The next commit gets that time.
    pub(crate) fn clock_behind(&self) -> Duration {
        behind(Micros::of(self.clock.now()), self.head.time())
    }

    /// Logs once that the clock's time `now` is far behind `last`, the time of the last commit, and once that it no
    /// longer is.
    pub(crate) fn note_clock(&self, now: Micros, last: Micros) {
        let is_behind = now < last
            && behind(now, last) > CLOCK_BEHIND_MAX
            && !failpoint!("log::clock_behind_untold");
        if self.is_clock_behind.load(Ordering::Relaxed) == is_behind {
            return;
        }
        self.is_clock_behind.store(is_behind, Ordering::Relaxed);
        let (now, last) = (now.to_utc(), last.to_utc());
        if is_behind {
            tracing::warn!(
                %now, %last,
                "the clock is behind the time of the last commit; commits get that time until the clock passes it"
            );
        } else {
            tracing::info!(%now, "the clock is no longer behind the time of the last commit");
        }
    }

    pub(crate) fn head_position(&self) -> Position {
        Position::new(self.head.position())
    }

    /// The state of a stream, or `None` if it was never written.
    pub(crate) fn stream_state(&self, stream: &StreamId) -> Result<Option<StreamState>> {
        match self.tail.find(stream) {
            Some((_, state)) => Ok((state.version != Version::NONE).then_some(state)),
            None => self.index.ask(|index| index.stream_state(stream)),
        }
    }

    /// The value of a record's key.
    pub(crate) fn record(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.tail.record(key) {
            Some(value) => Ok((!value.is_empty()).then_some(value)),
            None => self.index.ask(|index| index.record(key)),
        }
    }

    /// The values of all keys that begin with `prefix`, in the order of the keys.
    pub(crate) fn records_with_prefix(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        // The tail first: a record that leaves it in between is in the index by then.
        let newest = self.tail.records_with_prefix(prefix);
        let indexed = self.index.ask(|index| index.records_with_prefix(prefix))?;
        let mut records: BTreeMap<_, _> = indexed.into_iter().collect();
        records.extend(newest);
        records.retain(|_, value| !value.is_empty());
        Ok(records)
    }

    /// Shows `visit` what is kept under each key that begins with `prefix`, in no order. No more is held in memory at
    /// once than the tail holds, and a page.
    pub(crate) fn visit_records(
        &self,
        prefix: &str,
        mut visit: impl FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        // As above: the tail first.
        let newest: HashMap<_, _> = self.tail.records_with_prefix(prefix).into_iter().collect();
        for (key, value) in newest.iter().filter(|(_, value)| !value.is_empty()) {
            visit(key, value)?;
        }
        let mut after = prefix.to_owned();
        loop {
            let page = self.index.ask(|index| index.records_page(prefix, &after, RECORDS_PAGE))?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (key, value) in page.iter().filter(|(key, _)| !newest.contains_key(key)) {
                visit(key, value)?;
            }
        }
    }

    /// Returns an error if the log is closed, or if another process has opened it.
    pub(crate) fn refuse_if_closed(&self) -> Result<()> {
        self.owner.check()?;
        self.refuse_if_ended()
    }

    /// Like `refuse_if_closed`, for a caller that is known to be in the process that opened the log.
    pub(crate) fn refuse_if_ended(&self) -> Result<()> {
        match self.head.is_closed() {
            true => Err(Error::new(ErrorKind::Closed, "the store is closed")),
            false => Ok(()),
        }
    }
}
