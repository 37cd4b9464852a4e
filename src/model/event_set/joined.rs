//! Deserialises an event from the name of its variant and its content as JSON.
//!
//! * The content is parsed once, directly into the event.
//! * A unit variant reads from any content, as a struct ignores fields that it does not know.
//! * A struct variant reads from `null` as from `{}`, so that a unit variant can get fields with defaults.

use crate::value::json::told::{Told, without_values};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Why an event could not be deserialised.
#[derive(Debug)]
pub(super) enum Failure {
    /// The type is not an externally tagged enum; with a description of what it is.
    NoEnum(String),
    /// The enum has no variant of this name; with the variants that it has.
    UnknownVariant(String),
    /// The content does not fit the variant.
    Json(Told),
    /// A unit variant has content.
    Content,
    /// The type's own code refused it.
    Other(String),
}

/// Deserialises the event of this type and payload.
pub(super) fn join<T: DeserializeOwned>(event_type: &str, payload: &[u8]) -> Result<T, Failure> {
    T::deserialize(Joined { event_type, payload, content_must_be_read: false })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoEnum(met) => write!(f, "the type is {met}"),
            Failure::UnknownVariant(expected) => write!(f, "the type knows {expected}"),
            Failure::Json(cause) => cause.fmt(f),
            Failure::Content => f.write_str("it has content, which is not read"),
            Failure::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Failure {
        Failure::Other(without_values(&message.to_string()))
    }

    /// Only the event's own enum gets here: enums within a payload use serde_json's error type.
    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Failure {
        Failure::UnknownVariant(if expected.is_empty() {
            "no type at all".to_owned()
        } else {
            expected.join(", ")
        })
    }
}

impl From<serde_json::Error> for Failure {
    fn from(cause: serde_json::Error) -> Failure {
        Failure::Json(cause.into())
    }
}

/// A variant's name and content, as the deserializer of an externally tagged enum.
pub(super) struct Joined<'de> {
    pub(super) event_type: &'de str,
    pub(super) payload: &'de [u8],
    /// Whether a unit variant must read from `null` only.
    pub(super) content_must_be_read: bool,
}

impl<'de> Deserializer<'de> for Joined<'de> {
    type Error = Failure;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        Err(Failure::NoEnum((&visitor as &dyn Expected).to_string()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Joined<'de> {
    type Error = Failure;
    type Variant = Content<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content<'de>), Failure> {
        let variant = seed.deserialize(StrDeserializer::<Failure>::new(self.event_type))?;
        Ok((variant, Content { json: self.payload, must_be_read: self.content_must_be_read }))
    }
}

/// The content of a variant.
pub(super) struct Content<'de> {
    json: &'de [u8],
    must_be_read: bool,
}

impl<'de> Content<'de> {
    /// Reads all of the content with `read`.
    fn parse<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>) -> Read<T>,
    ) -> Result<T, Failure> {
        let mut json = serde_json::Deserializer::from_slice(self.json);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

const NULL: &[u8] = b"null";

type Read<T> = Result<T, serde_json::Error>;

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = Failure;

    /// The content is ignored; with `other` it need not even be JSON.
    fn unit_variant(self) -> Result<(), Failure> {
        if self.must_be_read && self.json != NULL {
            return Err(Failure::Content);
        }
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        self.parse(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.parse(|json| json.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let json = if self.json == NULL { b"{}" } else { self.json };
        Content { json, ..self }.parse(|json| json.deserialize_struct("", fields, visitor))
    }
}
