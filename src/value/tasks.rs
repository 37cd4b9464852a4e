//! Tasks that wait: for one value, or for something to change.
//!
//! * A waker is code of the executor's: it is cloned, woken and dropped without locks, and a panic of it goes no
//!   further.
//! * Without the feature `async` nobody waits here, and nothing of it is left.

#[cfg(feature = "async")]
#[allow(unused_imports, reason = "the models use a part of each file")]
pub(crate) use waiting::OnceSlot;

/// The tasks that wait for something to change.
#[derive(Default)]
pub(crate) struct Tasks {
    #[cfg(feature = "async")]
    waiting: std::collections::BTreeMap<u64, std::task::Waker>,
}

/// Tasks to wake, once no lock is held.
#[derive(Default)]
#[must_use = "tasks that are not woken wait for ever"]
pub(crate) struct Woken {
    #[cfg(feature = "async")]
    tasks: Vec<std::task::Waker>,
}

impl Tasks {
    /// Has `waker` woken by the next change. One that waits has a number of its own, and is here once. Returns what
    /// that replaces, to be dropped without the lock.
    #[cfg(feature = "async")]
    #[must_use = "a waker is dropped without the lock"]
    pub(crate) fn join(
        &mut self,
        number: u64,
        waker: std::task::Waker,
    ) -> Option<std::task::Waker> {
        self.waiting.insert(number, waker)
    }

    /// The one of this number no longer waits. Returns its waker, to be dropped without the lock.
    #[cfg(feature = "async")]
    #[must_use = "a waker is dropped without the lock"]
    pub(crate) fn leave(&mut self, number: u64) -> Option<std::task::Waker> {
        self.waiting.remove(&number)
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        #[cfg(feature = "async")]
        return self.waiting.is_empty();
        #[cfg(not(feature = "async"))]
        true
    }

    /// Something has changed.
    pub(crate) fn take(&mut self) -> Woken {
        Woken {
            #[cfg(feature = "async")]
            tasks: std::mem::take(&mut self.waiting).into_values().collect(),
        }
    }
}

impl Woken {
    /// Wakes these, too.
    pub(crate) fn add(&mut self, more: Woken) {
        #[cfg(feature = "async")]
        {
            let mut more = more;
            self.tasks.append(&mut more.tasks);
        }
        #[cfg(not(feature = "async"))]
        let Woken {} = more;
    }

    pub(crate) fn is_empty(&self) -> bool {
        #[cfg(feature = "async")]
        return self.tasks.is_empty();
        #[cfg(not(feature = "async"))]
        true
    }

    /// Wakes them.
    pub(crate) fn wake(self) {
        // When it is dropped.
    }
}

/// So that they are woken after an error or a panic, too. Make it before the lock is taken.
#[cfg(feature = "async")]
impl Drop for Woken {
    fn drop(&mut self) {
        for task in std::mem::take(&mut self.tasks) {
            let _ = crate::value::error::catch(|| task.wake());
        }
    }
}

#[cfg(feature = "async")]
mod waiting {
    use crate::value::error::catch;
    use parking_lot::Mutex;
    use std::mem;
    use std::task::{Poll, Waker};

    /// One value that a task waits for.
    pub(crate) struct OnceSlot<T>(Mutex<Slot<T>>);

    enum Slot<T> {
        Waiting(Waker),
        Full(T),
        /// The value was taken, or nobody waits for it any more.
        Left,
    }

    impl<T> OnceSlot<T> {
        /// An empty slot, whose task is woken by `waker`.
        pub(crate) fn new(waker: Waker) -> OnceSlot<T> {
            OnceSlot(Mutex::new(Slot::Waiting(waker)))
        }

        /// Puts the value in and wakes the task. Does nothing after the first call.
        pub(crate) fn put(&self, value: T) {
            let mut slot = self.0.lock();
            let before = match *slot {
                Slot::Waiting(_) => mem::replace(&mut *slot, Slot::Full(value)),
                _ => Slot::Full(value),
            };
            drop(slot);
            if let Slot::Waiting(waker) = before {
                let _ = catch(|| waker.wake());
            }
        }

        /// Takes the value; or has `waker` woken when it is there.
        pub(crate) fn poll(&self, waker: &Waker) -> Poll<T> {
            let polled = Slot::Waiting(waker.clone());
            let mut slot = self.0.lock();
            let before = match *slot {
                Slot::Waiting(_) => mem::replace(&mut *slot, polled),
                _ => mem::replace(&mut *slot, Slot::Left),
            };
            drop(slot);
            match before {
                Slot::Full(value) => Poll::Ready(value),
                _ => Poll::Pending,
            }
        }

        /// Nobody waits any more.
        pub(crate) fn leave(&self) {
            let mut slot = self.0.lock();
            let before = mem::replace(&mut *slot, Slot::Left);
            drop(slot);
            drop(before);
        }
    }
}
