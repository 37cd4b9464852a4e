//! A client of an application's studio. It sends what the studio's own pages send, and is refused what they are.

use crate::fault::Fault;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, StatusCode, Uri, header};

/// How long connecting may take, and how long the studio may think about a question. What is asked to be done, such as
/// a replay, may take as long as it needs.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer: a thousand parked events, with long errors.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// The header that a studio's answers have, and that it asks for before it changes anything.
const STUDIO_HEADER: &str = "x-filmstrip-studio";

/// What runs, as the studio says.
#[derive(Deserialize)]
pub(super) struct Running {
    pub(super) followers: Vec<serde_json::Value>,
}

/// What is parked, as the studio says: the first of it, and how much more there is.
#[derive(Deserialize)]
pub(super) struct Parked {
    pub(super) parked: Vec<serde_json::Value>,
    pub(super) more: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// A studio that an application serves.
pub(super) struct Studio {
    agent: Agent,
    /// `http://host:port`, as a browser would name where a page is from.
    origin: String,
    /// The path that the studio is mounted at, without a slash at its end.
    base: String,
    token: Option<String>,
}

impl Studio {
    /// The studio at this address, which may contain the token.
    pub(super) fn at(url: Option<&str>, token: Option<&str>) -> Result<Studio, Fault> {
        let url = url.ok_or_else(|| {
            Fault::bad(
                "the address of the application's studio is missing: give it with --url or FILMSTRIP_STUDIO, \
                 such as http://127.0.0.1:7070",
            )
        })?;
        // Without what the address says beside the place: it may be the token.
        let shown = url.split('?').next().unwrap_or_default();
        let wrong = |what: &str| {
            Fault::bad(format!(
                "{shown:?} is no address of a studio: {what}, as in http://127.0.0.1:7070"
            ))
        };
        let uri: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        let authority = uri.authority().ok_or_else(|| wrong("it must begin with http://"))?;
        if uri.scheme_str() != Some("http") {
            let what = "it must begin with http://; a studio does not encrypt, and one behind a proxy that does is \
                        reached through a tunnel";
            return Err(wrong(what));
        }
        let pairs = uri.query().unwrap_or_default().split('&');
        let given = pairs.filter_map(|pair| pair.strip_prefix("token=")).next();
        let token = token.or(given).map(str::to_owned);
        if token.as_deref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(Fault::bad("the token has characters that no token can have"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A studio redirects browsers only. A proxy of the environment is not for a service on this machine.
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_MAX));
        Ok(Studio {
            agent: config.build().into(),
            origin: format!("http://{authority}"),
            base: uri.path().trim_end_matches('/').to_owned(),
            token,
        })
    }

    pub(super) fn running(&self) -> Result<Running, Fault> {
        self.get("/running.json")
    }

    pub(super) fn parked(&self, kind: &str, name: &str) -> Result<Parked, Fault> {
        self.get(&format!("/running/{kind}/{}/parked.json", encoded(name)))
    }

    /// Has the studio do something, and waits until it is done.
    pub(super) fn act(
        &self,
        kind: &str,
        name: &str,
        action: &str,
        instance: Option<&str>,
    ) -> Result<(), Fault> {
        let instance = instance.map(|it| format!("?instance={}", encoded(it))).unwrap_or_default();
        let path = format!("/running/{kind}/{}/{action}{instance}", encoded(name));
        let request = self.agent.post(self.address(&path)).header(header::ORIGIN, &self.origin);
        let request = request.header(STUDIO_HEADER, "1").header(header::ACCEPT, "application/json");
        let request = match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        self.done(request.send_empty()).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let request = self.agent.get(self.address(path)).header(header::ACCEPT, "application/json");
        let request = match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let request = request.config().timeout_recv_response(Some(ANSWER_MAX)).build();
        let body = self.done(request.call())?;
        serde_json::from_str(&body)
            .map_err(|_| self.no_studio("another answer than this version knows"))
    }

    fn address(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.base)
    }

    /// What the studio answered, or why it has not done what it was asked for.
    fn done(&self, answered: Result<Response<ureq::Body>, ureq::Error>) -> Result<String, Fault> {
        let mut response = answered.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !response.headers().contains_key(STUDIO_HEADER) {
            return Err(self.no_studio(&format!("status {}", status.as_u16())));
        }
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return Ok(body);
        }
        let refusal = serde_json::from_str(&body).map(|Refusal { error }| error);
        let why = refusal.unwrap_or_else(|_| format!("it answered status {}", status.as_u16()));
        let place = self.address("");
        Err(Fault::bad(match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, Some(_)) => {
                format!(
                    "the studio at {place} has refused the token: take the one of the address that it prints"
                )
            }
            (StatusCode::UNAUTHORIZED, None) => format!(
                "the studio at {place} asks for a token: take the address that it prints, or set FILMSTRIP_TOKEN"
            ),
            _ => format!("the studio at {place} has refused it: {why}"),
        }))
    }

    fn unreachable(&self, error: &ureq::Error) -> Fault {
        let place = self.address("");
        Fault::bad(format!(
            "the studio at {place} cannot be reached: {error}; the application must run, and serve its studio there"
        ))
    }

    fn no_studio(&self, met: &str) -> Fault {
        let place = self.address("");
        Fault::bad(format!(
            "what answers at {place} is no studio of this version ({met}); give the address that the application \
             serves its studio at, with the path at which that is mounted"
        ))
    }
}

/// Text as a part of a path or a value of a query: everything but letters, digits and `-._~` by its bytes.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
