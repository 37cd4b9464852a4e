//! Errors, as statuses of HTTP and bodies of `application/problem+json` (RFC 9457).

use crate::shop::Refusal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use filmstrip::{ErrorKind, ExecuteError};
use std::fmt::Display;

/// Why a transaction ended without a commit.
#[derive(Debug)]
pub enum Failure {
    Refused(Refusal),
    Store(filmstrip::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl From<filmstrip::Error> for Failure {
    fn from(error: filmstrip::Error) -> Failure {
        Failure::Store(error)
    }
}

impl From<ExecuteError<Refusal>> for Failure {
    fn from(error: ExecuteError<Refusal>) -> Failure {
        match error {
            ExecuteError::Rejected(refusal) => Failure::Refused(refusal),
            other => Failure::Store(other.into()),
        }
    }
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// Seconds after which the client may try again.
    retry_after: Option<u32>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Display) -> Problem {
        Problem { status, detail: detail.to_string(), retry_after: None }
    }

    fn later(status: StatusCode, detail: impl Display, seconds: u32) -> Problem {
        Problem { retry_after: Some(seconds), ..Problem::new(status, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "status": self.status.as_u16(),
            "title": self.status.canonical_reason(),
            "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, kind, body.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let status = match refusal {
            Refusal::NoSuchCustomer | Refusal::NotOpen => StatusCode::NOT_FOUND,
            Refusal::NoPieces => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::OtherVersion { .. } => StatusCode::PRECONDITION_FAILED,
            Refusal::EmailTaken | Refusal::Exists | Refusal::SoldOut { .. } => StatusCode::CONFLICT,
        };
        Problem::new(status, refusal)
    }
}

impl From<filmstrip::Error> for Problem {
    fn from(error: filmstrip::Error) -> Problem {
        match error.kind() {
            ErrorKind::InvalidInput => Problem::new(StatusCode::BAD_REQUEST, error),
            ErrorKind::TooLarge => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error),
            ErrorKind::StreamNotFound => Problem::new(StatusCode::NOT_FOUND, error),
            // Others were faster at each attempt.
            ErrorKind::Conflict => Problem::later(StatusCode::CONFLICT, error, 1),
            ErrorKind::StorageFull => Problem::later(StatusCode::INSUFFICIENT_STORAGE, error, 60),
            // The command may have been recorded. Sent again with its key, it does not run twice.
            ErrorKind::OutcomeUnknown => Problem::later(StatusCode::SERVICE_UNAVAILABLE, error, 5),
            ErrorKind::Timeout | ErrorKind::ReadOnly | ErrorKind::Closed => {
                Problem::later(StatusCode::SERVICE_UNAVAILABLE, error, 5)
            }
            _ => {
                // The client learns that it failed, and the operator why.
                tracing::error!(%error, "a request failed");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed")
            }
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Store(error) => error.into(),
        }
    }
}

impl<E: Into<Problem>> From<ExecuteError<E>> for Problem {
    fn from(error: ExecuteError<E>) -> Problem {
        match error {
            ExecuteError::Rejected(refusal) => refusal.into(),
            ExecuteError::Conflict(conflict) => Problem::later(StatusCode::CONFLICT, conflict, 1),
            ExecuteError::Store(error) => error.into(),
            _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed"),
        }
    }
}
