//! What keeps a log open.
//!
//! * Whatever a user holds (a store, a subscription, an iterator) holds a `LogHandle`; threads of
//!   the engine hold the log alone. So the log closes when the user has let go of everything.

use crate::log::core::Log;
use crate::log::engine::Engine;
use crate::value::callback;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use parking_lot::Mutex;
use std::any::Any;
use std::sync::{Arc, Weak};

/// A share in an open log; the last one closes it.
#[derive(Clone)]
pub(crate) struct LogHandle(Arc<Share>);

struct Share {
    engine: Arc<Engine>,
    /// What must outlive the log and no more: the lock, a temporary directory.
    belongings: Mutex<Option<Box<dyn Any + Send>>>,
}

impl LogHandle {
    pub(crate) fn new(engine: Engine, belongings: Box<dyn Any + Send>) -> LogHandle {
        let engine = Arc::new(engine);
        LogHandle(Arc::new(Share { engine, belongings: Mutex::new(Some(belongings)) }))
    }

    /// The log, for a thread of the engine that reads.
    pub(crate) fn log(&self) -> &Arc<Log> {
        self.0.engine.log()
    }

    /// The engine, for a thread of its own that also commits.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0.engine
    }

    /// Closes the log for every handle.
    pub(crate) fn close(&self) -> Result<()> {
        self.0.close()
    }

    /// A handle that does not keep the log open.
    pub(crate) fn downgrade(&self) -> WeakLogHandle {
        WeakLogHandle(Arc::downgrade(&self.0))
    }
}

/// What a thread of an engine holds of a log that it uses at times: it keeps nothing open meanwhile.
#[derive(Clone)]
pub(crate) struct WeakLogHandle(Weak<Share>);

impl WeakLogHandle {
    /// A share in the log for a moment.
    ///
    /// # Errors
    /// `Closed`, if the user has let go of it.
    pub(crate) fn upgrade(&self) -> Result<LogHandle> {
        let share = self.0.upgrade();
        share.map(LogHandle).ok_or_else(|| Error::new(ErrorKind::Closed, "the store is closed"))
    }
}

impl Share {
    /// Only the first call does anything; another waits until it has, and only then is the store free for
    /// the next opening. A thread that the first call joins cannot wait for it.
    fn close(&self) -> Result<()> {
        self.engine.log().owner.check()?;
        callback::refuse_if_anything_waits("close")?;
        let mut belongings = match self.belongings.try_lock() {
            Some(belongings) => belongings,
            None if Log::is_own_thread() => return Ok(()),
            None => self.belongings.lock(),
        };
        let closed = self.engine.close();
        belongings.take();
        closed
    }
}

impl Share {
    /// Closes on a thread of its own.
    fn close_elsewhere(&mut self) {
        let (engine, belongings) = (Arc::clone(&self.engine), self.belongings.get_mut().take());
        let close = move || {
            let closed = engine.close();
            drop(belongings);
            if let Err(error) = closed {
                tracing::error!(%error, "the store could not be closed cleanly");
            }
        };
        let closing = std::thread::Builder::new().name("filmstrip-close".to_owned()).spawn(close);
        if let Err(error) = closing {
            tracing::error!(%error, "the store could not be closed from within a callback");
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if !self.engine.log().owner.is_this_process() {
            // What it holds waits for threads and writes when it is dropped. All that is let go of is this
            // process's own copy of the lock.
            std::mem::forget(Arc::clone(&self.engine));
            return;
        }
        if callback::holds_anything() && !failpoint!("callback::close_where_dropped") {
            // The threads that closing joins may wait for this one.
            return self.close_elsewhere();
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store could not be closed cleanly");
        }
    }
}
