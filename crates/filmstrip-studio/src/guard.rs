//! Who is answered, and what browsers may do with the answers.
//!
//! * The `Host` of a request is a loopback address or a name that the application allowed: a page of another name that
//!   resolves to this machine (DNS rebinding) is not served.
//! * A request that a browser sends for another site's page is refused, but for following a link.
//! * With a token, every request has it.
//! * What changes anything is switched on by the application, comes from a page of the studio, and has a header that
//!   forms cannot send.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use std::net::IpAddr;

/// A header that only a script of the same origin can send, and that answers have, by which a program knows a studio.
pub(crate) const STUDIO_HEADER: &str = "x-filmstrip-studio";
const COOKIE: &str = "filmstrip_studio";

/// Scripts, styles and connections of the studio only; nothing inline, nothing framed, no text becomes markup.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

#[derive(Default)]
pub(crate) struct Guard {
    /// Names that a request's `Host` may have besides loopback ones, in small letters.
    pub(crate) hosts: Vec<String>,
    /// Whether `Host` may be any IP address, which no name can be rebound to.
    pub(crate) any_address: bool,
    pub(crate) token: Option<String>,
    pub(crate) writes: bool,
}

/// What is done with a request.
pub(crate) enum Admission {
    Admitted,
    /// It brought the token in its address: the browser is to keep it, and to forget the address.
    SignedIn {
        cookie: HeaderValue,
        to: String,
    },
    Refused(StatusCode, String),
}

impl Guard {
    /// `uri` is the whole one, before any prefix was taken away.
    pub(crate) fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Admission {
        let checks = || {
            let host = self.host(uri, headers)?;
            origin(&host, method, headers)?;
            Ok(())
        };
        if let Err((status, why)) = checks() {
            return Admission::Refused(status, why);
        }
        if let Some(signed_in) = self.sign_in(method, uri) {
            return signed_in;
        }
        match self.token(headers).and_then(|()| self.write(method, headers)) {
            Ok(()) => Admission::Admitted,
            Err((status, why)) => Admission::Refused(status, why),
        }
    }

    /// The authority of the request, if it is allowed.
    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
        let host = match headers.get(header::HOST) {
            Some(host) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
            None => uri.authority().cloned(),
        };
        let Some(host) = host else {
            return refuse(StatusCode::BAD_REQUEST, "the request has no valid Host");
        };
        if self.hosts_name(host.host()) {
            return Ok(host);
        }
        let why = format!(
            "the Host {} is not allowed: use a loopback address, or let the application call Studio::allow_host",
            host.host()
        );
        refuse(StatusCode::MISDIRECTED_REQUEST, why)
    }

    fn hosts_name(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
        match bare.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || self.any_address || self.hosts.contains(&name),
            Err(_) => name == "localhost" || self.hosts.contains(&name),
        }
    }

    fn sign_in(&self, method: &Method, uri: &Uri) -> Option<Admission> {
        let token = self.token.as_deref()?;
        let pairs: Vec<&str> = uri.query()?.split('&').collect();
        let given = pairs.iter().find_map(|pair| pair.strip_prefix("token="))?;
        if *method != Method::GET {
            return None;
        }
        if !is_same(given, token) {
            let why = "the token in the address is not the studio's".to_owned();
            return Some(Admission::Refused(StatusCode::UNAUTHORIZED, why));
        }
        let rest: Vec<&str> =
            pairs.into_iter().filter(|pair| !pair.starts_with("token=")).collect();
        let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
        let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict");
        let cookie = HeaderValue::from_str(&cookie).ok()?;
        // Never two slashes: they would name another host.
        let path = uri.path().trim_start_matches('/');
        Some(Admission::SignedIn { cookie, to: format!("/{path}{query}") })
    }

    fn token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let text =
            |name: HeaderName| headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
        let bearer = text(header::AUTHORIZATION).filter_map(|value| value.strip_prefix("Bearer "));
        let cookies = text(header::COOKIE)
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
        if bearer.chain(cookies).any(|given| is_same(given, token)) {
            return Ok(());
        }
        let why = "a token is needed: open the address that the program printed, or send \
                   `Authorization: Bearer TOKEN`";
        refuse(StatusCode::UNAUTHORIZED, why)
    }

    fn write(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        if *method != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST are allowed");
        }
        if !self.writes {
            let why = "this studio only shows: the application has not called Studio::allow_writes";
            return refuse(StatusCode::FORBIDDEN, why);
        }
        if !headers.contains_key(header::ORIGIN) || !headers.contains_key(STUDIO_HEADER) {
            let why = format!("a write needs the headers Origin and {STUDIO_HEADER}");
            return refuse(StatusCode::FORBIDDEN, why);
        }
        Ok(())
    }
}

type Refusal = (StatusCode, String);

fn refuse<T>(status: StatusCode, why: impl Into<String>) -> Result<T, Refusal> {
    Err((status, why.into()))
}

/// Refuses what a browser sends for a page of another origin, unless a person follows a link.
fn origin(host: &Authority, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        let own = origin.as_ref().and_then(Uri::authority);
        if !own.is_some_and(|own| own.as_str().eq_ignore_ascii_case(host.as_str())) {
            return refuse(
                StatusCode::FORBIDDEN,
                "the request comes from a page of another origin",
            );
        }
    }
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    let is_link = *method == Method::GET
        && is("sec-fetch-mode", "navigate")
        && (is("sec-fetch-dest", "document") || !headers.contains_key("sec-fetch-dest"));
    let is_foreign = is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site");
    if is_foreign && !is_link {
        return refuse(StatusCode::FORBIDDEN, "the request comes from a page of another site");
    }
    Ok(())
}

/// Compares in a time that does not depend on where they differ.
fn is_same(given: &str, token: &str) -> bool {
    let differ = given.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    given.len() == token.len() && differ == 0
}

/// Sets what every answer says to the browser.
pub(crate) fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static(STUDIO_HEADER), "1"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
