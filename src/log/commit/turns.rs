//! Turns: one thread at a time decides on a stream, in the order in which they came.
//!
//! * Without turns, commands on one stream would race, and all but one of each round would decide in vain.
//! * They are a courtesy, not a lock. What decides is always the commit's expected version, so who has no turn is
//!   late at worst, and never wrong.
//! * Nobody is passed: a turn that ends goes to the one that has waited for longest. A waiter gives up when the line
//!   has not moved for its patience, so a turn that waits for a thread which waits for it ends in time.
//! * A turn ends when its commit is queued, not when that is durable. What the commit leads to is handed on: the next
//!   one decides on it, and joins the same group. Nobody else sees it.
//! * Who waits for one turn while it holds others waits for a greater one only, so waiting threads form no circle.

use crate::log::commit::promise::Promise;
use crate::value::failpoint::failpoint;
use parking_lot::{Condvar, Mutex};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Locks among which the streams are spread. More than an application has threads that end a turn at the same moment,
/// mostly; not measured.
const ROOMS: usize = 32;

/// The turns of all streams of a log. `K` names a stream, `S` is the state that is handed on.
pub(crate) struct Turns<K, S> {
    rooms: Vec<Room<K, S>>,
    hasher: RandomState,
}

type Room<K, S> = Mutex<HashMap<Hashed<K>, Line<S>, BuildHasherDefault<HashedBefore>>>;

/// A stream's name and its hash, which takes as long as all the rest of a turn.
#[derive(Clone, PartialEq, Eq)]
struct Hashed<K> {
    hash: u64,
    stream: K,
}

impl<K> Hash for Hashed<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a hash for what it is.
#[derive(Default)]
struct HashedBefore(u64);

impl Hasher for HashedBefore {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only a hash is hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Those who want one stream's turn.
struct Line<S> {
    /// The thread that has it.
    holder: Option<u64>,
    waiting: VecDeque<Arc<Waiter>>,
    /// How often it has moved.
    moves: u64,
    /// What the last commit that was queued leads to, until it is settled.
    handed: Option<Handed<S>>,
}

/// What a queued commit leads to.
#[derive(Clone)]
pub(crate) struct Handed<S> {
    pub(crate) state: S,
    pub(crate) promise: Arc<Promise>,
}

struct Waiter {
    thread: u64,
    called: Mutex<bool>,
    changed: Condvar,
}

/// The turn of a stream. It ends when this is dropped.
pub(crate) struct Turn<K: Eq + Hash, S> {
    /// None only once it has been handed on.
    place: Option<Place<K, S>>,
    /// Nothing had been handed on when it began, and nobody else hands anything on while it lasts.
    is_first: bool,
}

/// A stream's line among all turns.
struct Place<K, S> {
    turns: Arc<Turns<K, S>>,
    stream: Hashed<K>,
}

/// What was handed on is forgotten when this is dropped: its commit is durable, or will never be.
pub(crate) struct Outstanding<K: Eq + Hash, S> {
    place: Place<K, S>,
    promise: Arc<Promise>,
    /// What the one before had handed on. To drop it is the application's code.
    _replaced: Option<Handed<S>>,
}

impl<S> Default for Line<S> {
    fn default() -> Line<S> {
        Line { holder: None, waiting: VecDeque::new(), moves: 0, handed: None }
    }
}

impl<K: Clone + Eq + Hash, S: Clone> Turns<K, S> {
    pub(crate) fn new() -> Turns<K, S> {
        let rooms = (0..ROOMS).map(|_| Mutex::default()).collect();
        Turns { rooms, hasher: RandomState::new() }
    }

    /// Waits for the turn of `stream`. `None` if `thread` has it itself, or if nobody has got it for as long as
    /// `patience`.
    pub(crate) fn take(
        self: &Arc<Self>,
        stream: &K,
        thread: u64,
        patience: Duration,
    ) -> Option<Turn<K, S>> {
        let stream = self.hashed(stream);
        let (waiter, mut moves) = {
            let mut room = self.room(&stream).lock();
            let line = room.entry(stream.clone()).or_default();
            if let Some(is_first) = line.give(thread) {
                drop(room);
                return Some(self.turn(stream, is_first));
            }
            if line.holder == Some(thread) {
                return None;
            }
            (line.join(thread), line.moves)
        };
        while !waiter.is_called_until(Instant::now() + patience) {
            let mut room = self.room(&stream).lock();
            // Who waits keeps the line.
            let Some(line) = room.get_mut(&stream) else { break };
            let Some(place) = line.place(&waiter) else { break };
            if line.moves == moves {
                line.waiting.remove(place);
                return None;
            }
            moves = line.moves;
        }
        Some(self.turn(stream, false))
    }

    /// The turn of `stream`, if nobody has it.
    pub(crate) fn try_take(self: &Arc<Self>, stream: &K, thread: u64) -> Option<Turn<K, S>> {
        let stream = self.hashed(stream);
        let is_first = self.room(&stream).lock().entry(stream.clone()).or_default().give(thread)?;
        Some(self.turn(stream, is_first))
    }

    fn turn(self: &Arc<Self>, stream: Hashed<K>, is_first: bool) -> Turn<K, S> {
        Turn { place: Some(Place { turns: Arc::clone(self), stream }), is_first }
    }

    fn hashed(&self, stream: &K) -> Hashed<K> {
        Hashed { hash: self.hasher.hash_one(stream), stream: stream.clone() }
    }

    /// How many wait for the turn of `stream`.
    #[cfg(test)]
    pub(crate) fn waiting(&self, stream: &K) -> usize {
        let stream = self.hashed(stream);
        self.room(&stream).lock().get(&stream).map_or(0, |line| line.waiting.len())
    }

    /// Of how many streams anything is kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.rooms.iter().map(|room| room.lock().len()).sum()
    }
}

impl<K, S> Turns<K, S> {
    fn room(&self, stream: &Hashed<K>) -> &Room<K, S> {
        // The lowest bits say where it is in its room.
        &self.rooms[(stream.hash >> 32) as usize % ROOMS]
    }
}

impl<K: Eq + Hash, S> Place<K, S> {
    /// Calls the next one, if anybody waits, and leaves what is handed on. Returns what that replaces.
    fn end(&self, handed: Option<Handed<S>>) -> Option<Handed<S>> {
        let mut room = self.turns.room(&self.stream).lock();
        let line = room.get_mut(&self.stream)?;
        let replaced = handed.and_then(|handed| line.handed.replace(handed));
        line.moves += 1;
        let next = match failpoint!("log::last_come_first") {
            true => line.waiting.pop_back(),
            false => line.waiting.pop_front(),
        };
        line.holder = next.as_ref().map(|next| next.thread);
        if line.is_idle() {
            room.remove(&self.stream);
        }
        drop(room);
        if let Some(next) = next {
            *next.called.lock() = true;
            next.changed.notify_one();
        }
        replaced
    }

    /// Forgets what the commit of `promise` led to. Returns it: to drop it is the application's code.
    fn forget(&self, promise: &Arc<Promise>) -> Option<Handed<S>> {
        let mut room = self.turns.room(&self.stream).lock();
        let line = room.get_mut(&self.stream)?;
        let forgotten = line.handed.take_if(|handed| Arc::ptr_eq(&handed.promise, promise));
        if line.is_idle() {
            room.remove(&self.stream);
        }
        forgotten
    }
}

impl<S> Line<S> {
    fn is_idle(&self) -> bool {
        self.holder.is_none() && self.waiting.is_empty() && self.handed.is_none()
    }

    /// Gives the turn to `thread`, if nobody has it. Returns whether nothing is handed on.
    fn give(&mut self, thread: u64) -> Option<bool> {
        if self.holder.is_some() {
            return None;
        }
        self.holder = Some(thread);
        Some(self.handed.is_none())
    }

    fn join(&mut self, thread: u64) -> Arc<Waiter> {
        let waiter = Waiter { thread, called: Mutex::new(false), changed: Condvar::new() };
        let waiter = Arc::new(waiter);
        self.waiting.push_back(Arc::clone(&waiter));
        waiter
    }

    fn place(&self, waiter: &Arc<Waiter>) -> Option<usize> {
        self.waiting.iter().position(|waiting| Arc::ptr_eq(waiting, waiter))
    }
}

impl Waiter {
    fn is_called_until(&self, deadline: Instant) -> bool {
        let mut called = self.called.lock();
        while !*called {
            if self.changed.wait_until(&mut called, deadline).timed_out() {
                return *called;
            }
        }
        true
    }
}

impl<K: Eq + Hash, S: Clone> Turn<K, S> {
    /// What the last commit that was queued leads to, unless it is settled.
    pub(crate) fn handed(&self) -> Option<Handed<S>> {
        if self.is_first {
            return None;
        }
        let place = self.place.as_ref()?;
        place.turns.room(&place.stream).lock().get(&place.stream)?.handed.clone()
    }

    /// Ends the turn, whose commit is queued, and hands on what that leads to.
    pub(crate) fn hand_on(mut self, handed: Handed<S>) -> Option<Outstanding<K, S>> {
        let place = self.place.take()?;
        let promise = Arc::clone(&handed.promise);
        let replaced = place.end(Some(handed));
        Some(Outstanding { place, promise, _replaced: replaced })
    }
}

impl<K: Eq + Hash, S> Drop for Turn<K, S> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            place.end(None);
        }
    }
}

impl<K: Eq + Hash, S> Drop for Outstanding<K, S> {
    fn drop(&mut self) {
        drop(self.place.forget(&self.promise));
    }
}
