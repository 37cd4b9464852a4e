//! Telling a process from one that was forked from it.
//!
//! * A forked process has a copy of the memory, one thread, and the open files of its parent. It has none of the
//!   engine's threads, so a wait for one of them would never end; a lock that another thread held at the fork stays
//!   locked; and what it appended would be where the parent appends, too.
//! * So a handle belongs to the process that opened its store. In another process, each call returns an error before it
//!   takes a lock, and dropping a handle leaks everything whose drop would wait, write, unlock or remove something.
//! * `getpid` is a system call. It is made once for each commit or read, not for each event.

use crate::value::error::{Error, ErrorKind, Result};
use std::ops::Deref;

/// The process that something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(u32);

impl Owner {
    /// The current process.
    pub(crate) fn this_process() -> Owner {
        Owner(std::process::id())
    }

    /// Whether the current process is the owner, and not one that was forked from it.
    pub(crate) fn is_this_process(self) -> bool {
        std::process::id() == self.0
    }

    /// Refuses a process that was forked from the owner.
    ///
    /// # Errors
    /// `Forked`.
    pub(crate) fn check(self) -> Result<()> {
        let here = std::process::id();
        if here == self.0 {
            return Ok(());
        }
        let owner = self.0;
        let message = format!(
            "this store was opened by process {owner}; this is process {here}: a store cannot be used after fork"
        );
        Err(Error::new(ErrorKind::Forked, message))
    }
}

/// A value that is dropped only by the process that made it; in a process forked from it, it is leaked.
pub(crate) struct Owned<T> {
    /// `None` only while it is being dropped.
    value: Option<T>,
    owner: Owner,
}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Owned<T> {
        Owned { value: Some(value), owner: Owner::this_process() }
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only dropping takes it")
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.owner.is_this_process() {
            std::mem::forget(self.value.take());
        }
    }
}

#[cfg(test)]
impl Owner {
    /// Another process than this one.
    pub(crate) fn another_process() -> Owner {
        Owner(std::process::id() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_its_owner_uses_and_drops_a_thing() {
        assert!(Owner::this_process().is_this_process());
        Owner::this_process().check().unwrap();
        let error = Owner::another_process().check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forked);
        let (here, message) = (std::process::id(), error.to_string());
        assert!(
            message.contains(&format!("opened by process {}; this is process {here}", here + 1))
        );
        let thing = Arc::new(());
        drop(Owned::new(Arc::clone(&thing)));
        assert_eq!(Arc::strong_count(&thing), 1);
        drop(Owned { value: Some(Arc::clone(&thing)), owner: Owner::another_process() });
        assert_eq!(Arc::strong_count(&thing), 2, "it was dropped in a forked process");
    }
}
