//! The subscriptions of a store that are open, for those who ask how far they are.

use crate::follow::live::inbox::Inbox;
use crate::log::core::Log;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// So many entries are kept before those of ended subscriptions are looked for. The count was not measured.
const ENTRIES_MIN: usize = 16;

/// The open subscriptions of a store.
#[derive(Default)]
pub(crate) struct OpenSubscriptions(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    inboxes: Vec<Weak<Inbox>>,
    /// How many there were after the ended ones were last removed.
    left: usize,
}

/// How many subscriptions are open, and how far the one that lags most is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) open: u64,
    /// The head, if none is open.
    pub(crate) last: u64,
}

impl OpenSubscriptions {
    pub(super) fn add(&self, inbox: &Arc<Inbox>) {
        let entries = &mut *self.0.lock();
        // So an ended one costs no more than one that begins.
        if entries.inboxes.len() >= ENTRIES_MIN.max(2 * entries.left) {
            entries.inboxes.retain(|inbox| inbox.strong_count() > 0);
            entries.left = entries.inboxes.len();
        }
        entries.inboxes.push(Arc::downgrade(inbox));
    }

    pub(crate) fn places(&self, log: &Log) -> Places {
        let inboxes = self.0.lock().inboxes.clone();
        let mut places = Places { open: 0, last: log.head.position() };
        let inboxes = inboxes.iter().filter_map(Weak::upgrade);
        for inbox in inboxes.filter(|inbox| !inbox.is_stopped()) {
            places.open += 1;
            places.last = places.last.min(inbox.position(log));
        }
        places
    }
}
