//! What is answered where there is no page.

use axum::http::StatusCode;
use filmstrip::ErrorKind;
use std::fmt::Display;

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) why: String,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, why: impl Display) -> Fault {
        Fault { status, why: why.to_string() }
    }

    pub(crate) fn not_found(why: impl Display) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, why)
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
