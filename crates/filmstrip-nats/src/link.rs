//! A connection to the servers, and a stream that was found as it must be.

use crate::acks::{self, InFlight};
use crate::checks::{check_server, check_stream};
use crate::failpoint::failpoint;
use crate::settings::Settings;
use async_nats::header::{HeaderMap, HeaderValue, NATS_EXPECTED_LAST_SEQUENCE};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, Event, Subject, Subscriber};
use filmstrip::relay::{LastEvent, Receipts, RelayError, RelaySource};
use filmstrip::{Position, RecordedEvent};
use filmstrip_cloudevents::{CloudEvent, Sent};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long the servers have to answer one request, or to take one message.
const REQUEST_WAIT: Duration = Duration::from_secs(2);

/// The media type of a message: the structured mode of CloudEvents.
const CONTENT_TYPE: (&str, &str) = ("Content-Type", "application/cloudevents+json");

pub(crate) struct Link {
    client: Client,
    subject: Subject,
    source: String,
    /// Before the number of a message, in its reply subject.
    inbox: String,
    pub(crate) in_flight: InFlight,
    /// The sequence of the last message that was published, or was there.
    last_sequence: u64,
    /// The largest message that the server takes, headers included, in bytes.
    max_payload: usize,
    replies: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.replies.abort();
    }
}

/// What was found at the servers.
pub(crate) enum Found {
    Link(Box<Link>, Option<LastEvent>),
    NoStream,
}

impl Link {
    /// Connects, and checks the servers and the stream. The stream is made if it is missing and `create` is set.
    pub(crate) async fn open(
        settings: &Settings,
        source: &RelaySource,
        create: bool,
        receipts: Receipts,
    ) -> Result<Found, RelayError> {
        let client = connect(settings, &receipts).await?;
        check_server(&client)?;
        let context = jetstream::new(client.clone());
        let Some(stream) = find(&context, settings, source, create).await? else {
            return Ok(Found::NoStream);
        };
        let info = stream.cached_info();
        check_stream(settings, source, info)?;
        let last_sequence = info.state.last_sequence;
        let last = last_event(&stream, source, last_sequence).await?;
        let inbox = client.new_inbox();
        let replies = subscribe(&client, format!("{inbox}.*")).await?;
        let changes = format!("$JS.EVENT.ADVISORY.STREAM.*.{}", settings.stream);
        let changes = subscribe(&client, changes).await?;
        let in_flight = InFlight::default();
        let name = settings.stream.clone();
        let listening = listen(replies, changes, name, in_flight.clone(), receipts);
        let link = Link {
            max_payload: client.server_info().max_payload,
            client,
            subject: Subject::from(settings.subject.as_str()),
            source: settings.source.clone().unwrap_or_else(|| format!("urn:uuid:{}", source.store)),
            inbox,
            in_flight,
            last_sequence,
            replies: tokio::spawn(listening),
        };
        Ok(Found::Link(Box::new(link), last))
    }

    /// Publishes an event as the message after the last one.
    pub(crate) async fn publish(&mut self, event: &RecordedEvent) -> Result<(), RelayError> {
        let mut payload = Vec::with_capacity(512 + event.payload.len());
        CloudEvent::of(event, &self.source).write(&mut payload);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE.0, CONTENT_TYPE.1);
        if !failpoint!("nats::send_no_expected_sequence") {
            headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(self.last_sequence));
        }
        let bytes = payload.len() + headers_length(self.last_sequence);
        if bytes > self.max_payload {
            return Err(RelayError::refused(format!(
                "the event of position {} is {bytes} bytes as a message; max_payload of the server allows {}",
                event.position, self.max_payload
            )));
        }
        let sequence = self.last_sequence + 1;
        self.in_flight.add(sequence, event.position);
        let reply = format!("{}.{sequence}", self.inbox);
        let publishing = self.client.publish_with_reply_and_headers(
            self.subject.clone(),
            reply,
            headers,
            payload.into(),
        );
        // The client queues it. Its queue is full when the server takes nothing.
        let published = tokio::time::timeout(REQUEST_WAIT, publishing).await;
        let cannot = |why: &dyn std::fmt::Display| {
            RelayError::outage(format!("cannot publish to {}: {why}", self.subject))
        };
        published
            .map_err(|_| cannot(&format_args!("the server took nothing for {REQUEST_WAIT:?}")))?
            .map_err(|error| cannot(&error))?;
        self.last_sequence = sequence;
        Ok(())
    }
}

/// The bytes of a message's headers, as they are sent.
fn headers_length(last_sequence: u64) -> usize {
    let digits = last_sequence.checked_ilog10().map_or(1, |log| log as usize + 1);
    let content = CONTENT_TYPE.0.len() + CONTENT_TYPE.1.len();
    "NATS/1.0\r\n\r\nNats-Expected-Last-Sequence: \r\n: \r\n".len() + digits + content
}

async fn connect(settings: &Settings, receipts: &Receipts) -> Result<Client, RelayError> {
    let failed =
        |error| RelayError::outage(format!("cannot connect to {}: {error}", settings.servers));
    let told = receipts.clone();
    let options = (settings.connect)()
        .name(format!("filmstrip relay {}", settings.stream))
        .connection_timeout(REQUEST_WAIT)
        .request_timeout(Some(REQUEST_WAIT))
        // What was published and not acknowledged is unknown then, so the relay begins again with a new connection.
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                told.fail(RelayError::outage("the connection to the server is broken"));
            }
            std::future::ready(())
        });
    options.connect(addresses(&settings.servers)).await.map_err(failed)
}

/// The addresses in a list that is separated by commas.
fn addresses(servers: &str) -> Vec<String> {
    servers.split(',').map(|address| address.trim().to_owned()).collect()
}

/// The stream; `None` if there is none, and none is to be made.
async fn find(
    context: &jetstream::Context,
    settings: &Settings,
    source: &RelaySource,
    create: bool,
) -> Result<Option<Stream>, RelayError> {
    let name = settings.stream.as_str();
    let error = match context.get_stream(name).await {
        Ok(stream) => return Ok(Some(stream)),
        Err(error) => error,
    };
    let message = format!("cannot look at the stream {name}: {error}");
    match error.kind() {
        GetStreamErrorKind::JetStream(error)
            if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
        GetStreamErrorKind::InvalidStreamName | GetStreamErrorKind::EmptyName => {
            return Err(RelayError::refused(message));
        }
        _ => return Err(RelayError::outage(message)),
    }
    if !create {
        return Ok(None);
    }
    let created = context.create_stream(settings.stream_config(source)).await;
    created.map(Some).map_err(|error| {
        let message = format!("cannot make the stream {name}: {error}");
        match error.kind() {
            CreateStreamErrorKind::JetStream(error) if is_for_good(&error) => {
                RelayError::refused(message)
            }
            _ => RelayError::outage(message),
        }
    })
}

/// Whether the servers will not make the stream whenever they are asked. A cluster that is not whole may do so later.
fn is_for_good(error: &jetstream::Error) -> bool {
    let code = error.error_code();
    let is_request = error.code() < 500 && code != ErrorCode::CLUSTER_NO_PEERS;
    is_request || code == ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED
}

/// The event of the last message. Of a stream with every event its sequence is enough.
async fn last_event(
    stream: &Stream,
    source: &RelaySource,
    last_sequence: u64,
) -> Result<Option<LastEvent>, RelayError> {
    if last_sequence == 0 {
        return Ok(None);
    }
    let (name, is_dense) = (&stream.cached_info().config.name, source.filter.is_none());
    let refused = |what: String| {
        RelayError::refused(format!("message {last_sequence} of the stream {name} {what}"))
    };
    match stream.get_raw_message(last_sequence).await {
        Ok(message) => {
            let sent = Sent::parse(&message.payload).ok_or_else(|| {
                refused("is no event of a relay: somebody else publishes there".into())
            })?;
            if is_dense && sent.position.get() != last_sequence {
                let what =
                    format!("is the event of position {}; they must be equal", sent.position);
                return Err(refused(what));
            }
            Ok(Some(sent.into()))
        }
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => match is_dense {
            true => Ok(Some(LastEvent { position: Position::new(last_sequence), id: None })),
            false => Err(refused("is gone, and only it says which event was sent last".into())),
        },
        Err(error) => Err(RelayError::outage(format!(
            "cannot read the last message of the stream {name}: {error}"
        ))),
    }
}

async fn subscribe(client: &Client, subject: String) -> Result<Subscriber, RelayError> {
    let subscribed = client.subscribe(subject).await;
    subscribed.map_err(|error| RelayError::outage(format!("cannot subscribe: {error}")))
}

/// Handles replies, and reports changes of the stream, until it is aborted.
async fn listen(
    replies: Subscriber,
    changes: Subscriber,
    stream: String,
    in_flight: InFlight,
    receipts: Receipts,
) {
    let is_change = |subject: &str| subject.contains(".UPDATED.") || subject.contains(".DELETED.");
    let mut both = futures_util::stream::select(replies, changes);
    while let Some(message) = both.next().await {
        match message.subject.starts_with("$JS.EVENT.") {
            true if is_change(&message.subject) => {
                let what = format!("the stream {stream} was changed, and is checked again");
                receipts.fail(RelayError::outage(what));
            }
            true => {}
            false => acks::handle(&message, &stream, &in_flight, &receipts),
        }
    }
}
