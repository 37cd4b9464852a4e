//! The replies of JetStream to what was published: acknowledgements, and errors.
//!
//! A message is published with the sequence that it must follow, and the same number in its reply subject. So each
//! reply says which message it is for, and the stream takes no message out of turn.

use async_nats::jetstream::ErrorCode;
use async_nats::{Message, StatusCode};
use filmstrip::Position;
use filmstrip::relay::{Receipts, RelayError};
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The stream is at a limit of its own.
const STREAM_STORE_FAILED: u64 = 10_077;

/// The messages that were published and are not acknowledged.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<VecDeque<(u64, Position)>>>);

impl InFlight {
    pub(crate) fn add(&self, sequence: u64, position: Position) {
        self.lock().push_back((sequence, position));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes out what is stored when the message of this sequence is; the position of that one.
    fn stored(&self, sequence: u64) -> Option<Position> {
        let mut in_flight = self.lock();
        let mut last = None;
        while let Some((_, position)) = in_flight.pop_front_if(|(sent, _)| *sent <= sequence) {
            last = Some(position);
        }
        last
    }

    /// The position that the message of this sequence has.
    fn position(&self, sequence: u64) -> Option<Position> {
        self.lock().iter().find(|(sent, _)| *sent == sequence).map(|(_, position)| *position)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Position)>> {
        // It is whole after each step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What JetStream replies.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    seq: u64,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Handles the reply to one message.
pub(crate) fn handle(reply: &Message, stream: &str, in_flight: &InFlight, receipts: &Receipts) {
    match read(reply, stream, in_flight) {
        Ok(stored) => {
            if let Some(position) = in_flight.stored(stored) {
                receipts.confirm(position);
            }
        }
        Err(error) => receipts.fail(error),
    }
}

/// The sequence of a message that is stored now.
fn read(reply: &Message, stream: &str, in_flight: &InFlight) -> Result<u64, RelayError> {
    if reply.status == Some(StatusCode::NO_RESPONDERS) {
        let message =
            format!("nobody answers for the stream {stream}: it has no leader, or is gone");
        return Err(RelayError::outage(message));
    }
    let asked: Option<u64> = reply.subject.rsplit('.').next().and_then(|last| last.parse().ok());
    let parsed: Option<Reply> = serde_json::from_slice(&reply.payload).ok();
    let (Some(asked), Some(Reply { seq, error })) = (asked, parsed) else {
        let shown = String::from_utf8_lossy(&reply.payload[..reply.payload.len().min(200)]);
        let message = format!("the stream {stream} replied what is no acknowledgement: {shown}");
        return Err(RelayError::outage(message));
    };
    match error {
        Some(error) => Err(refusal(&error, asked, stream, in_flight)),
        None if seq == asked => Ok(seq),
        None => Err(RelayError::refused(format!(
            "the stream {stream} stored message {asked} as {seq}: it does not heed the expected sequence"
        ))),
    }
}

fn refusal(error: &Refusal, sequence: u64, stream: &str, in_flight: &InFlight) -> RelayError {
    let Refusal { err_code, description } = error;
    match *err_code {
        code if code == ErrorCode::STREAM_WRONG_LAST_SEQUENCE.0 => RelayError::outage(format!(
            "the stream {stream} did not expect message {sequence} next ({description})"
        )),
        code if code == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM.0 => {
            let position = in_flight.position(sequence).map(|position| position.to_string());
            RelayError::refused(format!(
                "the event of position {} is larger than max_msg_size of the stream {stream} allows",
                position.unwrap_or_else(|| format!("of message {sequence}"))
            ))
        }
        STREAM_STORE_FAILED => RelayError::outage(format!(
            "the stream {stream} takes no more ({description}); raise its limits, or make room"
        )),
        code => RelayError::outage(format!(
            "the stream {stream} refused a message ({code}, {description})"
        )),
    }
}
