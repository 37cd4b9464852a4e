//! One command at a time for each stream, among the threads of one repository.
//!
//! Without these locks, commands on one hot aggregate would race, and all but one of each round would conflict. The
//! locks are advisory: a caller that has waited for `STREAM_LOCK_WAIT_MAX` continues without one, so a command that
//! executes another command on its own stream is delayed but not blocked. The append's expected version always
//! decides.

use crate::value::limits::STREAM_LOCK_WAIT_MAX;
use crate::value::stream::StreamId;
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// The number of shards. Releasing a lock wakes only the waiters in its shard. Mostly more than the threads that use
/// one repository at once; not measured.
const ROOMS: usize = 32;

pub(super) struct StreamLocks {
    rooms: Vec<Room>,
    hasher: RandomState,
}

#[derive(Default)]
struct Room {
    taken: Mutex<HashSet<StreamId>>,
    freed: Condvar,
}

/// The lock of a stream; dropping it releases the lock.
pub(super) struct StreamLock<'a> {
    /// The shard that holds the lock; `None` if the wait timed out.
    room: Option<&'a Room>,
    stream: StreamId,
}

impl StreamLocks {
    pub(super) fn new() -> StreamLocks {
        let rooms = (0..ROOMS).map(|_| Room::default()).collect();
        StreamLocks { rooms, hasher: RandomState::new() }
    }

    /// Waits for the lock of `stream`.
    pub(super) fn take(&self, stream: &StreamId) -> StreamLock<'_> {
        self.take_within(stream, STREAM_LOCK_WAIT_MAX)
    }

    fn take_within(&self, stream: &StreamId, patience: Duration) -> StreamLock<'_> {
        let room = &self.rooms[self.hasher.hash_one(stream) as usize % ROOMS];
        let deadline = Instant::now() + patience;
        let mut taken = room.taken.lock();
        while taken.contains(stream) {
            if room.freed.wait_until(&mut taken, deadline).timed_out() {
                return StreamLock { room: None, stream: stream.clone() };
            }
        }
        taken.insert(stream.clone());
        StreamLock { room: Some(room), stream: stream.clone() }
    }
}

impl Drop for StreamLock<'_> {
    fn drop(&mut self) {
        if let Some(room) = self.room {
            room.taken.lock().remove(&self.stream);
            room.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn stream(name: &str) -> StreamId {
        StreamId::new(name).unwrap()
    }

    #[test]
    fn a_stream_is_one_threads_turn_at_a_time() {
        let locks = StreamLocks::new();
        let (inside, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let _turn = locks.take(&stream("A-1"));
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        sum.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4_000);
    }

    #[test]
    fn other_streams_do_not_wait_and_patience_ends() {
        let locks = StreamLocks::new();
        let held = locks.take(&stream("A-1"));
        for n in 0..1_000 {
            locks.take(&stream(&format!("B-{n}")));
        }
        let late = locks.take_within(&stream("A-1"), Duration::from_millis(1));
        assert!(late.room.is_none(), "two have the turn");
        drop(late);
        let still_held = locks.take_within(&stream("A-1"), Duration::from_millis(1));
        assert!(still_held.room.is_none(), "who had no turn has ended another's");
        drop(held);
        let free = locks.take_within(&stream("A-1"), Duration::ZERO);
        assert!(free.room.is_some(), "the turn did not end");
    }
}
