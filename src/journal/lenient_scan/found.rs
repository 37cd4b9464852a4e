//! Decides whether something found after damage is a frame, or a payload that looks like one.
//!
//! A payload may hold anything, even a whole frame for the exact place where it is stored. It cannot be linked to a
//! frame written later, because the hash chain covers the payload. So the scan believes a frame that it has searched
//! for only
//!
//! * if it begins exactly where the sound entries of a frame with a damaged header end, because those bytes
//!   are never a user's; or
//! * if the hash chain links it to something that no payload can forge: the header of the next segment, or the
//!   frame that the durable watermark names. If there is neither, it must reach the end of what was written.

use crate::codec::entry;
use crate::codec::frame::{self, Frame, Header, Location};
use crate::codec::length::in_memory;
use crate::journal::lenient_scan::{LenientScan, NO_FRAME, Open, Step, Until};
use crate::journal::recover::used;
use crate::journal::segment::{self, SegmentHeader};
use crate::value::failpoint::failpoint;
use crate::value::finding::{Finding, FindingKind};
use crate::value::limits::{COMMIT_BYTES_MAX, DOUBT_BYTES_MAX, SCAN_CHUNK_BYTES};

impl LenientScan {
    /// Handles a place without a frame: the end, or damage. After damage, it searches for the next frame.
    pub(super) fn find_next(&mut self, mut open: Open, visible_end: Option<u64>) {
        let from = open.at;
        if self.is_end_of_replica(&open) {
            return self.leave_torn(open);
        }
        let limit = visible_end.unwrap_or(open.length);
        let (mut last_used, mut is_lost) = (None, false);
        let mut doubt = 0;
        let after_entries = self.after_entries(&mut open, limit);
        let mut first = after_entries - from;
        open.at = from;
        loop {
            let (next, used) = self.look_ahead(&mut open, limit, first);
            last_used = last_used.max(used);
            let Some(next) = next else { break };
            if !is_lost {
                self.lose(FindingKind::Frame, open.path.clone(), from, NO_FRAME);
                is_lost = true;
            }
            if next == after_entries
                || failpoint!("journal::believe_any_found_frame")
                || self.is_vouched_for(&mut open, next, limit, &mut doubt)
            {
                open.at = next;
                self.open = Some(open);
                return;
            }
            first = frame::ALIGNMENT;
            open.at = next;
            if let Some((at, frame)) = self.whole_at(&mut open, next, &mut doubt) {
                first = frame.header.padded_length();
                let what =
                    "a whole frame after damage that nothing links to the journal's other frames";
                self.wrong(Finding::new(FindingKind::Frame, &open.path, what).at(next));
                self.steps.push_back(Step::Doubtful { at, frame });
            }
            open.at = next;
        }
        if visible_end.is_some() {
            if !is_lost {
                self.lose(FindingKind::Frame, open.path, from, NO_FRAME);
            }
            self.end();
        } else if !is_lost {
            open.at = from;
            self.leave(open, last_used);
        }
    }

    /// Whether what is at the current place may be torn, whatever follows it.
    fn is_end_of_replica(&self, open: &Open) -> bool {
        let at = Location { segment: open.number, offset: open.at };
        let is_last = open.number == self.last_number;
        is_last && matches!(self.until, Until::EndOfReplica(_)) && !self.was_durable(at)
    }

    /// Leaves the last segment, of which everything from the current place on is torn or unused.
    fn leave_torn(&mut self, mut open: Open) {
        let (from, length) = (open.at, open.length);
        let (mut last_used, mut first) = (None, 0);
        loop {
            let (next, used) = self.look_ahead(&mut open, length, first);
            last_used = last_used.max(used);
            let Some(next) = next else { break };
            (open.at, first) = (next, frame::ALIGNMENT);
        }
        open.at = from;
        self.leave(open, last_used);
    }

    /// Where the sound entries end that follow the header at the current place. The header itself may be damaged.
    fn after_entries(&mut self, open: &mut Open, limit: u64) -> u64 {
        open.at += frame::HEADER_BYTES as u64;
        while open.at < limit {
            let head = self.fill(open, entry::HEADER_BYTES);
            let Some(length) = entry::claimed_length(&head) else { break };
            let is_possible = length <= 2 * COMMIT_BYTES_MAX;
            if !is_possible || open.at + length as u64 > limit {
                break;
            }
            let bytes = self.fill(open, length);
            if bytes.len() < length || entry::decode(&bytes.slice(..length)).is_err() {
                break;
            }
            open.at += length as u64;
        }
        frame::padded(open.at)
    }

    /// Whether something that no payload can forge confirms the frame at `next`.
    fn is_vouched_for(&mut self, open: &mut Open, next: u64, limit: u64, doubt: &mut u64) -> bool {
        open.at = next;
        let Some(mut last) = self.header_here(open) else { return false };
        loop {
            let end = open.at + last.padded_length();
            if self.is_marked(open, end) {
                return true;
            }
            open.at = end;
            let Some(header) = self.header_here(open) else {
                return self.ends_well(open, limit, &last);
            };
            *doubt += header.padded_length();
            if *doubt > DOUBT_BYTES_MAX || header.first_position != last.next_position() {
                return false;
            }
            let bytes = self.fill(open, in_memory(header.padded_length()));
            let linked = Frame::verify(header.clone(), bytes)
                .and_then(|frame| frame.chain_after(&last.chain))
                .is_ok_and(|chain| chain == header.chain);
            if !linked {
                return false;
            }
            last = header;
        }
    }

    /// Whether the durable watermark names the frame at the current place, which ends at `end`.
    fn is_marked(&self, open: &Open, end: u64) -> bool {
        let at = Location { segment: open.number, offset: open.at };
        let watermark = self.until.watermark();
        watermark.is_some_and(|watermark| watermark.frame == at && watermark.end == end)
    }

    /// Whether the frame `last`, which ends at the current place, ends where the segment's last frame must.
    fn ends_well(&mut self, open: &mut Open, limit: u64, last: &Header) -> bool {
        if open.number < self.last_number {
            return self.header_of(open.number + 1).is_some_and(|header| {
                header.chain == last.chain && header.first_position == last.next_position()
            });
        }
        match &self.until {
            Until::Visible(_) => open.at == limit,
            Until::End(Some(_)) | Until::EndOfReplica(_) => false,
            Until::End(None) => self.is_unused(open),
        }
    }

    /// Whether only zeros follow from the current place.
    fn is_unused(&mut self, open: &mut Open) -> bool {
        while open.at < open.length {
            let bytes = self.fill(open, SCAN_CHUNK_BYTES);
            if bytes.is_empty() || used(&bytes) > 0 {
                return bytes.is_empty();
            }
            open.at += bytes.len() as u64;
        }
        true
    }

    /// The header of segment `number`, if it is sound and of this store.
    fn header_of(&self, number: u64) -> Option<SegmentHeader> {
        let file = self.disk.open(&segment::path(&self.directory, number)).ok()?;
        let mut page = vec![0; segment::HEADER_PAGE_BYTES];
        file.read_at(&mut page, 0).ok()?;
        let header = SegmentHeader::decode(&page).ok()?;
        (header.store == self.store && header.number == number).then_some(header)
    }

    /// The frame at `at`, if there is a whole one.
    fn whole_at(&mut self, open: &mut Open, at: u64, doubt: &mut u64) -> Option<(Location, Frame)> {
        open.at = at;
        let header = self.header_here(open)?;
        *doubt += header.padded_length();
        if *doubt > DOUBT_BYTES_MAX {
            return None;
        }
        let bytes = self.fill(open, in_memory(header.padded_length()));
        let frame = Frame::verify(header, bytes).ok()?;
        Some((Location { segment: open.number, offset: at }, frame))
    }
}
