//! The handles that keep a log open.
//!
//! * Everything that a user holds (a store, a subscription, an iterator) holds a `LogHandle`; threads of the engine
//!   hold only the log. So the log closes when the user has dropped all of them.

use crate::log::core::Log;
use crate::log::engine::Engine;
use crate::value::callback;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use parking_lot::Mutex;
use std::any::Any;
use std::sync::{Arc, Weak};

/// A handle to an open log. Dropping the last one closes the log.
#[derive(Clone)]
pub(crate) struct LogHandle(Arc<Share>);

struct Share {
    engine: Arc<Engine>,
    /// Guards that are dropped right after the log has closed: the lock, a temporary directory.
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

/// A handle for a thread that uses the log now and then. It does not keep the log open.
#[derive(Clone)]
pub(crate) struct WeakLogHandle(Weak<Share>);

impl WeakLogHandle {
    /// Returns a handle, to be held briefly.
    ///
    /// # Errors
    /// `Closed`, if the user has dropped all handles.
    pub(crate) fn upgrade(&self) -> Result<LogHandle> {
        let share = self.0.upgrade();
        share.map(LogHandle).ok_or_else(|| Error::new(ErrorKind::Closed, "the store is closed"))
    }
}

impl Share {
    /// Only the first call does anything. Later calls wait for it, because only then can the store be opened again;
    /// but a thread that the first call joins returns at once.
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
            // Dropping the engine would wait for threads and write. Forget it; only this process's copy of the lock
            // is released.
            std::mem::forget(Arc::clone(&self.engine));
            return;
        }
        if callback::holds_anything() && !failpoint!("callback::close_where_dropped") {
            // Closing joins threads that may be waiting for this one.
            return self.close_elsewhere();
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store could not be closed cleanly");
        }
    }
}
