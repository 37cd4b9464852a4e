//! Addresses of pages, below the path at which the application has mounted the studio.

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use filmstrip::uuid::Uuid;
use filmstrip::{Position, StreamId, Version};
use std::convert::Infallible;

/// The path before that of the studio's own pages: empty, or `/studio`, for example.
#[derive(Clone, Debug)]
pub(crate) struct Place(String);

impl<S: Sync> FromRequestParts<S> for Place {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Place, Infallible> {
        let whole = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0).path();
        let own = parts.uri.path();
        let base = whole.strip_suffix(own).unwrap_or(whole).trim_end_matches('/');
        Ok(Place(base.to_owned()))
    }
}

impl Place {
    /// A page without parameters.
    pub(crate) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// A page with the parameters that have a value.
    pub(crate) fn with(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        let mut address = self.page(path);
        let mut next = '?';
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            address.push(next);
            next = '&';
            address.push_str(name);
            address.push('=');
            address.push_str(&encoded(value));
        }
        address
    }

    /// The film of a stream, at its end or at a version.
    pub(crate) fn film(&self, stream: &StreamId, version: Option<Version>) -> String {
        let version = version.map(|version| version.to_string()).unwrap_or_default();
        match stream.as_str() {
            // Browsers take these out of a path, however they are written.
            dots @ ("." | "..") => self.with("/film", &[("stream", dots), ("version", &version)]),
            name => self.with(&format!("/film/{}", encoded(name)), &[("version", &version)]),
        }
    }

    pub(crate) fn why(&self, event: Uuid) -> String {
        self.page(&format!("/why/{event}"))
    }

    pub(crate) fn payload(&self, position: Position) -> String {
        self.page(&format!("/payload/{position}"))
    }
}

/// Text as a part of a path or a value of a query: everything but letters, digits and `-._~` by its bytes.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        let place = Place("/studio".into());
        let film = |name| place.film(&StreamId::new(name).unwrap(), Some(Version::new(3)));
        assert_eq!(film("Customer-1"), "/studio/film/Customer-1?version=3");
        assert_eq!(film("a/../b?c#d\"é"), "/studio/film/a%2F..%2Fb%3Fc%23d%22%C3%A9?version=3");
        assert_eq!(film(".."), "/studio/film?stream=..&version=3");
    }
}
