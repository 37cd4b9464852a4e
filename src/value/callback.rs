//! Application code that runs while the engine holds something, and what it must not wait for.
//!
//! A [`Clock`](crate::value::clock::Clock) is asked, and a `tracing` listener is called, while a group of commits is
//! led; a view is read under the lock that its projector writes under. A call from there that waits for what its own
//! thread blocks would wait for ever, so it is refused.

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use std::cell::Cell;

/// What a thread holds while it runs the application's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// The thread reads the clock, or leads a group of commits: no commit ends meanwhile.
    Commits,
    /// The thread reads a view or a read model: nothing is written to it meanwhile.
    View,
}

thread_local! {
    static COMMITS: Cell<u32> = const { Cell::new(0) };
    static VIEWS: Cell<u32> = const { Cell::new(0) };
}

impl Holding {
    fn count(self) -> &'static std::thread::LocalKey<Cell<u32>> {
        match self {
            Holding::Commits => &COMMITS,
            Holding::View => &VIEWS,
        }
    }

    /// This thread holds it until the guard is dropped.
    pub(crate) fn begin(self) -> Held {
        self.count().set(self.count().get() + 1);
        Held(self)
    }

    /// Whether this thread holds it.
    pub(crate) fn is_held(self) -> bool {
        self.count().get() > 0
    }
}

/// Until it is dropped, this thread holds something.
pub(crate) struct Held(Holding);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.count().set(self.0.count().get() - 1);
    }
}

/// Refuses `call`, which waits for commits.
pub(crate) fn refuse_if_commits_wait(call: &str) -> Result<()> {
    match Holding::Commits.is_held() {
        true => Err(would_deadlock(call, "a clock or a listener of `tracing`")),
        false => Ok(()),
    }
}

/// Refuses `call`, which waits for threads of the engine, or for everything in progress.
pub(crate) fn refuse_if_anything_waits(call: &str) -> Result<()> {
    refuse_if_commits_wait(call)?;
    match Holding::View.is_held() && !failpoint!("callback::close_within_a_read") {
        true => Err(would_deadlock(call, "a read of a view or of a read model")),
        false => Ok(()),
    }
}

/// Whether this thread holds anything.
pub(crate) fn holds_anything() -> bool {
    Holding::Commits.is_held() || Holding::View.is_held()
}

/// Calls `f`, which waits for what may be held while the clock is read: on a thread of its own if this thread runs the
/// clock, or leads a group of commits.
pub(crate) fn apart(f: impl FnOnce() + Send + 'static) {
    if !Holding::Commits.is_held() {
        return f();
    }
    let thread = std::thread::Builder::new().name("filmstrip-leave".to_owned());
    if let Err(error) = thread.spawn(f) {
        tracing::error!(%error, "a consumer could not be released from within a callback");
    }
}

fn would_deadlock(call: &str, within: &str) -> Error {
    let message = format!("{call} was called from within {within}, and would wait for it for ever");
    Error::new(ErrorKind::WouldDeadlock, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_holds_refuses_what_waits_for_it_on_that_thread_alone() {
        let view = Holding::View.begin();
        refuse_if_commits_wait("append").unwrap();
        let error = refuse_if_anything_waits("close").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldDeadlock);
        assert!(error.to_string().contains("close was called from within a read"), "{error}");
        std::thread::scope(|scope| {
            scope.spawn(|| refuse_if_anything_waits("close").unwrap());
        });
        let commits = (Holding::Commits.begin(), Holding::Commits.begin());
        drop((view, commits.0));
        assert!(holds_anything() && refuse_if_commits_wait("append").is_err());
        drop(commits.1);
        assert!(!holds_anything());
    }
}
