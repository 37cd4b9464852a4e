//! One verification of the store at a time, and what the last one found.

use filmstrip::chrono::{DateTime, Utc};
use filmstrip::repair::Verification;
use filmstrip::{Position, Store};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Default)]
pub(crate) struct Verifying(Arc<Mutex<State>>);

#[derive(Clone, Default)]
pub(crate) enum State {
    #[default]
    Never,
    Running {
        since: DateTime<Utc>,
        /// The position up to which everything was read, and the head when it began.
        reached: Position,
        head: Position,
    },
    Done {
        at: DateTime<Utc>,
        /// The result, or why there is none.
        result: Result<Box<Verification>, String>,
    },
}

impl Verifying {
    pub(crate) fn state(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a verification on a thread of its own, unless one runs.
    pub(crate) fn begin(&self, store: &Store) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Running { .. }) {
            return;
        }
        let head = store.head();
        *state = State::Running { since: Utc::now(), reached: Position::START, head };
        drop(state);
        let (store, verifying) = (store.clone(), self.clone());
        tokio::task::spawn_blocking(move || {
            let result = store.verify_with(|progress| verifying.report(progress.position));
            let result = result.map(Box::new).map_err(|error| error.to_string());
            *verifying.0.lock().unwrap_or_else(PoisonError::into_inner) =
                State::Done { at: Utc::now(), result };
        });
    }

    fn report(&self, position: Position) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running { reached, .. } = &mut *state {
            *reached = position;
        }
    }
}
