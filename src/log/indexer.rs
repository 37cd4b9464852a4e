//! The thread that moves the tail into the index.
//!
//! It works when a few segments are sealed (more at a time when it is behind), when writers have been
//! idle for a moment, and at close: so it does not slow a busy writer, and what a stream gets in the
//! meantime shares its runs. A tail that is small costs
//! less than a small window does (its runs would be short, and stay so), so it is left where it is:
//! the next opening reads the last segment anyway.

#[cfg(test)]
use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::Location;
use crate::error::{Error, ErrorKind, panic_message};
use crate::journal::segment;
use crate::limits::{
    TAIL_EVENTS_MAX, UNINDEXED_BYTES_IDLE, UNINDEXED_SEGMENTS_MAX, WINDOW_SEGMENTS_MIN,
};
use crate::log::control::{Due, Work};
use crate::log::core::Log;
#[cfg(test)]
use crate::proof::bugs::{self, Bug};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Whether the tail is so large that writers must wait.
pub(crate) fn is_full(log: &Log) -> bool {
    let (_, end) = log.head.visible();
    let indexed = log.tail.indexed().next.segment;
    end.segment.saturating_sub(indexed) > UNINDEXED_SEGMENTS_MAX
        || log.tail.events() >= TAIL_EVENTS_MAX
}

/// The indexer thread's whole life.
pub(crate) fn run(log: &Arc<Log>) {
    loop {
        let work = log.indexer.wait_for_work(|| due(log));
        let to = match &work {
            Work::UpTo(to) => *to,
            Work::Close => log.head.visible().1,
        };
        let worth_it = matches!(work, Work::UpTo(_)) || is_worth_a_window(log, to);
        if worth_it {
            index_up_to(log, to);
        }
        if matches!(work, Work::Close) {
            return;
        }
    }
}

/// What there is to be done, if writers go on, and if they pause.
fn due(log: &Log) -> Due {
    let (_, end) = log.head.visible();
    let indexed = log.tail.indexed().next;
    let sealed = Location { segment: end.segment, offset: segment::HEADER_BYTES };
    let until = Location { segment: indexed.segment + WINDOW_SEGMENTS_MIN, offset: 0 };
    if end >= until {
        Due::Now(sealed)
    } else if is_worth_a_window(log, end) {
        Due::WhenIdle { to: end, until }
    } else {
        let offset = indexed.offset + UNINDEXED_BYTES_IDLE;
        Due::Nothing { until: Location { segment: indexed.segment, offset } }
    }
}

fn is_worth_a_window(log: &Log, end: Location) -> bool {
    let indexed = log.tail.indexed().next;
    end.segment > indexed.segment || end.offset - indexed.offset >= UNINDEXED_BYTES_IDLE
}

pub(crate) fn index_up_to(log: &Log, to: Location) {
    let advance = || {
        log.index.advance(to, |advanced| {
            log.tail.trim(&advanced.streams, advanced.checkpoint);
            log.indexer.progress();
        })
    };
    match catch_unwind(AssertUnwindSafe(advance)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            #[cfg(test)]
            if bugs::has(Bug::LoseTailOnFailedIndexWrite) {
                let streams: Vec<_> = log.tail.streams(|_| true).into_iter().map(|s| s.0).collect();
                let position = log.head.visible().0;
                log.tail.trim(&streams, Checkpoint { position, next: to, ..log.tail.indexed() });
            }
            log.indexer.fail(&error);
        }
        Err(panic) => {
            let message = format!("the indexer panicked: {}", panic_message(&*panic));
            log.indexer.fail(&Error::new(ErrorKind::Panicked, message));
        }
    }
}
