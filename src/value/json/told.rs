//! What is reported of a JSON error: never the text that caused it.
//!
//! serde's messages quote what they refuse, as in `invalid type: string "…"`. Errors end up in logs and in records of
//! what was parked, which payloads have no business in. What is kept: the kind of value that was met, what was
//! expected, the names of the type's own fields and variants, line and column.

use crate::value::error::HandlerError;
use crate::value::failpoint::failpoint;
use std::fmt;

/// A JSON error without any text from the input.
#[derive(Debug)]
pub(crate) struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Told {}

impl From<&serde_json::Error> for Told {
    fn from(error: &serde_json::Error) -> Told {
        let text = error.to_string();
        // The messages of other categories are serde_json's own, and constant.
        if !error.is_data() {
            return Told(text);
        }
        let place = match error.line() {
            0 => String::new(),
            line => format!(" at line {line} column {}", error.column()),
        };
        Told(without_values(text.strip_suffix(&place).unwrap_or(&text)) + &place)
    }
}

impl From<serde_json::Error> for Told {
    fn from(error: serde_json::Error) -> Told {
        Told::from(&error)
    }
}

/// An error of the user's code as it is, unless it is a JSON error.
pub(crate) fn by_handler(error: HandlerError) -> HandlerError {
    match error.downcast_ref::<serde_json::Error>() {
        Some(json) => Told::from(json).into(),
        None => error,
    }
}

/// What serde calls the values that it meets.
const KINDS: [&str; 19] = [
    "boolean",
    "integer",
    "floating point",
    "character",
    "string",
    "byte array",
    "unit value",
    "null",
    "Option value",
    "newtype struct",
    "sequence",
    "map",
    "enum",
    "unit variant",
    "newtype variant",
    "tuple variant",
    "struct variant",
    "number",
    "infinity",
];

/// What this crate says itself when it refuses to write a value.
const OURS: [&str; 2] = [super::TOO_DEEP, super::NOT_FINITE];

/// serde's message without the values that it quotes; of any other message nothing.
pub(crate) fn without_values(message: &str) -> String {
    if failpoint!("json::quote_values") || OURS.iter().any(|ours| message.starts_with(ours)) {
        return message.to_owned();
    }
    // What was expected comes last: a value before it may hold anything, also these words.
    let expected = message.rfind(", expected ").map_or("", |at| &message[at..]);
    for what in ["invalid type", "invalid value"] {
        let Some(met) = message.strip_prefix(what).and_then(|rest| rest.strip_prefix(": ")) else {
            continue;
        };
        let kind = met.split(['`', '"', ',']).next().unwrap_or_default().trim_end();
        let kind = if KINDS.contains(&kind) { kind } else { "a value" };
        return format!("{what}: {kind}{expected}");
    }
    for what in ["unknown variant", "unknown field"] {
        if message.starts_with(what) {
            return format!("{what}{expected}");
        }
    }
    // These name the fields and enums of the type itself.
    let constant = [
        "invalid length ",
        "missing field `",
        "duplicate field `",
        "data did not match any variant of untagged enum ",
        "key must be a string",
    ];
    if constant.iter().any(|start| message.starts_with(start)) {
        return message.to_owned();
    }
    "the type's own code refuses it".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is only read")]
    struct Strict {
        n: u8,
        kind: Option<Kind>,
        list: Option<(u8, u8)>,
    }

    #[derive(Debug, Deserialize)]
    enum Kind {
        Plain,
    }

    #[derive(Debug)]
    struct Choosy;
    impl<'de> Deserialize<'de> for Choosy {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Choosy, D::Error> {
            let text = String::deserialize(from)?;
            Err(serde::de::Error::custom(format_args!("{text} is not to my liking")))
        }
    }

    #[track_caller]
    fn check<T: DeserializeOwned + fmt::Debug>(json: &str, expected: &str) {
        let told = Told::from(serde_json::from_str::<T>(json).unwrap_err()).to_string();
        assert_eq!(told, expected);
        assert!(!told.contains("secret"), "{told}");
    }

    /// The story: an event that did not decode put its payload into the log, and into the record of what was
    /// parked, which outlives the reason for which it was written.
    #[test]
    fn what_a_message_quotes_is_left_out_and_the_rest_is_kept() {
        check::<Strict>(
            r#"{"n":"secret"}"#,
            "invalid type: string, expected u8 at line 1 column 13",
        );
        check::<Strict>(r#"{"n":1234}"#, "invalid value: integer, expected u8 at line 1 column 9");
        check::<Strict>(r#"{"n":null}"#, "invalid type: null, expected u8 at line 1 column 9");
        check::<Strict>(
            r#"{"n":", expected secret\", expected secret"}"#,
            "invalid type: string, expected u8 at line 1 column 43",
        );
        check::<Strict>(
            r#"{"secret":1}"#,
            "unknown field, expected one of `n`, `kind`, `list` at line 1 column 9",
        );
        check::<Strict>(
            r#"{"kind":"secret"}"#,
            "unknown variant, expected `Plain` at line 1 column 16",
        );
        check::<Strict>("{}", "missing field `n` at line 1 column 2");
        check::<Strict>(r#"{"n":1,"n":2}"#, "duplicate field `n` at line 1 column 10");
        check::<Strict>(
            r#"{"list":[1]}"#,
            "invalid length 1, expected a tuple of size 2 at line 1 column 11",
        );
        check::<Strict>(r#"{"n":1"#, "EOF while parsing an object at line 1 column 6");
        check::<Choosy>(r#""secret""#, "the type's own code refuses it");
    }
}
