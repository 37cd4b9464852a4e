//! Copying a store into a new one, with some of its events changed.

use crate::doctor::copy::{Copy, Instead, copy};
#[cfg(not(feature = "erasure"))]
use crate::journal::manifest::FORMAT;
use crate::journal::manifest::Manifest;
use crate::model::event_set::set::StoredEvent;
use crate::storage::files;
use crate::store::Store;
use crate::store::export_target::ExportTarget;
use crate::value::error::{Error, ErrorKind, HandlerError, Result};
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::position::Position;
use std::path::Path;
use uuid::Uuid;

/// What a copy has in the place of an event; see [`Store::copy_into`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyAs {
    /// The event as it is.
    Unchanged,
    /// Nothing: the event is left out.
    Nothing,
    /// These events, in this order; without any, nothing. A payload has the format of the event's.
    Events(Vec<StoredEvent>),
}

/// The result of [`Store::copy_into`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The last position of the store that was copied: its head when the copy began.
    pub position: Position,
    /// Events in the copy.
    pub events: u64,
    /// Events of the store that are in the copy as they were.
    pub unchanged: u64,
    /// Events of the store that have others in their place.
    pub replaced: u64,
    /// Events of the store that were left out.
    pub left_out: u64,
    /// Commands that the copy does not know to have run, because all of their events in a stream were left out. Sent
    /// again, they run again.
    pub forgotten_commands: u64,
}

impl Store {
    /// Copies the store into a new one in the directory `path`, which is absent or empty, or holds a copy that a crash
    /// ended. `change` is called with each event in the order of positions, and says what the copy has in its place.
    ///
    /// This is for changes that no [upcaster](crate::Event::upcast) can make on reading: one event that should have
    /// been several, or none. This store is only read: up to its head at the time of the call, while others may write
    /// on. What they write meanwhile is not in the copy; [`Copied::position`] says where to compare.
    ///
    /// * **An event stays in its stream**, its commit and its order, and keeps its times, tags and metadata: the
    ///   command, correlation and causation ids, the user and the entries. With it, so does every event in its place.
    /// * **Ids**: what is unchanged keeps its id, and the first of several events has it. The others have the UUID of
    ///   version 5 ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562#section-5.5)) of that id and the numbers "2",
    ///   "3", …, without those that the commit has given out in an earlier copy. So the same change of the same store
    ///   leads to the same ids.
    /// * **Versions and positions** are dense, so those after a change are others. Versions and positions that were
    ///   noted elsewhere must be translated: `change` can count what it returns.
    /// * **Commands** that have run are known to have run, as long as one of their events in the stream is left. A
    ///   retry of an append with expected versions is recognised only where the stream is unchanged up to there.
    /// * **Consumer groups and processes** go on where they were. What takes the place of a finished or parked event is
    ///   finished or parked, too. Deadlines stay. A group keeps its filter: if that names event types that the copy
    ///   no longer has, remove the group there, and start it again with the new ones, after the copy's head. A process
    ///   reads on with the filter of its program, which has to name the new types.
    /// * **Positions of other logs** that consumers have [tracked](crate::Commit::tracking) stay.
    /// * **Views and snapshots** are not copied; they are built again.
    ///
    /// The copy has an id of its own. Without a change, groups and processes, each hash that was noted of this store
    /// [holds](Store::check_hash) in it. Its own [`head_hash`](Store::head_hash) may be another one, because it ends as
    /// a store that was closed. It becomes a store only once all of it is durable. Memory is bounded, whatever the
    /// length of the store: some commits, 256 MiB for the streams whose versions move, and 32 MiB of the state of
    /// groups and processes without deadlines, of which there may be any number, with up to six times as much for where
    /// its positions have come to.
    ///
    /// To cancel, return an error from `change`. Progress is reported as `tracing` events, every 64 MiB.
    ///
    /// # Errors
    /// * [`Faulted`](ErrorKind::Faulted): `change` returned an error, which is the source; the message has its place.
    /// * [`InvalidInput`](ErrorKind::InvalidInput): the directory is not empty, or is inside this store; an event that
    ///   `change` returned has no valid type, or a payload that is not JSON in the place of one that is; a consumer
    ///   group has not finished, or has parked, an event in whose place is one that its filter does not want: let the
    ///   group finish it, or [remove](crate::group::ConsumerGroup::remove) the group; or a process is parked at an
    ///   event, or has effects to come of one, that the copy does not have as one event. The last is found at the end:
    ///   let processes come to rest first.
    /// * [`TooLarge`](ErrorKind::TooLarge): an event, or a commit with what takes the place of its events, is over the
    ///   [limits](crate::limits); more streams have moved than can be held; or the state of groups and processes
    ///   without deadlines, which is what is parked or to come, is 32 MiB or more, each entry counted with 64 bytes
    ///   more.
    /// * [`Locked`](ErrorKind::Locked): another copy into the directory is under way.
    /// * [`Corrupt`](ErrorKind::Corrupt), [`UnsupportedFormat`](ErrorKind::UnsupportedFormat),
    ///   [`StorageFull`](ErrorKind::StorageFull), [`Io`](ErrorKind::Io), [`Moved`](ErrorKind::Moved),
    ///   [`Closed`](ErrorKind::Closed).
    ///
    /// Whatever the error, or if `change` panics: what was written by then is removed. After a crash, it is not a
    /// store, and the next copy into the directory replaces it.
    ///
    /// ```
    /// use filmstrip::copy::CopyAs;
    /// use filmstrip::repository::StoredEvent;
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// use serde_json::json;
    /// # let directory = tempfile::tempdir()?;
    /// # let new = directory.path().join("orders-2");
    ///
    /// let store = Store::temporary()?;
    /// // "Shipped" should have been two events.
    /// let shipped = json!({ "invoice": 7, "parcel": "P-1" });
    /// store.append("Order-1", ExpectedVersion::NoStream, [
    ///     NewEvent::json("Placed", &())?,
    ///     NewEvent::json("Shipped", &shipped)?,
    ///     NewEvent::json("Delivered", &())?,
    /// ])?;
    ///
    /// let copied = store.copy_into(&new, |event| match event.event_type.as_str() {
    ///     "Shipped" => {
    ///         let fields: serde_json::Value = event.json()?;
    ///         Ok(CopyAs::Events(vec![
    ///             StoredEvent::json_of("Invoiced", 1, &fields["invoice"])?,
    ///             StoredEvent::json_of("HandedOver", 1, &fields["parcel"])?,
    ///         ]))
    ///     }
    ///     _ => Ok(CopyAs::Unchanged),
    /// })?;
    /// assert_eq!((copied.events, copied.replaced), (4, 1));
    ///
    /// let copy = Store::open(&new)?;
    /// let film = copy.read_stream("Order-1").collect()?;
    /// let types: Vec<&str> = film.iter().map(|event| event.event_type.as_str()).collect();
    /// assert_eq!(types, ["Placed", "Invoiced", "HandedOver", "Delivered"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_into(
        &self,
        path: impl AsRef<Path>,
        mut change: impl FnMut(&RecordedEvent) -> Result<CopyAs, HandlerError>,
    ) -> Result<Copied> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        let path = files::absolute(path.as_ref())?;
        // The copy must not be readable for more users than the store.
        let (disk, mode) = (log.journal.disk(), self.parts.directory.mode()?);
        let mut target = ExportTarget::begin(&path, self.path(), disk, mode)?;
        let (path, its_disk) = target.make_journal()?;
        let store = Uuid::now_v7();
        let mut change = |event: &RecordedEvent| match change(event) {
            Ok(CopyAs::Unchanged) => Ok(Instead::Itself),
            Ok(CopyAs::Nothing) => Ok(Instead::Others(Vec::new())),
            Ok(CopyAs::Events(events)) => Ok(Instead::Others(in_place_of(event, events))),
            Err(cause) => Err(failed(event, cause)),
        };
        let copied = copy(log, &its_disk, &path, store, &mut change)?;
        #[cfg(feature = "erasure")]
        let format = log.privacy.format();
        #[cfg(not(feature = "erasure"))]
        let format = FORMAT;
        target.finish(&Manifest { format, ..Manifest::of_store(store, log.now()) })?;
        Ok(Copied::new(copied))
    }
}

fn in_place_of(event: &RecordedEvent, events: Vec<StoredEvent>) -> Vec<NewEvent> {
    let new = |stored: StoredEvent| {
        let StoredEvent { event_type, schema_version, payload } = stored;
        NewEvent::with_payload(event_type.to_string(), event.format, payload)
            .schema_version(schema_version)
    };
    events.into_iter().map(new).collect()
}

/// The error for `event`, at which `change` returned the error `cause`.
fn failed(event: &RecordedEvent, cause: HandlerError) -> Error {
    let message = format!(
        "the copy ended at position {}, version {} of {}, {}: {cause}",
        event.position, event.version, event.stream, event.event_type
    );
    Error::with_source(ErrorKind::Faulted, message, cause)
}

impl Copied {
    fn new(copy: Copy) -> Copied {
        let Copy { position, events, unchanged, replaced, left_out, forgotten_commands } = copy;
        let position = Position::new(position);
        Copied { position, events, unchanged, replaced, left_out, forgotten_commands }
    }
}
