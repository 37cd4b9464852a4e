//! Decides when snapshots are taken, and writes them on a thread of their own.
//!
//! * A snapshot only saves time: if it is missing, unreadable, late or has another schema, the load takes longer,
//!   with the same result.
//! * Each snapshot names its last event. If the log does not have that event at that place, the snapshot comes from
//!   another history, which was given up when a backup was restored, and is not used.
//! * Before a snapshot is stored, it is read back and compared with the original state.
//! * A thread of its own writes them, off the command's path. If it cannot keep up, the next command offers a newer
//!   one.

use super::cache::Known;
use crate::codec::aggregate::{AggregateImage, ImageEvent};
use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::aggregate::{Aggregate, Snapshot};
use crate::model::readback::{difference, read_watched};
use crate::value::clock::Micros;
use crate::value::error::{Contained, Error, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owned;
use crate::value::json;
use crate::value::json::told::Told;
use crate::value::limits::SNAPSHOTS_WAITING_MAX;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// How a repository uses snapshots.
pub(super) struct Policy<A> {
    every: u64,
    restore: fn(&[u8]) -> Option<(A, Position)>,
    waiting: Owned<Sender<Job<A>>>,
}

/// A state to be written.
struct Job<A> {
    stream: StreamId,
    version: Version,
    position: Position,
    state: Contained<A>,
}

impl<A: Snapshot> Policy<A> {
    /// Takes a snapshot after each `every` events, or none if `every` is 0. The writing thread ends with the policy
    /// or the store.
    pub(super) fn start(log: &LogHandle, every: u32) -> Result<Policy<A>> {
        let (waiting, jobs) = bounded(SNAPSHOTS_WAITING_MAX);
        let its_log = Arc::clone(log.log());
        log.log().spawn("filmstrip-snapshots", move || write_all::<A>(&its_log, &jobs))?;
        Ok(Policy { every: every.into(), restore: restore::<A>, waiting: Owned::new(waiting) })
    }
}

impl<A: Aggregate> Policy<A> {
    /// The newest usable snapshot of `stream` at a version up to `at_most`.
    pub(super) fn newest(
        &self,
        log: &Arc<Log>,
        stream: &StreamId,
        at_most: Version,
    ) -> Option<Known<A>> {
        // If reading fails, the stream is replayed, and the replay returns the error if it fails too.
        let snapshots = log.index.ask(|index| index.snapshots(stream, at_most.get())).ok()?;
        snapshots.into_iter().find_map(|(version, bytes)| {
            let version = Version::new(version);
            if !is_of_this_history(log, stream, version, &bytes) {
                return None;
            }
            let (state, position) = (self.restore)(&bytes)?;
            let snapshot_at = Some(Arc::new(AtomicU64::new(version.get())));
            Some(Known {
                state,
                version,
                position,
                commands: None,
                snapshot_at,
                #[cfg(feature = "erasure")]
                epoch: log.privacy.epoch(),
            })
        })
    }

    /// Requests a snapshot of `known`, if one is due and no other command requests it.
    pub(super) fn offer(&self, stream: &StreamId, known: &mut Known<A>) {
        let &mut Known { ref state, version, position, ref mut snapshot_at, .. } = known;
        let (snapshot_at, here) = (snapshot_at.get_or_insert_default(), version.get());
        let last = snapshot_at.load(Relaxed);
        // One of a later version may be requested already.
        let is_due = self.every > 0 && here.saturating_sub(last) >= self.every;
        if !is_due || self.waiting.is_full() {
            return;
        }
        if snapshot_at.compare_exchange(last, here, Relaxed, Relaxed).is_err() {
            return;
        }
        let state = Contained::new(state.clone());
        let job = Job { stream: stream.clone(), version, position, state };
        if self.waiting.try_send(job).is_err() {
            // The queue has become full meanwhile.
            let _ = snapshot_at.compare_exchange(here, last, Relaxed, Relaxed);
        }
    }
}

/// Writes the requested snapshots until the policy is dropped or the store closes.
fn write_all<A: Snapshot>(log: &Arc<Log>, jobs: &Receiver<Job<A>>) {
    let closed = log.closing();
    loop {
        let job = select! {
            recv(jobs) -> job => job,
            recv(closed) -> _ => return,
        };
        let Ok(Job { stream, version, position, state }) = job else { return };
        let write = || write(log, &stream, version, position, &*state);
        match catch(write) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%stream, %version, %error, "no snapshot was taken"),
            Err(_) => tracing::warn!(%stream, %version, "taking a snapshot panicked"),
        }
    }
}

/// Writes a snapshot of `state`.
pub(super) fn write<A: Snapshot>(
    log: &Arc<Log>,
    stream: &StreamId,
    version: Version,
    position: Position,
    state: &A,
) -> Result<()> {
    let state = in_json(state).map_err(|why| {
        let what = std::any::type_name::<A>();
        Error::invalid(format!("no snapshot can be taken of {stream} ({what}): {why}"))
    })?;
    let image = AggregateImage {
        schema: A::SCHEMA,
        position: position.get(),
        taken_at: log.now(),
        state: &state,
        event: last_event(log, stream, version).map(|(_, event)| event),
    };
    let bytes = image.encode();
    // Remove newer snapshots of another history, or they would be kept instead of this one.
    for (newer, bytes) in log.index.ask(|index| index.snapshots_past(stream, version.get()))? {
        if !is_of_this_history(log, stream, Version::new(newer), &bytes) {
            log.index.ask(|index| index.remove_snapshot(stream, newer))?;
        }
    }
    log.index.ask(|index| index.put_snapshot(stream, version.get(), &bytes))
}

/// Whether the log has the snapshot's last event at its place. False for a snapshot that does not name its last
/// event: an older version wrote it, and it may come from any history.
fn is_of_this_history(log: &Arc<Log>, stream: &StreamId, version: Version, bytes: &[u8]) -> bool {
    let Some(image) = AggregateImage::decode(bytes) else { return false };
    if failpoint!("model::believe_any_snapshot") {
        return true;
    }
    let here = last_event(log, stream, version);
    let (position, event) = (Position::new(image.position), image.event);
    here.is_some_and(|here| event.is_some_and(|event| here == (position, event)))
}

/// The position and the identity of the event at `version`; `None` if it cannot be read.
fn last_event(
    log: &Arc<Log>,
    stream: &StreamId,
    version: Version,
) -> Option<(Position, ImageEvent)> {
    let state = log.stream_state(stream).ok()??;
    if version > state.version {
        return None;
    }
    let (first, last) = (version.get(), version.get());
    let range = StreamRange { first, last, backwards: false, limit: 1 };
    let event = StreamEvents::new(Arc::clone(log), stream.clone(), range).next()?.ok()?;
    let recorded_at = Micros::of(event.recorded_at);
    Some((event.position, ImageEvent { id: event.id, recorded_at }))
}

/// `state` as JSON, if it reads back as the same state; otherwise the reason.
fn in_json<A: Snapshot>(state: &A) -> Result<Vec<u8>, String> {
    let json = json::to_vec(state)
        .map_err(|cause| format!("its state cannot be written as JSON: {}", Told::from(cause)))?;
    let (read_back, buffered) = read_watched::<A>(&json)
        .map_err(|cause| format!("its state does not read back: {}", Told::from(cause)))?;
    if failpoint!("model::keep_snapshot_of_another_state") {
        return Ok(json);
    }
    match state.is_same(&read_back) {
        Some(true) => return Ok(json),
        Some(false) => return Err("its state reads back as another one".to_owned()),
        None => {}
    }
    if let Some(what) = buffered {
        return Err(format!(
            "its state holds {what}, of which serde cannot tell whether it reads back as the same; \
             `Snapshot::is_same` must say so"
        ));
    }
    match difference(state, &read_back) {
        None => Ok(json),
        Some(difference) => Err(format!("its state reads back as another one: {difference}")),
    }
}

fn restore<A: Snapshot>(bytes: &[u8]) -> Option<(A, Position)> {
    let image = AggregateImage::decode(bytes)?;
    if image.schema != A::SCHEMA {
        return None;
    }
    let state = serde_json::from_slice(image.state).ok()?;
    Some((state, Position::new(image.position)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event_set::set::Event;
    use crate::store::Store;
    use crossbeam_channel::unbounded;
    use serde::{Deserialize, Serialize};
    use std::convert::Infallible;

    #[derive(Clone, Serialize, Deserialize)]
    enum Counted {
        Counted,
    }
    impl Event for Counted {}

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Count(u64);

    impl Aggregate for Count {
        const CATEGORY: &'static str = "Count";
        type Command = ();
        type Event = Counted;
        type Error = Infallible;

        fn decide(&self, (): &()) -> Result<Vec<Counted>, Infallible> {
            Ok(vec![Counted::Counted])
        }

        fn evolve(&mut self, _: &Counted) {
            self.0 += 1;
        }
    }

    impl Snapshot for Count {
        const SCHEMA: u32 = 1;
    }

    /// Commands that build on each other's queued states offered one snapshot each, once the first one was due: none
    /// of them learned that one before it had offered one.
    #[test]
    fn commands_of_several_threads_on_one_stream_offer_one_snapshot_for_so_many_events() {
        const THREADS: u64 = 8;
        const COMMANDS: u64 = 100;
        const EVERY: u64 = 20;
        let store = Store::temporary().unwrap();
        // Nobody writes them, so that all are counted.
        let (waiting, offered) = unbounded();
        let policy =
            Policy { every: EVERY, restore: restore::<Count>, waiting: Owned::new(waiting) };
        let mut counts = store.repository::<Count>();
        counts.snapshots = Some(Arc::new(policy));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..COMMANDS).for_each(|_| drop(counts.execute("a", &()).unwrap())));
            }
        });
        let (offered, due) = (offered.len() as u64, THREADS * COMMANDS / EVERY);
        assert!(
            (due / 2..=due).contains(&offered),
            "{offered} snapshots were offered, {due} were due"
        );
    }
}
