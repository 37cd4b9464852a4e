//! What a relay sends to: the seam for brokers and files, which are crates of their own.

use crate::model::relay::failure::RelayError;
use crate::model::relay::receipts::Receipts;
use crate::value::event::RecordedEvent;
use crate::value::position::Position;
use uuid::Uuid;

/// Something that a store's events are sent to: a broker, a file, another service.
///
/// A relay calls these methods on a thread of its own, one at a time. They may block for a few seconds; stopping the
/// relay and closing the store wait for them. A panic stops the relay as [`RelayError::Refused`] does.
///
/// The relay sends events in the order of their positions, each once after each [`open`](RelayTarget::open). A target
/// that holds events durably, in that order, and reports the last one correctly therefore gets each event exactly once:
/// the relay begins after what `open` returns. A target that cannot make sure of the order itself must be written to by
/// one relay alone.
pub trait RelayTarget: Send + 'static {
    /// Returns its name for messages, statistics and metrics, such as `nats ORDERS`. A store runs one relay of a name
    /// at a time.
    fn name(&self) -> String;

    /// Connects, checks that events of `source` may be sent to it, and returns the last event that it holds durably;
    /// `None` if it has never held one.
    ///
    /// It is called first, and again after each error: it gives up the connection from before. From now on,
    /// confirmations go to `receipts`; those of an earlier call are ignored.
    ///
    /// # Errors
    /// [`RelayError`] says whether another attempt can help.
    fn open(
        &mut self,
        source: &RelaySource,
        receipts: Receipts,
    ) -> Result<Option<LastEvent>, RelayError>;

    /// Sends these events. It need not wait until they are durable; the target
    /// [confirms](Receipts::confirm) that later, or reports that it [failed](Receipts::fail), from any thread.
    ///
    /// # Errors
    /// [`RelayError`] says whether another attempt can help. Some of the events may have been sent.
    fn send(&mut self, events: &[RecordedEvent]) -> Result<(), RelayError>;

    /// Called when the relay has nothing to send at the moment, or waits for confirmations: what was collected must go
    /// out now.
    ///
    /// # Errors
    /// As for [`send`](RelayTarget::send).
    fn flush(&mut self) -> Result<(), RelayError> {
        Ok(())
    }
}

/// What a target is told of the store whose events it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelaySource {
    /// The store's id. A backup that was restored has the same one.
    pub store: Uuid,
    /// The filter, as JSON that is the same for the same filter; `None` if every event is sent, so that positions
    /// follow each other without a gap.
    pub filter: Option<String>,
}

/// The last event that a target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEvent {
    /// Its position.
    pub position: Position,
    /// Its id, if the target knows it. The relay compares it with the store's event at this position, and refuses a
    /// target that holds another history.
    pub id: Option<Uuid>,
}
