//! The thread that takes frames from the source.

use crate::journal::shipped::{JournalEnd, diverged};
use crate::log::core::Log;
use crate::log::engine::Engine;
use crate::log::replica::Replica;
use crate::log::replica::failed::Failed;
use crate::log::replica::source::{FrameSource, Heard};
use crate::log::replica::status::ReplicationState;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::head_hash::HeadHash;
use crate::value::limits::{REPLICA_PAUSE_MAX, REPLICA_PAUSE_MIN, REPLICA_WAIT};
use crate::value::position::Position;
use crossbeam_channel::select;
use std::sync::Arc;
use std::time::Duration;

/// Takes frames from `source` on a thread of the engine, until the log closes or is no longer a replica.
pub(crate) fn start(engine: &Arc<Engine>, source: Box<dyn FrameSource>) -> Result<()> {
    let its_engine = Arc::clone(engine);
    engine.log().spawn("filmstrip-replica", move || run(&its_engine, source))
}

fn run(engine: &Engine, mut source: Box<dyn FrameSource>) {
    let Some(replica) = engine.replica() else { return };
    let mut pause = REPLICA_PAUSE_MIN;
    while !engine.log().head.is_closed() && !replica.has_ended() {
        let failed = match catch(|| take(engine, replica, &mut *source)) {
            Ok(Ok(())) => {
                pause = REPLICA_PAUSE_MIN;
                continue;
            }
            Ok(Err(failed)) => failed,
            Err(panic) => {
                let message = format!("the replica panicked: {panic}");
                Failed::Broken(Error::new(ErrorKind::Panicked, message))
            }
        };
        match failed {
            Failed::Ended => return,
            Failed::Again(error) => {
                if pause == REPLICA_PAUSE_MIN {
                    tell(|| tracing::warn!(%error, "the replica cannot go on; it tries again"));
                }
                replica.becomes(ReplicationState::Retrying(error));
            }
            Failed::Stopped(error) => {
                tell(|| tracing::error!(%error, "the replica has stopped"));
                return replica.becomes(ReplicationState::Stopped(error));
            }
            Failed::Broken(error) => {
                engine.group_commit().refuse(&error);
                return replica.becomes(ReplicationState::Stopped(error));
            }
        }
        wait(engine, replica, pause);
        pause = (2 * pause).min(REPLICA_PAUSE_MAX);
    }
}

/// Waits for a pause, or until there is nothing more to do.
fn wait(engine: &Engine, replica: &Replica, pause: Duration) {
    select! {
        recv(engine.log().closing()) -> _ => {}
        recv(replica.ended) -> _ => {}
        default(pause) => {}
    }
}

/// The subscriber of `tracing` is the application's code, and may panic.
fn tell(tell: impl FnOnce()) {
    let _ = catch(tell);
}

/// Takes what the source has now, or waits a moment for it.
fn take(engine: &Engine, replica: &Replica, source: &mut dyn FrameSource) -> Result<(), Failed> {
    let (log, commits) = (engine.log(), engine.group_commit());
    if replica.has_unshown() {
        // No further ones are taken before these are shown, or there would be ever more of them.
        replica.apply(log, commits, &[])?;
    }
    let after = commits.with_writer(|writer| writer.shipped_end());
    let Heard { frames, head, hash } = read(source, &after)?;
    replica.standing.lock().heard(head, log.head_position());
    if frames.is_empty() && (head < after.position() || hash.is_some()) {
        return Err(behind(log, head, hash, &after));
    }
    if !frames.is_empty() {
        replica.apply(log, commits, &frames)?;
        replica.standing.lock().heard(head, log.head_position());
    }
    replica.becomes(ReplicationState::Following);
    Ok(())
}

fn read(source: &mut dyn FrameSource, after: &JournalEnd) -> Result<Heard, Failed> {
    let read = catch(|| source.read(after, REPLICA_WAIT)).map_err(|panic| {
        let message = format!("the replica's source panicked: {panic}");
        Failed::Stopped(Error::new(ErrorKind::Panicked, message))
    })?;
    read.map_err(|error| match error.kind() {
        ErrorKind::Diverged | ErrorKind::UnsupportedFormat => Failed::Stopped(error),
        _ => Failed::Again(error),
    })
}

/// Why there is nothing to take from a source that has less than its replica, which ends at `after`.
fn behind(log: &Log, head: Position, hash: Option<HeadHash>, after: &JournalEnd) -> Failed {
    let Some(theirs) = hash else { return Failed::Again(is_ahead(head, after.position())) };
    let is_ours = log.journal.has_had(&theirs, log.head.visible().1);
    match is_ours.map(|is_ours| is_ours || failpoint!("replica::believe_shorter_source")) {
        Ok(true) => Failed::Again(is_ahead(head, after.position())),
        Ok(false) => Failed::Stopped(diverged(&format!(
            "the source ends at {theirs}, where the replica never was, and the replica at {}",
            after.hash()
        ))),
        Err(error) => Failed::Again(error),
    }
}

/// The error for a source that has less than its replica. It does not stop the replica: after a power cut the source
/// may not say how much it has until it is opened.
fn is_ahead(source: Position, replica: Position) -> Error {
    let message = format!(
        "the source ends at position {source}, and its replica at {replica}: either nobody has opened the source since \
         its machine crashed, or it lost events, or was restored from an older backup"
    );
    Error::new(ErrorKind::Diverged, message)
}
