//! Ids for events: UUIDs of version 7, which ascend within a thread.
//!
//! * Each thread has a generator of its own. With one generator behind a lock, two threads that made events took seven
//!   times as long for each id.
//! * The generator has no destructor, so it can be used as long as the thread runs, in the destructors of other
//!   thread-local values too. `rand`'s, which uuid's `fast-rng` uses, has one, and panics after it, which within a
//!   destructor aborts the process.

use crate::value::failpoint::failpoint;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The bits after the milliseconds: a counter that begins at a random value in each millisecond, and random bits.
const COUNTER_BITS: u32 = 42;
const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;

thread_local! {
    /// The millisecond and the counter of the last id.
    static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    /// Keys that the system gave at random, and how often they were used.
    static RANDOM: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// An id later than all that this thread was given before.
pub(super) fn new_id() -> Uuid {
    if failpoint!("event::id_of_rand") {
        return Uuid::now_v7();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let random = random();
    LAST.with(|last| {
        let at = next(last.get(), now, random);
        last.set(at);
        assemble(at, random)
    })
}

/// The place of the next id after `last`; half of the counter is left for more in this millisecond.
fn next(last: (u64, u64), now: u64, random: u128) -> (u64, u64) {
    let begin = ((random >> 32) as u64) & (COUNTER_MAX >> 1);
    match last {
        (millis, _) if now > millis => (now, begin),
        (millis, COUNTER_MAX) => (millis + 1, begin),
        (millis, counter) => (millis, counter + 1),
    }
}

/// 48 bits of time, version 7, 12 and 30 bits of the counter around the variant, 32 random bits.
fn assemble((millis, counter): (u64, u64), random: u128) -> Uuid {
    let time = u128::from(millis & 0xFFFF_FFFF_FFFF) << 80;
    let high = u128::from(counter >> 30) << 64;
    let low = u128::from(counter & 0x3FFF_FFFF) << 32;
    let (version, variant) = (0x7 << 76, 0b10 << 62);
    Uuid::from_u128(time | version | high | variant | low | (random & 0xFFFF_FFFF))
}

fn random() -> u128 {
    RANDOM.with(|(keys, used)| {
        let n = used.get();
        used.set(n.wrapping_add(2));
        u128::from(keys.hash_one(n)) << 64 | u128::from(keys.hash_one(n.wrapping_add(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::event::NewEvent;
    use std::collections::HashSet;
    use std::sync::mpsc;

    /// A commit whose ids ascend is known to have no id twice.
    #[test]
    fn ids_of_one_thread_ascend_and_those_of_many_differ() {
        const EACH: usize = 20_000;
        let ids = || (0..EACH).map(|_| NewEvent::bytes("T", vec![]).id).collect::<Vec<_>>();
        let made: Vec<Vec<Uuid>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ids)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|ids| ids.is_sorted_by(|a, b| a < b)));
        assert_eq!(made.iter().flatten().collect::<HashSet<_>>().len(), 4 * EACH);
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_and_of_now() {
        let id = new_id();
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        let (seconds, _) = id.get_timestamp().unwrap().to_unix();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(seconds) < 60, "{seconds} is not {now}");
        let highest = assemble((u64::MAX, COUNTER_MAX), u128::MAX);
        assert_eq!((highest.get_version_num(), highest.get_variant()), (7, id.get_variant()));
    }

    #[test]
    fn ids_ascend_when_the_clock_goes_back_and_when_the_counter_is_full() {
        assert_eq!(next((5, 7), 5, u128::MAX), (5, 8));
        assert_eq!(next((5, 7), 3, u128::MAX), (5, 8));
        assert_eq!(next((5, 7), 6, 9 << 32), (6, 9));
        assert_eq!(next((5, COUNTER_MAX), 5, u128::MAX), (6, COUNTER_MAX >> 1));
    }

    thread_local! {
        static LATE: Cell<Option<MakesAnEvent>> = const { Cell::new(None) };
        static LATER: Cell<Option<MakesAnEvent>> = const { Cell::new(None) };
    }

    struct MakesAnEvent(mpsc::Sender<Uuid>);
    impl Drop for MakesAnEvent {
        fn drop(&mut self) {
            let _ = self.0.send(NewEvent::bytes("Ended", vec![]).id);
        }
    }

    /// The story: an application told of the end of each of its threads by an event, made in the destructor of a
    /// thread-local value. The generator of random numbers was gone by then: it panicked, and a panic in such a
    /// destructor aborts the process. Values are destroyed in the reverse order in which they were first used, so one
    /// is used before the first event is made, and one after it.
    #[test]
    fn an_event_can_be_made_when_its_thread_ends() {
        let (made, ids) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            LATE.set(Some(MakesAnEvent(made.clone())));
            let _ = made.send(NewEvent::bytes("Begun", vec![]).id);
            LATER.set(Some(MakesAnEvent(made)));
        });
        thread.join().unwrap();
        let ids: Vec<Uuid> = ids.iter().collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    }
}
