//! Finds out what a type is to serde from the `Deserializer` method that it calls, without reading anything.

use crate::model::event_set::set::Event;
use crate::value::error::{Error, ErrorKind, Result};
use serde::de::{self, Deserializer, Expected, Visitor};
use serde::forward_to_deserialize_any;
use std::any::type_name;
use std::fmt;

/// The names that `E`'s variants are read by, including aliases.
pub(super) fn variants<E: Event>() -> Result<&'static [&'static str]> {
    match E::deserialize(Probe) {
        Err(Shape::Enum(variants)) => Ok(variants),
        Err(Shape::Other(met)) => Err(refused::<E>(&describe(&met))),
        Ok(_) => Err(refused::<E>("a type that is read from nothing")),
    }
}

/// The error for an `E` that is not an event set; `met` says what it was written as.
///
/// How a type is read says more than how it is written, so check that first.
pub(super) fn not_a_set<E: Event>(met: &str) -> Error {
    match variants::<E>() {
        Err(reason) => reason,
        Ok(_) => refused::<E>(&format!("read as an enum and written as {met}")),
    }
}

/// `E` cannot be an event set because it is `what`.
fn refused<E: Event>(what: &str) -> Error {
    Error::new(
        ErrorKind::NotAnEventSet,
        format!(
            "{} cannot be an event set: it is {what}; an event set is an enum with serde's derives \
             and its default, external tagging",
            type_name::<E>()
        ),
    )
}

/// Describes a type in serde's words for what it expected, or by what that most often means.
fn describe(met: &str) -> String {
    match met {
        "any value" => "an untagged enum (it reads from any value)".to_owned(),
        met if met.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {met}"),
        met => format!("a {met}"),
    }
}

/// A deserializer that returns the first request as an error.
struct Probe;

#[derive(Debug)]
enum Shape {
    Enum(&'static [&'static str]),
    Other(String),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Enum(_) => f.write_str("an enum"),
            Shape::Other(met) => f.write_str(met),
        }
    }
}

impl std::error::Error for Shape {}

impl de::Error for Shape {
    fn custom<T: fmt::Display>(message: T) -> Shape {
        Shape::Other(message.to_string())
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Shape;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Shape> {
        Err(Shape::Enum(variants))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Shape> {
        Err(Shape::Other((&visitor as &dyn Expected).to_string()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
