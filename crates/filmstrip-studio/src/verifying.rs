//! One verification of the store at a time, and what the last one found.

use filmstrip::Store;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::repair::Verification;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Default)]
pub(crate) struct Verifying(Arc<Mutex<State>>);

#[derive(Clone, Default)]
pub(crate) enum State {
    #[default]
    Never,
    Since(DateTime<Utc>),
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
        if matches!(*state, State::Since(_)) {
            return;
        }
        *state = State::Since(Utc::now());
        drop(state);
        let (store, verifying) = (store.clone(), self.clone());
        tokio::task::spawn_blocking(move || {
            let result = store.verify().map(Box::new).map_err(|error| error.to_string());
            *verifying.0.lock().unwrap_or_else(PoisonError::into_inner) =
                State::Done { at: Utc::now(), result };
        });
    }
}
