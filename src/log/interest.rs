//! Which events the live followers want: a writer asks before it wakes the thread that reads for them.

use crate::codec::entry::EventParts;
use crate::codec::envelope;
use crate::codec::frame::Frame;
use crate::value::filter::Filter;
use crate::value::filter_index::{FilterId, FilterIndex};
use parking_lot::{RwLock, RwLockReadGuard};

/// Events of a frame that a writer compares with the filters, some 100 ns each. Beside a longer frame a wake-up is
/// short. The count was not measured.
const JUDGED_EVENTS_MAX: u32 = 256;

/// The filters of the live followers.
#[derive(Default)]
pub(crate) struct Interest(RwLock<FilterIndex>);

impl Interest {
    /// Adds a filter. It counts for what comes after the next [`Head::join`](crate::log::tail::head::Head::join).
    pub(crate) fn add(&self, filter: &Filter) -> FilterId {
        self.0.write().add(filter)
    }

    pub(crate) fn remove(&self, id: FilterId) {
        self.0.write().remove(id);
    }

    /// The filters, which stay as they are until the guard is dropped.
    pub(crate) fn filters(&self) -> RwLockReadGuard<'_, FilterIndex> {
        self.0.read()
    }

    /// Whether somebody wants an event of `frame`, as far as its writer can tell without a wait: no lock is waited
    /// for, and a long frame is left to the reader.
    pub(crate) fn may_want(&self, frame: &Frame) -> bool {
        if frame.header.events > JUDGED_EVENTS_MAX {
            return true;
        }
        let Some(filters) = self.0.try_read() else { return true };
        let mut entries = frame.entries();
        while let Some(parts) = entries.next_event() {
            let is_wanted = parts.ok().and_then(|parts| {
                let (stream, event_type) = names(entries.body(), &parts)?;
                Some(filters.wants(stream, event_type))
            });
            if is_wanted.unwrap_or(true) {
                return true;
            }
        }
        false
    }
}

/// The stream and the type of the event with these parts of a frame's `body`; `None` if they cannot be read.
pub(super) fn names<'a>(body: &'a [u8], parts: &EventParts) -> Option<(&'a str, &'a str)> {
    let stream = body.get(parts.stream.clone())?;
    let event_type = envelope::event_type(body.get(parts.envelope.clone())?)?;
    Some((std::str::from_utf8(stream).ok()?, event_type))
}
