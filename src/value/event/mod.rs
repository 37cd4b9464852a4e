//! Events: as a writer appends them ([`NewEvent`]) and as the store returns them ([`RecordedEvent`]).

mod id;

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::id::new_id;
use crate::value::filter::Filter;
use crate::value::json;
use crate::value::json::told::Told;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use bytes::Bytes;
use bytestring::ByteString;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// The format of a payload's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PayloadFormat {
    /// One JSON value.
    Json,
    /// Bytes that only the application understands.
    Bytes,
    /// The payload of a private event, encrypted: its key is not at hand. Nobody was forgotten by that: a store or a
    /// follower that has the keys shows it. Only with the feature `erasure`, and never of an event to be appended.
    #[cfg(feature = "erasure")]
    Sealed,
    /// The payload of a private event whose data subject was forgotten, as the journal says. It is empty, for nobody
    /// can read it any more. Only with the feature `erasure`, and never of an event to be appended.
    #[cfg(feature = "erasure")]
    Erased,
}

/// Why an event was recorded, and what else the application stores with it.
///
/// ```
/// use filmstrip::Metadata;
/// let metadata = Metadata::default().user("alice").entry("ip", "192.0.2.7");
/// assert_eq!(metadata.user.as_deref(), Some("alice"));
/// assert_eq!(metadata.entries["ip"], "192.0.2.7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// The id that all events of one business conversation share.
    pub correlation_id: Option<Uuid>,
    /// The event or command that led to this event.
    pub causation_id: Option<Uuid>,
    /// The command that led to this event. A command with an id runs at most once per stream.
    pub command_id: Option<Uuid>,
    /// The user who asked for it.
    pub user: Option<String>,
    /// Further entries, by key.
    pub entries: BTreeMap<String, String>,
}

impl Metadata {
    /// Sets the correlation id.
    #[must_use]
    pub fn correlation_id(mut self, id: Uuid) -> Metadata {
        self.correlation_id = Some(id);
        self
    }

    /// Sets the causation id.
    #[must_use]
    pub fn causation_id(mut self, id: Uuid) -> Metadata {
        self.causation_id = Some(id);
        self
    }

    /// Sets the command id. Let it belong to one command: another one to the same aggregate that is sent under it does
    /// not run, and returns the first one's outcome, with
    /// [`already_executed`](crate::repository::Executed::already_executed).
    #[must_use]
    pub fn command_id(mut self, id: Uuid) -> Metadata {
        self.command_id = Some(id);
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Metadata {
        self.user = Some(user.into());
        self
    }

    /// Adds an entry of the application's own.
    #[must_use]
    pub fn entry(mut self, key: impl Into<String>, value: impl Into<String>) -> Metadata {
        self.entries.insert(key.into(), value.into());
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Metadata { correlation_id, causation_id, command_id, user, entries } = self;
        let has_id = correlation_id.or(*causation_id).or(*command_id).is_some();
        !has_id && user.is_none() && entries.is_empty()
    }
}

/// An event to be appended. It gets its position, version and time from the store.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// let store = Store::temporary()?;
/// let event = NewEvent::json("CustomerRegistered", &serde_json::json!({"name": "Alice"}))?;
/// let done = store.append("Customer-1001", ExpectedVersion::NoStream, [event])?;
/// assert_eq!(done.version.get(), 1);
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    pub(crate) schema_version: u16,
    pub(crate) format: PayloadFormat,
    pub(crate) payload: Bytes,
    pub(crate) metadata: Metadata,
    /// Sorted, each once.
    pub(crate) tags: Vec<String>,
    pub(crate) occurred_at: Option<DateTime<Utc>>,
    /// Whom it is about, if it is private.
    #[cfg(feature = "erasure")]
    pub(crate) subject: Option<String>,
}

impl NewEvent {
    /// Makes an event whose payload is `data` as JSON.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `data` cannot be written as JSON that reads back: a float in it is
    /// not finite, a map's key is not a string, or it nests deeper than 127.
    pub fn json(event_type: impl Into<String>, data: &impl Serialize) -> Result<NewEvent> {
        let event_type = event_type.into();
        let payload = json::to_vec(data).map_err(|e| {
            let e = Told::from(e);
            let message = format!("event {event_type} cannot be written as JSON: {e}");
            Error::with_source(ErrorKind::InvalidInput, message, e)
        })?;
        Ok(NewEvent::with_payload(event_type, PayloadFormat::Json, payload.into()))
    }

    /// Makes an event whose payload is bytes that only the application understands.
    pub fn bytes(event_type: impl Into<String>, payload: impl Into<Bytes>) -> NewEvent {
        NewEvent::with_payload(event_type.into(), PayloadFormat::Bytes, payload.into())
    }

    pub(crate) fn with_payload(
        event_type: String,
        format: PayloadFormat,
        payload: Bytes,
    ) -> NewEvent {
        NewEvent {
            id: new_id(),
            event_type,
            schema_version: 1,
            format,
            payload,
            metadata: Metadata::default(),
            tags: Vec::new(),
            occurred_at: None,
            #[cfg(feature = "erasure")]
            subject: None,
        }
    }

    /// Sets the id; the default is a new UUID of version 7. Appending the same ids again with the same expected version
    /// is recognised and writes nothing.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> NewEvent {
        self.id = id;
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> NewEvent {
        self.metadata = metadata;
        self
    }

    /// Adds a tag: the name of something that the event is about besides its stream, such as `course:c1`. Events are
    /// [selected](crate::Filter::tag) by their tags, and [conditions](crate::Commit::unless) of commits name them. The
    /// order of tags does not matter, and a tag that is there already changes nothing.
    ///
    /// A tag has 1 to [`TAG_BYTES_MAX`](crate::limits::TAG_BYTES_MAX) bytes and no control character, and an event at
    /// most [`EVENT_TAGS_MAX`](crate::limits::EVENT_TAGS_MAX) of them; others are refused by the commit.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, Filter, NewEvent, Store};
    /// let store = Store::temporary()?;
    /// let event = NewEvent::json("StudentSubscribed", &())?.tag("course:c1").tag("student:s7");
    /// store.append("Subscription-1", ExpectedVersion::NoStream, [event])?;
    ///
    /// let event = store.read_all().filter(Filter::tag("student:s7")).iter()?.next().expect("one")?;
    /// assert!(event.tags().eq(["course:c1", "student:s7"]));
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> NewEvent {
        let tag = tag.into();
        if let Err(place) = self.tags.binary_search(&tag) {
            self.tags.insert(place, tag);
        }
        self
    }

    /// Sets when the event happened, if that is not when the store records it. Stored in microseconds.
    #[must_use]
    pub fn occurred_at(mut self, time: DateTime<Utc>) -> NewEvent {
        self.occurred_at = Some(time);
        self
    }

    /// Sets the version of the payload's schema; the default is 1.
    #[must_use]
    pub fn schema_version(mut self, version: u16) -> NewEvent {
        self.schema_version = version;
        self
    }

    /// Makes the event private: it is about the person whom the application calls `subject`, the *data subject*, and is
    /// recorded encrypted under a key of that subject's. When the subject is
    /// [forgotten](crate::Store::forget), nobody can read it any more. Needs the feature `erasure`, and a store that
    /// was opened with [keys](crate::StoreBuilder::keys).
    ///
    /// Encrypted are the payload, and of the metadata the user and the entries. **Everything else stays readable for
    /// ever**: the name of the stream, the event's type, tags, times and ids, and how long the payload is. So names
    /// and tags hold ids, and no personal data. `subject` is an id, too, of 1 to
    /// [`SUBJECT_BYTES_MAX`](crate::erasure::SUBJECT_BYTES_MAX) bytes; it is not recorded.
    ///
    /// ```
    /// use filmstrip::erasure::{KeyDirectory, KeyEncryptingKey};
    /// use filmstrip::read::PayloadFormat;
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// # let directory = tempfile::tempdir()?;
    /// # let kek = || Ok(KeyEncryptingKey::new(&[7; 32]));
    /// let keys = KeyDirectory::create(directory.path().join("keys"), kek)?;
    /// let store = Store::builder().keys(keys).open(directory.path().join("shop"))?;
    ///
    /// let event = NewEvent::json("AddressGiven", &"12 Row Lane")?.private("customer-7");
    /// store.append("Order-1", ExpectedVersion::NoStream, [event])?;
    /// let read = || store.read_stream("Order-1").iter()?.next().expect("one event");
    /// assert_eq!(read()?.json::<String>()?, "12 Row Lane");
    ///
    /// store.forget("customer-7")?;
    /// assert_eq!(read()?.format, PayloadFormat::Erased);
    /// assert_eq!(read()?.event_type, "AddressGiven");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "erasure")]
    #[must_use]
    pub fn private(mut self, subject: impl Into<String>) -> NewEvent {
        self.subject = Some(subject.into());
        self
    }
}

/// The name of a kind of event, such as `CustomerRegistered`. Dereferences to `str`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(ByteString);

impl EventType {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) const fn from_static(name: &'static str) -> EventType {
        EventType(ByteString::from_static(name))
    }

    pub(crate) fn from_stored(name: Bytes) -> Option<EventType> {
        ByteString::try_from(name).ok().map(EventType)
    }
}

impl From<&str> for EventType {
    fn from(name: &str) -> EventType {
        EventType(ByteString::from(name))
    }
}

impl From<String> for EventType {
    fn from(name: String) -> EventType {
        EventType(ByteString::from(name))
    }
}

impl Deref for EventType {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl PartialEq<str> for EventType {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for EventType {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// The metadata of a recorded event: shared, and without an allocation if there is none. Dereferences to [`Metadata`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RecordedMetadata(Option<Arc<Extras>>);

/// What most events do not have.
#[derive(PartialEq, Eq)]
struct Extras {
    metadata: Metadata,
    tags: Vec<String>,
    /// Of a private event: the id of the key that sealed it.
    #[cfg(feature = "erasure")]
    key_id: Option<[u8; 16]>,
}

impl RecordedMetadata {
    pub(crate) fn new(metadata: Metadata, tags: Vec<String>) -> RecordedMetadata {
        let is_empty = metadata.is_empty() && tags.is_empty();
        let extras = || Extras {
            metadata,
            tags,
            #[cfg(feature = "erasure")]
            key_id: None,
        };
        RecordedMetadata((!is_empty).then(|| Arc::new(extras())))
    }

    /// That of a private event.
    #[cfg(feature = "erasure")]
    pub(crate) fn of_private(
        metadata: Metadata,
        tags: Vec<String>,
        key_id: [u8; 16],
    ) -> RecordedMetadata {
        RecordedMetadata(Some(Arc::new(Extras { metadata, tags, key_id: Some(key_id) })))
    }

    /// The same without the user and the entries.
    #[cfg(feature = "erasure")]
    fn closed(self) -> RecordedMetadata {
        if self.user.is_none() && self.entries.is_empty() {
            return self;
        }
        let (tags, key_id) = (self.tags().to_vec(), self.key_id());
        let metadata = Metadata { user: None, entries: BTreeMap::new(), ..Metadata::clone(&self) };
        RecordedMetadata(Some(Arc::new(Extras { metadata, tags, key_id })))
    }

    /// The same with the user and the entries, which were sealed.
    #[cfg(feature = "erasure")]
    pub(crate) fn opened(
        self,
        user: Option<String>,
        entries: BTreeMap<String, String>,
    ) -> RecordedMetadata {
        if user.is_none() && entries.is_empty() {
            return self;
        }
        let (tags, key_id) = (self.tags().to_vec(), self.key_id());
        let metadata = Metadata { user, entries, ..Metadata::clone(&self) };
        RecordedMetadata(Some(Arc::new(Extras { metadata, tags, key_id })))
    }

    #[cfg(feature = "erasure")]
    pub(crate) fn key_id(&self) -> Option<[u8; 16]> {
        self.0.as_ref()?.key_id
    }

    fn tags(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |extras| &extras.tags)
    }
}

impl Deref for RecordedMetadata {
    type Target = Metadata;
    fn deref(&self) -> &Metadata {
        static EMPTY: LazyLock<Metadata> = LazyLock::new(Metadata::default);
        self.0.as_ref().map_or(&EMPTY, |extras| &extras.metadata)
    }
}

impl fmt::Debug for RecordedMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// An event as the store holds it: a fact that will not change.
///
/// Cloning is cheap: stream, type and payload share the buffer that they were read into. That buffer stays in memory as
/// long as any event from it does (up to 256 KiB for small events), so copy what you keep for long.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// let store = Store::temporary()?;
/// store.append("Door-1", ExpectedVersion::Any, [NewEvent::json("Opened", &"by Alice")?])?;
/// let event = store.read_stream("Door-1").iter()?.next().expect("one event")?;
/// assert_eq!(event.event_type, "Opened");
/// assert_eq!(event.json::<String>()?, "by Alice");
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// Its place in the global sequence.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in that stream.
    pub version: Version,
    /// The id that its writer gave it.
    pub id: Uuid,
    /// The event's type.
    pub event_type: EventType,
    /// The version of its payload's schema.
    pub schema_version: u16,
    /// When the store recorded it; `as_of` uses this time.
    pub recorded_at: DateTime<Utc>,
    /// When it happened: `recorded_at`, unless its writer set another time.
    pub occurred_at: DateTime<Utc>,
    /// Why it was recorded, and what else its writer stored with it.
    pub metadata: RecordedMetadata,
    /// The format of the payload's bytes.
    pub format: PayloadFormat,
    /// The payload.
    pub payload: Bytes,
}

impl RecordedEvent {
    /// Its [tags](NewEvent::tag), sorted.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.metadata.tags().iter().map(String::as_str)
    }

    /// Decodes the payload as JSON.
    ///
    /// # Errors
    /// [`Undecodable`](ErrorKind::Undecodable) if the payload is not JSON of this type. Of a private event,
    /// [`Erased`](ErrorKind::Erased) if its subject was forgotten, and
    /// [`KeysUnavailable`](ErrorKind::KeysUnavailable) if it is [sealed](PayloadFormat::Sealed).
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|e| {
            #[cfg(feature = "erasure")]
            if let Some(error) = self.unreadable() {
                return error;
            }
            let e = Told::from(e);
            let message = format!(
                "event {} at version {} of {} does not decode as {}: {e}",
                self.event_type,
                self.version,
                self.stream,
                std::any::type_name::<T>()
            );
            Error::with_source(ErrorKind::Undecodable, message, e)
        })
    }

    /// The same without what was private in it.
    #[cfg(feature = "erasure")]
    pub(crate) fn without_content(self, format: PayloadFormat) -> RecordedEvent {
        let metadata = self.metadata.closed();
        RecordedEvent { format, payload: Bytes::new(), metadata, ..self }
    }

    /// Why nobody, or nobody here, can read the payload; `None` if it can be read.
    #[cfg(feature = "erasure")]
    pub(crate) fn unreadable(&self) -> Option<Error> {
        let RecordedEvent { event_type, version, stream, .. } = self;
        let event = format!("event {event_type} at version {version} of {stream}");
        match self.format {
            PayloadFormat::Json | PayloadFormat::Bytes => None,
            PayloadFormat::Sealed => {
                let message = format!("{event} is sealed, and its key is not at hand");
                Some(Error::new(ErrorKind::KeysUnavailable, message))
            }
            PayloadFormat::Erased => {
                let message = format!("{event} is erased: its data subject was forgotten");
                Some(Error::new(ErrorKind::Erased, message))
            }
        }
    }
}

impl Filter {
    /// Whether a recorded event passes.
    #[must_use]
    pub fn wants_event(&self, event: &RecordedEvent) -> bool {
        self.wants_tagged(event.stream.as_str(), event.event_type.as_str(), event.tags())
    }
}

impl fmt::Debug for RecordedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RecordedEvent");
        debug
            .field("position", &self.position.get())
            .field("stream", &self.stream.as_str())
            .field("version", &self.version.get())
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("schema_version", &self.schema_version)
            .field("recorded_at", &self.recorded_at)
            .field("occurred_at", &self.occurred_at);
        if !self.metadata.is_empty() {
            debug.field("metadata", &self.metadata);
        }
        if self.tags().len() > 0 {
            debug.field("tags", &self.metadata.tags());
        }
        match self.format {
            PayloadFormat::Json => debug.field("payload", &String::from_utf8_lossy(&self.payload)),
            PayloadFormat::Bytes => debug.field("payload", &self.payload),
            #[cfg(feature = "erasure")]
            PayloadFormat::Sealed => {
                debug.field("payload", &format_args!("sealed, {} bytes", self.payload.len()))
            }
            #[cfg(feature = "erasure")]
            PayloadFormat::Erased => debug.field("payload", &format_args!("erased")),
        };
        debug.finish()
    }
}
