//! The thread that moves the tail into the index.
//!
//! It ingests when about two long segments are sealed (more at a time when it lags), when writers have been idle for
//! a moment, and at close. So it does not slow a busy writer or a short burst, and events that a stream gets in the
//! meantime share key runs. While writers are idle it compacts tables of the index, step by step; while they are
//! busy, only if there are many tables. A small tail is left alone: it costs less than a small flush batch, whose key
//! runs would be and stay short, and the next opening reads the last segment anyway (docs/decisions/0003). The sizes
//! and times, and their measurements, are in `value::limits`.

pub(crate) mod managed;
mod next_batch;
pub(crate) mod signal;

use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::Location;
use crate::journal::segment;
use crate::log::core::Log;
use crate::log::indexer::signal::{Due, Work};
use crate::sst::compaction::CompactionPriority;
use crate::telemetry::spans::enter_span;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::limits::{TAIL_EVENTS_MAX, UNINDEXED_BYTES_IDLE};
use std::sync::Arc;

/// Whether the tail is so large that writers must wait.
pub(crate) fn is_full(log: &Log) -> bool {
    let (_, end) = log.head.visible();
    let indexed = log.tail.indexed().next.segment;
    log.journal.bytes_of(indexed..end.segment) > log.index.bounds().unindexed_bytes_max
        || log.tail.events() >= TAIL_EVENTS_MAX
        || log.tail.tagged_bytes() >= log.index.bounds().tagged_bytes_max
}

/// Whether the tags in the tail take so much memory that the indexer must not wait until a segment is sealed.
pub(crate) fn has_many_tags(log: &Log) -> bool {
    log.tail.tagged_bytes() >= log.index.bounds().tagged_bytes_max / 2
}

/// The main loop of the indexer thread.
pub(crate) fn run(log: &Arc<Log>) {
    let mut has_failed = false;
    loop {
        // Read the priority before the wait and not in it: a leader that publishes a frame must not wait for the
        // index.
        let compact = match log.index.compaction_priority() {
            // Too many tables are better than an index that ingests nothing. After a failure, such as a full disk
            // without room for a compaction, ingest events first. Each flush batch then adds one more open file.
            CompactionPriority::Urgent if has_failed => CompactionPriority::Normal,
            compact => compact,
        };
        match log.indexer.wait_for_work(|| due(log, compact)) {
            Work::UpTo(to) => has_failed = !index_up_to(log, to),
            Work::Compact => {
                has_failed = !compact_once(log);
            }
            Work::Close => {
                let end = log.head.visible().1;
                if is_worth_a_flush_batch(log, end) {
                    index_up_to(log, end);
                }
                return;
            }
        }
    }
}

/// The work that is due now, or when writers pause.
pub(crate) fn due(log: &Log, compact: CompactionPriority) -> Due {
    let (_, end) = log.head.visible();
    let indexed = log.tail.indexed().next;
    let sealed = Location { segment: end.segment, offset: segment::HEADER_BYTES };
    let unindexed = log.journal.bytes_of(indexed.segment..end.segment);
    // Each sealed segment wakes the indexer to check again.
    let until = Location { segment: end.segment + 1, offset: 0 };
    if compact == CompactionPriority::Urgent {
        Due::Now(Work::Compact)
    } else if unindexed >= log.index.bounds().batch_bytes_min {
        Due::Now(Work::UpTo(sealed))
    } else if indexed < end && has_many_tags(log) {
        Due::Now(Work::UpTo(end))
    } else if compact == CompactionPriority::Normal {
        Due::Now(Work::Compact)
    } else if is_worth_a_flush_batch(log, end) {
        Due::WhenIdle { work: Work::UpTo(end), until }
    } else if compact == CompactionPriority::Idle {
        Due::WhenIdle { work: Work::Compact, until }
    } else {
        let offset = indexed.offset + UNINDEXED_BYTES_IDLE;
        Due::Nothing { until: Location { segment: indexed.segment, offset } }
    }
}

fn is_worth_a_flush_batch(log: &Log, end: Location) -> bool {
    let indexed = log.tail.indexed().next;
    end.segment > indexed.segment || end.offset - indexed.offset >= UNINDEXED_BYTES_IDLE
}

/// Does one step of compaction. Returns whether that succeeded.
fn compact_once(log: &Log) -> bool {
    guarded(log, || {
        let span = enter_span!(
            DEBUG,
            "compact",
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        );
        let begun = log.observers.instruments.timing().start();
        let compacted = log.index.compact();
        span.ended(&compacted);
        compacted?;
        log.observers.instruments.compaction(begun);
        log.counters.compactions.add(1);
        log.indexer.progress();
        Ok(())
    })
}

/// Ingests the journal up to `to`. Returns whether that succeeded.
pub(crate) fn index_up_to(log: &Log, to: Location) -> bool {
    guarded(log, || {
        let span = enter_span!(
            DEBUG,
            "flush",
            filmstrip.position = tracing::field::Empty,
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        );
        let begun = log.observers.instruments.timing().start();
        if failpoint!("log::drop_tags_before_they_are_indexed") {
            log.tail.trim_tags(log.head.position());
        }
        let advanced = log.index.advance(to, |checkpoint| {
            log.counters.flushes.add(1);
            log.tail.trim(checkpoint);
            log.indexer.progress();
        });
        if advanced.is_err() && failpoint!("log::lose_tail_on_failed_index_write") {
            let position = log.head.visible().0;
            log.tail.trim(Checkpoint { position, next: to, ..log.tail.indexed() });
        }
        span.record("filmstrip.position", log.tail.indexed().position);
        span.ended(&advanced);
        if advanced.is_ok() {
            log.observers.instruments.flush(begun);
        }
        advanced
    })
}

/// Does `work` and reports its failure to waiting callers. Returns whether it succeeded.
fn guarded(log: &Log, work: impl FnOnce() -> Result<()>) -> bool {
    let error = match catch(work) {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error,
        Err(panic) => {
            let message = format!("the indexer panicked: {}", panic);
            Error::new(ErrorKind::Panicked, message)
        }
    };
    log.counters.index_failures.add(1);
    log.indexer.fail(&error);
    false
}
