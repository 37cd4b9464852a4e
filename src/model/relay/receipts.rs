//! What a target reports while events are under way.

use crate::model::relay::failure::RelayError;
use crate::value::position::Position;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::sync::Arc;

/// Where a target reports what has become of the events that it was sent; see
/// [`RelayTarget::open`](crate::relay::RelayTarget::open). Cloning is cheap, and any thread may report.
#[derive(Clone)]
pub struct Receipts(Arc<Inner>);

struct Inner {
    reported: Mutex<Reported>,
    /// One message is enough for all that was reported since the relay looked last.
    bell: Sender<()>,
}

#[derive(Default)]
struct Reported {
    confirmed: Position,
    failed: Option<RelayError>,
}

/// The relay's side.
pub(super) struct ReceiptsReader {
    inner: Arc<Inner>,
    pub(super) bell: Receiver<()>,
}

impl Receipts {
    pub(super) fn new() -> (Receipts, ReceiptsReader) {
        let (ring, bell) = bounded(1);
        let inner = Arc::new(Inner { reported: Mutex::default(), bell: ring });
        (Receipts(Arc::clone(&inner)), ReceiptsReader { inner, bell })
    }

    /// Reports that each event that was sent, up to this position, is durable at the target.
    pub fn confirm(&self, position: Position) {
        let mut reported = self.0.reported.lock();
        reported.confirmed = reported.confirmed.max(position);
        drop(reported);
        self.ring();
    }

    /// Reports that what was sent and is not confirmed may be lost. The first report counts; the relay opens the target
    /// again, or stops, as the error says.
    pub fn fail(&self, error: RelayError) {
        self.0.reported.lock().failed.get_or_insert(error);
        self.ring();
    }

    fn ring(&self) {
        // A full channel needs no other message.
        let _ = self.0.bell.try_send(());
    }
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipts").finish_non_exhaustive()
    }
}

impl ReceiptsReader {
    /// The position up to which everything is confirmed, and what has failed, once.
    pub(super) fn take(&self) -> (Position, Option<RelayError>) {
        let mut reported = self.inner.reported.lock();
        (reported.confirmed, reported.failed.take())
    }
}
