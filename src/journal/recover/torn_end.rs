//! Decides whether damage at the end of a journal is a torn write.

use crate::codec::frame::{self, Header, Location};
use crate::codec::length::in_memory;
use crate::journal::manifest::Role;
use crate::journal::read::Journal;
use crate::journal::watermark::DurableWatermark;
use crate::journal::write::End;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;

/// What a crash can have found not durable yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InFlight {
    /// The last frame: the writer syncs each one before it writes the next.
    LastFrame,
    /// All frames that the durable watermark does not name.
    SinceWatermark,
}

impl InFlight {
    /// What the writer of a journal in this role has in flight.
    pub(crate) fn of(role: Role) -> InFlight {
        match role {
            Role::Replica if !failpoint!("journal::expect_one_frame_in_flight") => {
                InFlight::SinceWatermark
            }
            _ => InFlight::LastFrame,
        }
    }
}

/// Refuses damage that something follows: only damage at the end is a torn write. A torn write may have been durable:
/// the store must have an end in order to open, and `acknowledged` reports the loss. A lenient scan, which reports
/// what is lost, does not call that a torn write (`is_torn` in `lenient_scan`).
pub(super) fn refuse_if_more_followed(
    journal: &Journal,
    rest: &[u8],
    used: usize,
    end: &End,
    watermark: Option<DurableWatermark>,
    in_flight: InFlight,
) -> Result<()> {
    if failpoint!("journal::truncate_at_mid_log_damage") {
        return Ok(());
    }
    let at = end.next;
    let position = Some(end.position + 1);
    let step = in_memory(frame::ALIGNMENT);
    // Anything that looks like a frame within a frame is a user's payload. The length in a whole header shows where
    // the next frame would begin. Without that header, damage must not pass for a torn write.
    let torn_length = Header::parse(rest)
        .filter(|header| header.lies_at(journal.store(), at.segment, at.offset))
        .filter(|_| !failpoint!("journal::believe_header_in_torn_frame"))
        .map_or(step, |header| in_memory(header.padded_length()));
    let follower = (torn_length..used).step_by(step).find(|i| {
        let offset = at.offset + *i as u64;
        let header = rest.get(*i..).and_then(Header::parse);
        header.is_some_and(|header| header.lies_at(journal.store(), at.segment, offset))
    });
    // A watermark that names an earlier frame, or nothing yet, shows that what is at `at` need not be durable.
    let is_durable = watermark.is_none_or(|it| it.frame >= at && it.end > at.offset);
    let may_be_followed = in_flight == InFlight::SinceWatermark && !is_durable;
    if let Some(i) = follower.filter(|_| !may_be_followed) {
        let what = format!("a frame follows at byte {}", at.offset + i as u64);
        return Err(journal.corrupt(at, position, what));
    }
    match watermark {
        Some(watermark) if is_gone(&watermark, at, used) => {
            let what = format!(
                "the journal was durable up to position {} at byte {}, but frames before that are missing",
                watermark.position, watermark.end
            );
            Err(journal.corrupt(at, position, what))
        }
        _ => Ok(()),
    }
}

/// Whether frames are gone that were durable according to `watermark`: one after the frame at `at`, or that frame
/// itself if nothing of it is left (`used` is 0). What is left of it is saved as a torn write, and reported.
fn is_gone(watermark: &DurableWatermark, at: Location, used: usize) -> bool {
    if failpoint!("journal::overlook_lost_last_frame") {
        return watermark.frame > at;
    }
    let was_durable_at = watermark.frame == at && watermark.end > at.offset;
    watermark.frame > at || (was_durable_at && used == 0)
}
