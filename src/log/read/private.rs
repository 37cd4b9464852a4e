//! Private events as readers see them. This is the only place where what is sealed is opened.

use crate::codec::envelope::{Place, Read};
use crate::codec::sealed_envelope::{key_id, opened, payload_at};
use crate::journal::read::Journal;
use crate::sealing::event::open;
use crate::sealing::key::KeyId;
use crate::sealing::source::FoundKey;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::{PayloadFormat, RecordedEvent};
use bytes::Bytes;
use std::cell::Cell;

thread_local! {
    static LEAVES_SEALED: Cell<bool> = const { Cell::new(false) };
}

/// Restores the thread's earlier `LEAVES_SEALED` when it is dropped.
struct LeftBefore(bool);

impl Drop for LeftBefore {
    fn drop(&mut self) {
        LEAVES_SEALED.set(self.0);
    }
}

impl RecordedEvent {
    /// The id of the key that sealed the event; `None` if it is not [private](crate::NewEvent::private). Events with
    /// the same key id are about the same data subject, also when that was forgotten.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        self.metadata.key_id().map(KeyId::new)
    }
}

/// Runs `work`, which leaves private events sealed: what asks for nothing but the names of events while commits wait,
/// for a key service may take seconds; and what sends events to where nobody can forget them.
pub(crate) fn leaving_sealed<T>(work: impl FnOnce() -> T) -> T {
    let _before = LeftBefore(LEAVES_SEALED.replace(true));
    work()
}

/// The private event in `envelope`, from which `read` is: opened, if its key can be had.
///
/// # Errors
/// If it cannot be known whether there is a key; `Corrupt`, if the key does not open it.
#[cold]
pub(crate) fn event(
    read: Read,
    envelope: Bytes,
    place: Place,
    journal: &Journal,
) -> Result<RecordedEvent> {
    let sealed = read.into_event(envelope.clone(), place);
    if LEAVES_SEALED.get() {
        return Ok(sealed);
    }
    let id = key_id(&envelope).ok_or_else(|| unopened(&sealed))?;
    let found = match journal.keys() {
        Some(keys) => keys.find(KeyId::new(id))?,
        None => FoundKey::Absent,
    };
    match found {
        FoundKey::Absent => Ok(sealed),
        FoundKey::Forgotten => {
            Ok(RecordedEvent { format: PayloadFormat::Erased, payload: Bytes::new(), ..sealed })
        }
        FoundKey::Key(key) => {
            let at = payload_at(&envelope).unwrap_or(usize::MAX);
            let plaintext = open(&key, sealed.stream.as_str(), &envelope, at);
            let event = plaintext
                .ok()
                .and_then(|plaintext| opened(sealed.clone(), &envelope, &plaintext.into()));
            event.ok_or_else(|| unopened(&sealed))
        }
    }
}

#[cold]
fn unopened(event: &RecordedEvent) -> Error {
    let RecordedEvent { version, stream, position, .. } = event;
    let message = format!(
        "version {version} of {stream} (position {position}) is damaged: the key that it names does not open it"
    );
    Error::new(ErrorKind::Corrupt, message)
}
