//! Judges the conditions of commits beside what is durable.
//!
//! * Three judge a condition, each what came after the one before it: the caller up to the head, before it queues; the
//!   leader up to the head of its group; and `admit` what the group admits before the commit. So each event is judged
//!   once, and the result is that of a commit that is alone.
//! * What is far back is read by the caller, who holds nobody up. Usually nothing is left to the leader but what became
//!   durable while the commit waited. What takes no more than a look at the tail is left to the leader, who looks there
//!   in any case.
//! * Each looks for the first match. If that is one of the commit's own events, the commit is recorded already
//!   (`log::commit::recorded`).

use crate::log::commit::condition::{Condition, Match};
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::recorded::recorded_at;
use crate::log::core::Log;
use crate::log::matching::{first_match, id_by_postings, is_quick};
#[cfg(feature = "erasure")]
use crate::log::read::private::leaving_sealed;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use std::sync::Arc;

/// Judges the conditions of `encoded` up to the present head, before it is queued.
///
/// # Errors
/// `InvalidInput`, if a condition begins past the head; failures of reading.
pub(crate) fn judge_before_queueing(log: &Arc<Log>, encoded: &mut EncodedCommit) -> Result<()> {
    let head = log.head.position();
    for n in 0..encoded.conditions().len() {
        let condition = &encoded.conditions()[n];
        condition.refuse_beyond(head)?;
        if is_quick(log, condition.filter(), condition.judged) {
            continue;
        }
        let found = judge(log, encoded, condition, head)?;
        let condition = &mut encoded.conditions_mut()[n];
        (condition.judged, condition.found) = (head, found);
    }
    Ok(())
}

/// Whether that reads few events, all of them in memory.
#[cfg(feature = "async")]
pub(crate) fn is_judged_at_once(log: &Log, encoded: &EncodedCommit) -> bool {
    let head = log.head.position();
    encoded.conditions().iter().all(|condition| {
        let after = condition.after();
        let left = head.saturating_sub(after);
        left == 0
            || left <= EVENTS_JUDGED_AT_ONCE && log.tail.newest_frame(after + 1).is_some()
            || failpoint!("log::judge_on_the_thread_of_a_task")
    })
}

/// Events that are judged on a task's thread, at some 100 ns each: to hand the work to another thread takes as long.
/// The count was not measured.
#[cfg(feature = "async")]
const EVENTS_JUDGED_AT_ONCE: u64 = 256;

/// The first match up to `head` of a condition of `encoded`. The head is the log's, or was.
pub(super) fn judge(
    log: &Arc<Log>,
    encoded: &EncodedCommit,
    condition: &Condition,
    head: u64,
) -> Result<Option<Match>> {
    if condition.found.is_some() {
        return Ok(condition.found.clone());
    }
    let after = match failpoint!("log::judge_after_inclusively") {
        true => condition.judged.saturating_sub(1),
        false => condition.judged,
    };
    let first = || first_match(log, condition.filter(), after, head);
    #[cfg(feature = "erasure")]
    let first = || leaving_sealed(first);
    let Some(position) = first()? else {
        return Ok(None);
    };
    let recorded = match is_of_another(log, encoded, condition, position)? {
        true => None,
        false => recorded_at(log, encoded, position)?,
    };
    Ok(Some(Match { position, recorded }))
}

/// Whether the event at `position`, which the condition excludes, is seen to be of another commit without a look at
/// the commit that holds it. Most conditions that exclude something are of this kind.
fn is_of_another(
    log: &Log,
    encoded: &EncodedCommit,
    condition: &Condition,
    position: u64,
) -> Result<bool> {
    if encoded.events.is_empty() || failpoint!("log::take_own_events_for_anothers") {
        return Ok(true);
    }
    let id = id_by_postings(log, condition.filter(), position)?;
    Ok(id.is_some_and(|id| encoded.events.iter().all(|event| event.id != id)))
}
