//! What a request says about itself, for the metadata of the events that it leads to.

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use filmstrip::Metadata;
use filmstrip::uuid::Uuid;

/// * `Idempotency-Key`, a UUID: the id of the command. Sent again, the command does not run again.
/// * `traceparent` (W3C): kept with the events, whose correlation id is the trace's.
/// * `X-User`: who sent it. A real service takes this from its authentication.
pub struct Context(pub Metadata);

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Context, Problem> {
        let mut metadata = Metadata::default();
        if let Some(key) = text(&parts.headers, "idempotency-key")? {
            let refused = |_| {
                let detail = format!("Idempotency-Key is {key:?}, not a UUID");
                Problem::new(StatusCode::BAD_REQUEST, detail)
            };
            metadata = metadata.command_id(Uuid::parse_str(key).map_err(refused)?);
        }
        // One that is not valid counts as none.
        if let Some(parent) = text(&parts.headers, "traceparent")?
            && let Some(trace) = trace_of(parent)
        {
            metadata = metadata.correlation_id(trace).entry("traceparent", parent);
        }
        if let Some(user) = text(&parts.headers, "x-user")? {
            metadata = metadata.user(user);
        }
        Ok(Context(metadata))
    }
}

/// The trace of a `traceparent`, if it has the form of <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn trace_of(parent: &str) -> Option<Uuid> {
    let mut fields = parent.split('-');
    let (version, trace) = (fields.next()?, fields.next()?);
    let is_hex = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    let trace = is_hex.then(|| u128::from_str_radix(trace, 16).ok()).flatten()?;
    (version.len() == 2 && trace != 0).then(|| Uuid::from_u128(trace))
}

/// The version that a client decided on: what it got as `ETag`.
pub struct IfMatch(pub u64);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch, Problem> {
        let Some(tag) = text(&parts.headers, header::IF_MATCH.as_str())? else {
            let detail = "send the ETag of what this changes as If-Match";
            return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail));
        };
        let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let version = version.and_then(|version| version.parse().ok());
        version.map(IfMatch).ok_or_else(|| {
            let detail = format!("If-Match is {tag}, not a version in quotation marks");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let refused = |_| Problem::new(StatusCode::BAD_REQUEST, format!("{name} is not plain text"));
    headers.get(name).map(|value| value.to_str()).transpose().map_err(refused)
}
