//! Why a command ended without what it was asked for.

use std::fmt::Display;
use std::io;
use std::path::Path;

/// The end of a command that is not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The answer is no, and was printed.
    No,
    /// The input is bad, or the store cannot be used: what was met and what is allowed, in one sentence.
    Bad(String),
    /// Nobody reads the output any more.
    Closed,
}

impl Fault {
    pub(crate) fn bad(message: impl Into<String>) -> Fault {
        Fault::Bad(message.into())
    }

    /// A failed system call on `path`.
    pub(crate) fn io(action: &str, path: &Path, error: &io::Error) -> Fault {
        Fault::Bad(format!("cannot {action} {}: {error}", path.display()))
    }

    /// The same fault, at this place of the input.
    pub(crate) fn at(self, place: impl Display) -> Fault {
        match self {
            Fault::Bad(message) => Fault::Bad(format!("{place}: {message}")),
            other => other,
        }
    }
}

impl From<filmstrip::Error> for Fault {
    fn from(error: filmstrip::Error) -> Fault {
        Fault::Bad(error.to_string())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::Closed,
            _ => Fault::Bad(format!("cannot write the output: {error}")),
        }
    }
}
