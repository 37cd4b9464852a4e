//! One error type, with a kind to match on and a message for people.
//!
//! Failures that a caller acts on have a type of their own, next to the operation that returns it (`AppendError`,
//! `ExecuteError`); everything else is an [`Error`]. The message of a conflict is in `log::commit::outcome`.

use crate::value::failpoint::failpoint;
use crate::value::shown;
use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of most calls of filmstrip.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error that the user's code returns from a projection, a read model, an upcaster or a process.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// The kind of an error, for a program to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A stream's version was not the expected one, or a condition did not hold; nothing was written.
    Conflict,
    /// The aggregate refused the command; nothing was written. The error's [source](std::error::Error::source) is the
    /// aggregate's own: [`ExecuteError`](crate::ExecuteError) shows how to get it.
    Rejected,
    /// The stream has never been written.
    StreamNotFound,
    /// An argument is invalid; nothing was written.
    InvalidInput,
    /// An argument is over a limit; the message names the limit and the value.
    TooLarge,
    /// A write or sync failed midway: the events may be durable or not. Reopen the store and read.
    OutcomeUnknown,
    /// The store accepts no writes after an earlier failure; reads continue. Reopen it.
    ReadOnly,
    /// Bytes on disk are not what was written; the message names file and offset.
    Corrupt,
    /// Another handle, here or in another process, has the store open for writing.
    Locked,
    /// The store was written in a format that this version does not know.
    UnsupportedFormat,
    /// There is no space left for the journal to grow; nothing was written.
    StorageFull,
    /// The operating system failed a read, a write or a directory operation.
    Io,
    /// The directory of the store was renamed, removed or replaced while the store was open; the message
    /// names its path. Nothing was written, and nothing was changed in what is at the path now.
    Moved,
    /// The time given for waiting has passed.
    Timeout,
    /// The store, or the subscription, has been closed.
    Closed,
    /// A projection or read model has stopped at an error, and its status holds the cause; or a copy has, and the cause
    /// is its source.
    Faulted,
    /// A command's deadline passed before its turn came; it did not run.
    Expired,
    /// The user's code panicked.
    Panicked,
    /// A bounded queue has no room.
    QueueFull,
    /// Something with this name is running already.
    AlreadyRunning,
    /// A stored event's type is not in the event set that it was decoded as.
    UnknownEventType,
    /// A type cannot serve as an event set; the message says why.
    NotAnEventSet,
    /// A stored event, or a row of a view, does not decode as the type that was asked for: its content is not what the
    /// type expects, or an upcaster refuses it.
    Undecodable,
    /// A stored event's schema version is above the one that this program knows.
    NewerSchema,
    /// This consumer has already ingested this position.
    AlreadyTracked,
    /// What is at the path now is not what was opened there: another store, another history of the same
    /// store, or nothing. Open it again.
    Replaced,
    /// The call would wait for something that the calling code itself blocks: it was made from within a clock, or from
    /// within a read of a view. The message names both.
    WouldDeadlock,
    /// Within a transaction: it has run before, and its closure must return. The caller gets what was recorded then.
    AlreadyExecuted,
    /// This process was forked from the one that opened the store, and cannot use it.
    Forked,
    /// What events are sent to cannot be reached, or takes none at the moment. It is tried again.
    Unavailable,
    /// What events are sent to may not get them: it does not have the settings that were asked for, or holds something
    /// else. The message says what was found and what is allowed.
    Refused,
    /// The store is a replica: it takes what its source has, and no commits. Commit to the source; or make this store
    /// accept commits, by [`Store::promote`](crate::Store::promote).
    Replica,
    /// A replica and its source have different histories. The message has a position and both hashes.
    Diverged,
    /// The data subject was forgotten: its keys were destroyed, and no new one was asked for. Only with the feature
    /// `erasure`.
    #[cfg(feature = "erasure")]
    Erased,
    /// The key service, or what gives the key-encrypting key, failed; its error is the source. Only with the feature
    /// `erasure`.
    #[cfg(feature = "erasure")]
    KeysUnavailable,
}

/// The place of damage on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The damaged file.
    #[serde(serialize_with = "shown::path")]
    pub file: PathBuf,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// The first event position that may be affected, where it is known.
    pub position: Option<u64>,
}

/// Any failure of the store. Cloning is cheap, because all callers of a failed group get it.
///
/// serde writes it with the fields `kind` (such as `"storage_full"`), `message` and `damage`, which is null unless the
/// kind is `Corrupt`.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    damage: Option<Damage>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Returns the kind of the failure.
    ///
    /// ```
    /// # use filmstrip::{ErrorKind, StreamId};
    /// let error = StreamId::new("").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the place of the damage, if the kind is [`ErrorKind::Corrupt`].
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.0.damage.as_ref()
    }

    /// The error that an implementation of [`Keys`](crate::erasure::Keys) returns if its key service fails, with the
    /// kind [`ErrorKind::KeysUnavailable`]. The message and those of its sources may be logged, and must hold no part
    /// of a key.
    #[cfg(feature = "erasure")]
    #[must_use]
    pub fn keys_unavailable(source: impl Into<HandlerError>) -> Error {
        let source = source.into();
        let message = format!("the keys cannot be had: {source}");
        Error::with_source(ErrorKind::KeysUnavailable, message, source)
    }

    /// The error that an implementation of [`Keys`](crate::erasure::Keys) returns for a key of a data subject that was
    /// forgotten, with the kind [`ErrorKind::Erased`].
    #[cfg(feature = "erasure")]
    #[must_use]
    pub fn forgotten(subject: &str) -> Error {
        let message = format!(
            "the subject {subject:?} was forgotten; only `renew` gives it a key again, for new events"
        );
        Error::new(ErrorKind::Erased, message)
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::build(kind, message.into(), None, None)
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::build(kind, message.into(), None, Some(source.into()))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// `what` is `met` long; at most `allowed` are allowed.
    pub(crate) fn too_large(what: &str, met: usize, allowed: usize, unit: &str) -> Error {
        let message = format!("{what} is {met} {unit}; at most {allowed} are allowed");
        Error::new(ErrorKind::TooLarge, message)
    }

    /// A failed system call on `path`. A full disk has a kind of its own.
    pub(crate) fn io(action: &str, path: &Path, source: std::io::Error) -> Error {
        if let Some(reason) = Unfit::within(&source) {
            return Error::corrupt(path, 0, None, reason);
        }
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::StorageFull
            }
            _ if Moved::is_within(&source) => ErrorKind::Moved,
            _ => ErrorKind::Io,
        };
        let message = format!("cannot {action} {}: {source}", path.display());
        Error::with_source(kind, message, source)
    }

    /// Damage in `file` at `offset`, perhaps affecting events from `position` on.
    pub(crate) fn corrupt(
        file: &Path,
        offset: u64,
        position: Option<u64>,
        what: impl fmt::Display,
    ) -> Error {
        let at = position.map(|p| format!(", position {p}")).unwrap_or_default();
        let message = format!("{} is damaged at byte {offset}{at}: {what}", file.display());
        let damage = Damage { file: file.to_owned(), offset, position };
        Error::build(ErrorKind::Corrupt, message, Some(damage), None)
    }

    /// The error for what a newer version wrote at `offset` of `file`.
    pub(crate) fn newer(
        file: &Path,
        offset: u64,
        position: Option<u64>,
        what: impl fmt::Display,
    ) -> Error {
        let at = position.map(|p| format!(", position {p}")).unwrap_or_default();
        let file = file.display();
        let message = format!(
            "{file} holds at byte {offset}{at} {what}: a newer version of filmstrip wrote it"
        );
        Error::new(ErrorKind::UnsupportedFormat, message)
    }

    /// Whether the system ran out of memory or descriptors, which says nothing about a file.
    pub(crate) fn is_exhaustion(&self) -> bool {
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            if cause.downcast_ref().is_some_and(is_exhaustion) {
                return true;
            }
            source = cause.source();
        }
        false
    }

    /// Whether something cannot be read although the system did not run out of anything.
    pub(crate) fn is_unreadable(&self) -> bool {
        match self.kind() {
            ErrorKind::Corrupt => true,
            ErrorKind::Io => !self.is_exhaustion(),
            _ => false,
        }
    }

    fn build(
        kind: ErrorKind,
        message: String,
        damage: Option<Damage>,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error(Arc::new(Inner { kind, message, damage, source }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            kind: ErrorKind,
            message: &'a str,
            damage: Option<&'a Damage>,
        }
        let Inner { kind, message, damage, .. } = &*self.0;
        Shown { kind: *kind, message, damage: damage.as_ref() }.serialize(to)
    }
}

/// An error as the field `error`.
pub(crate) fn under_error<S: Serializer>(error: &Error, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        error: &'a Error,
    }
    Shown { error }.serialize(to)
}

/// Whether a system call failed because the system ran out of memory or descriptors.
pub(crate) fn is_exhaustion(error: &std::io::Error) -> bool {
    /// ENFILE and EMFILE on every Unix; they have no kind of their own.
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    error.kind() == std::io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

/// Why a system call was not made: its path no longer leads to what it was opened as.
#[derive(Debug)]
pub(crate) struct Moved(String);

impl Moved {
    /// Whether `error` is this.
    pub(crate) fn is_within(error: &std::io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Moved>())
    }

    /// The directory `path` is not the one that is held.
    pub(crate) fn from_path(path: &Path) -> Moved {
        let path = path.display();
        Moved(format!("the directory {path} was renamed, removed or replaced while it was in use"))
    }

    /// The file `path` is no longer in its directory.
    pub(crate) fn removed(path: &Path) -> Moved {
        Moved(format!("the file {} was renamed or removed while it was in use", path.display()))
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Moved {}

/// Why a file is not read, inside an [`std::io::Error`]: it is not a regular file, or longer than one can be.
#[derive(Debug)]
pub(crate) struct Unfit(pub(crate) String);

impl Unfit {
    /// What `error` says of this, if it does.
    pub(crate) fn within(error: &std::io::Error) -> Option<&Unfit> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// The message of a panic in the application's code, or a library's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Calls `call`, which may panic. The panic's payload is dropped here, and a second panic during that drop is caught
/// too: it would end the thread that has just survived the first one.
pub(crate) fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let message = panic_message(&*payload);
        if failpoint!("error::drop_payload_bare") {
            drop(payload);
            return Panicked(message);
        }
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // One whose destructor panics is not dropped a second time.
            std::mem::forget(again);
        }
        Panicked(message)
    })
}

/// A value of the application's whose destructor may panic. That is caught: the thread that drops it goes on.
#[derive(Debug, Clone)]
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Contained<T> {
        Contained(Some(value))
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> DerefMut for Contained<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if failpoint!("error::drop_state_bare") {
            return drop(value);
        }
        let _ = catch(|| drop(value));
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any("once more");
        }
    }

    /// A panic whose payload panics when it is dropped ended the thread that had caught it: all writers then
    /// waited for ever for a leader that was gone, and the tickets of a bus were never answered.
    #[test]
    fn a_payload_that_panics_when_it_is_dropped_ends_nothing_further() {
        let caught = catch(|| std::panic::panic_any(Bomb)).unwrap_err();
        assert_eq!(caught.to_string(), "a panic without a message");
        assert_eq!(catch(|| panic!("{}", 7)).unwrap_err().to_string(), "7");
        assert_eq!(catch(|| 7), Ok(7));
    }
}
