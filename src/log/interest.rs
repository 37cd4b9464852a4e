//! Which events the live followers want: a writer asks before it wakes the threads that read for them.

use crate::codec::entry::EventParts;
use crate::codec::envelope;
use crate::codec::frame::Frame;
use crate::codec::tags::Tags;
use crate::value::filter::Filter;
use crate::value::filter_index::{FilterId, FilterIndex};
use parking_lot::{RwLock, RwLockReadGuard};

/// Events of a frame that a writer compares with the filters, some 100 ns each. Beside a longer frame a wake-up is
/// short. The count was not measured.
const JUDGED_EVENTS_MAX: u32 = 256;

/// The same, for threads that read for one follower each: there may be hundreds, and to wake one for nothing costs more
/// than to compare a hundred events. The count was not measured.
const JUDGED_FOR_FEEDS_MAX: u32 = 4_096;

/// The filters of the live followers.
#[derive(Default)]
pub(crate) struct Interest {
    /// Those for which one thread reads.
    live: RwLock<FilterIndex>,
    /// Those of feeds.
    feeds: RwLock<FilterIndex>,
}

impl Interest {
    /// Adds a filter. It counts for what comes after the next [`Head::join`](crate::log::tail::head::Head::join).
    pub(crate) fn add(&self, filter: &Filter) -> FilterId {
        self.live.write().add(filter)
    }

    pub(crate) fn remove(&self, id: FilterId) {
        self.live.write().remove(id);
    }

    /// The filters, which stay as they are until the guard is dropped.
    pub(crate) fn filters(&self) -> RwLockReadGuard<'_, FilterIndex> {
        self.live.read()
    }

    /// Whether somebody wants an event of `frame`, as far as its writer can tell without a wait: no lock is waited
    /// for, and a long frame is left to the reader.
    pub(crate) fn may_want(&self, frame: &Frame) -> bool {
        if frame.header.events > JUDGED_EVENTS_MAX {
            return true;
        }
        let Some(filters) = self.live.try_read() else { return true };
        let mut entries = frame.entries();
        while let Some(parts) = entries.next_event() {
            let is_wanted = parts.ok().and_then(|parts| {
                let named = named(entries.body(), &parts)?;
                Some(filters.wants(named.stream, named.event_type, named.tags()))
            });
            if is_wanted.unwrap_or(true) {
                return true;
            }
        }
        false
    }

    /// Adds a feed's filter. It counts for what is judged after the next
    /// [`Head::enroll`](crate::log::tail::head::Head::enroll).
    pub(crate) fn add_feed(&self, filter: &Filter) -> FilterId {
        self.feeds.write().add(filter)
    }

    pub(crate) fn remove_feed(&self, id: FilterId) {
        self.feeds.write().remove(id);
    }

    /// The filters of feeds that want an event of `frame`, as far as its writer can tell without a wait; `None`, if it
    /// cannot.
    pub(crate) fn feeds_wanting(&self, frame: &Frame) -> Option<Vec<FilterId>> {
        if frame.header.events > JUDGED_FOR_FEEDS_MAX {
            return None;
        }
        let filters = self.feeds.try_read()?;
        let (mut wanting, mut entries, mut last) = (Vec::new(), frame.entries(), None);
        let body = entries.body().clone();
        while wanting.len() < filters.len()
            && let Some(parts) = entries.next_event()
        {
            let named = named(&body, &parts.ok()?)?;
            let (stream, event_type, tags) = (named.stream, named.event_type, named.tags());
            // Often many events of one stream and type come one after another.
            if last != Some((stream, event_type, tags)) {
                last = Some((stream, event_type, tags));
                let more = filters.wanting(stream, event_type, tags);
                let more: Vec<_> = more.filter(|id| !wanting.contains(id)).collect();
                wanting.extend(more);
            }
        }
        Some(wanting)
    }
}

/// What filters ask of an event that is not decoded.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) stream: &'a str,
    pub(crate) event_type: &'a str,
    envelope: &'a [u8],
}

impl<'a> Named<'a> {
    /// Its tags, which are looked for only now.
    #[inline]
    pub(crate) fn tags(self) -> Tags<'a> {
        envelope::tags(self.envelope)
    }
}

/// The names of the event with these parts of a frame's `body`; `None` if they cannot be read.
pub(super) fn named<'a>(body: &'a [u8], parts: &EventParts) -> Option<Named<'a>> {
    let stream = str::from_utf8(body.get(parts.stream.clone())?).ok()?;
    let envelope = body.get(parts.envelope.clone())?;
    Some(Named { stream, event_type: envelope::event_type(envelope)?, envelope })
}
