//! A repository's turns: whose it is to decide on a stream, and what the one before hands on.

use crate::log::commit::promise::Promise;
use crate::log::commit::turns::{Outstanding, Turn};
use crate::log::handle::LogHandle;
use crate::model::repository::cache::{Known, Shared};
use crate::value::callback::Holding;
use crate::value::limits::TURN_WAIT_MAX;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use std::any::Any;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// The turn of a stream.
pub(crate) type StreamTurn = Turn<StreamId, Arc<dyn Any + Send + Sync>>;

/// What was handed on of a stream.
pub(super) type StreamOutstanding = Outstanding<StreamId, Arc<dyn Any + Send + Sync>>;

/// What a queued commit leads to in one stream.
pub(super) struct HandedOn<A> {
    /// The state with the commit's events; its position is not known yet.
    pub(super) known: Known<Shared<A>>,
    /// The commands in it that were not durable when it was decided.
    pub(super) pending: Vec<Pending>,
    /// The position of its last event, once that is durable.
    pub(super) position: OnceLock<Position>,
}

/// A command whose events are queued, and answered by the one at `version`.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) command: Uuid,
    pub(super) version: Version,
    pub(super) promise: Arc<Promise>,
}

/// Waits for the turn of `stream`. `None` if this thread has it, if it does not move, or if waiting could not end
/// because this thread is what others wait for.
pub(crate) fn take(log: &LogHandle, stream: &StreamId) -> Option<StreamTurn> {
    if Holding::Commits.is_held() {
        return None;
    }
    log.engine().turns().take(stream, this_thread(), TURN_WAIT_MAX)
}

/// The turn of `stream`, if nobody has it.
pub(crate) fn try_take(log: &LogHandle, stream: &StreamId) -> Option<StreamTurn> {
    if Holding::Commits.is_held() {
        return None;
    }
    log.engine().turns().try_take(stream, this_thread())
}

/// Tells threads apart: a thread's number is never given out again.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let number = NUMBER.get();
    if number > 0 {
        return number;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    number
}
