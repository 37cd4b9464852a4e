//! What is answered where there is no page.

use axum::http::StatusCode;
use filmstrip::{ErrorKind, StreamId};
use std::fmt::Display;

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) why: String,
    /// The stream whose film has what may have been meant.
    pub(crate) film: Option<StreamId>,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, why: impl Display) -> Fault {
        Fault { status, why: why.to_string(), film: None }
    }

    pub(crate) fn not_found(why: impl Display) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, why)
    }

    /// The same, with a way to the newest frame of a stream.
    pub(crate) fn beside(self, stream: &StreamId) -> Fault {
        Fault { film: Some(stream.clone()), ..self }
    }

    pub(crate) fn bad_request(why: impl Display) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, why)
    }
}

impl From<filmstrip::Error> for Fault {
    fn from(error: filmstrip::Error) -> Fault {
        let status = match error.kind() {
            ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::StreamNotFound => StatusCode::NOT_FOUND,
            ErrorKind::Closed | ErrorKind::ReadOnly | ErrorKind::Timeout => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Fault::new(status, error)
    }
}
