//! Whether bytes read as JSON.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Refuses bytes that do not read as one JSON value, or that nest deeper than is read. Nothing of it is kept.
pub(crate) fn check(bytes: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<Any>(bytes).map(|Any| ())
}

/// Any value. Unlike serde's `IgnoredAny`, it reads what is within as a reader would, who has a limit for nesting.
struct Any;

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Any, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

macro_rules! take {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E>(self, _: $type) -> Result<Any, E> {
            Ok(Any)
        }
    )*};
}

impl<'de> Visitor<'de> for Any {
    type Value = Any;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    take! {
        visit_bool(bool);
        visit_i64(i64);
        visit_u64(u64);
        visit_f64(f64);
        visit_str(&str);
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Any, A::Error> {
        while let Some(Any) = items.next_element()? {}
        Ok(Any)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Any, A::Error> {
        while let Some((Any, Any)) = entries.next_entry()? {}
        Ok(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_json_reads_is_json_and_nothing_else_is() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let values = [
            "null",
            "true",
            "-1",
            "1e300",
            "18446744073709551615",
            r#""a\u0041\n""#,
            r#"{"a":[1,{"b":null}],"a":0}"#,
            " [1, 2] ",
            &nested(127),
        ];
        for json in values {
            check(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
        let others = ["", "{", "1 2", "nul", "1e999", r#"{1:2}"#, r#""\ud800""#, &nested(128)];
        for bytes in others {
            check(bytes.as_bytes()).expect_err(bytes);
            serde_json::from_str::<serde_json::Value>(bytes).unwrap_err();
        }
        check(b"\"\xff\"").unwrap_err();
    }
}
