//! Takes an event apart: the name of its variant, and its content as JSON.

use crate::json::Strict;
use serde::Serialize;
use serde::ser::{self, SerializeStructVariant, SerializeTupleVariant, Serializer};
use std::fmt;

/// Why a value could not be taken apart.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is no variant of an externally tagged enum, but this.
    NoVariant(&'static str),
    /// Its content cannot be written.
    Json(serde_json::Error),
}

/// The name of the variant that `event` is; its content is appended to `payload`.
pub(super) fn split<T: Serialize>(
    event: &T,
    payload: &mut Vec<u8>,
) -> Result<&'static str, Refusal> {
    event.serialize(Split { json: &mut serde_json::Serializer::new(payload) })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoVariant(met) => write!(f, "it is {met}"),
            Refusal::Json(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Refusal {
        Refusal::Json(ser::Error::custom(message))
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(cause: serde_json::Error) -> Refusal {
        Refusal::Json(cause)
    }
}

type Json<'a, 'p> = &'a mut serde_json::Serializer<&'p mut Vec<u8>>;

struct Split<'a, 'p> {
    json: Json<'a, 'p>,
}

/// The fields of a tuple or struct variant on their way into the payload.
pub(super) struct Fields<C> {
    variant: &'static str,
    content: C,
}

macro_rules! no_variant {
    ($($method:ident($($type:ty),*) -> $result:ty, $met:literal;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$result, Refusal> {
            Err(Refusal::NoVariant($met))
        }
    )*};
}

impl<'a, 'p> Serializer for Split<'a, 'p> {
    type Ok = &'static str;
    type Error = Refusal;
    type SerializeSeq = ser::Impossible<&'static str, Refusal>;
    type SerializeTuple = ser::Impossible<&'static str, Refusal>;
    type SerializeTupleStruct = ser::Impossible<&'static str, Refusal>;
    type SerializeMap = ser::Impossible<&'static str, Refusal>;
    type SerializeStruct = ser::Impossible<&'static str, Refusal>;
    type SerializeTupleVariant = Fields<<Strict<Json<'a, 'p>> as Serializer>::SerializeSeq>;
    type SerializeStructVariant = Fields<<Strict<Json<'a, 'p>> as Serializer>::SerializeStruct>;

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<&'static str, Refusal> {
        self.json.serialize_unit()?;
        Ok(variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        content: &T,
    ) -> Result<&'static str, Refusal> {
        content.serialize(Strict::new(self.json))?;
        Ok(variant)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Refusal> {
        Ok(Fields { variant, content: Strict::new(self.json).serialize_seq(Some(len))? })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Refusal> {
        Ok(Fields { variant, content: Strict::new(self.json).serialize_struct(name, len)? })
    }

    no_variant! {
        serialize_bool(bool) -> &'static str, "a bool";
        serialize_i8(i8) -> &'static str, "an integer";
        serialize_i16(i16) -> &'static str, "an integer";
        serialize_i32(i32) -> &'static str, "an integer";
        serialize_i64(i64) -> &'static str, "an integer";
        serialize_i128(i128) -> &'static str, "an integer";
        serialize_u8(u8) -> &'static str, "an integer";
        serialize_u16(u16) -> &'static str, "an integer";
        serialize_u32(u32) -> &'static str, "an integer";
        serialize_u64(u64) -> &'static str, "an integer";
        serialize_u128(u128) -> &'static str, "an integer";
        serialize_f32(f32) -> &'static str, "a float";
        serialize_f64(f64) -> &'static str, "a float";
        serialize_char(char) -> &'static str, "a character";
        serialize_str(&str) -> &'static str, "a string";
        serialize_bytes(&[u8]) -> &'static str, "bytes";
        serialize_none() -> &'static str, "an option";
        serialize_unit() -> &'static str, "a unit";
        serialize_unit_struct(&'static str) -> &'static str, "a unit struct";
        serialize_seq(Option<usize>) -> Self::SerializeSeq, "a sequence";
        serialize_tuple(usize) -> Self::SerializeTuple, "a tuple";
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct, "a tuple struct";
        serialize_map(Option<usize>) -> Self::SerializeMap, "a map";
        serialize_struct(&'static str, usize) -> Self::SerializeStruct, "a struct";
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<&'static str, Refusal> {
        Err(Refusal::NoVariant("an option"))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<&'static str, Refusal> {
        Err(Refusal::NoVariant("a newtype struct"))
    }
}

impl<C: ser::SerializeSeq<Error = serde_json::Error>> SerializeTupleVariant for Fields<C> {
    type Ok = &'static str;
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        Ok(self.content.serialize_element(value)?)
    }

    fn end(self) -> Result<&'static str, Refusal> {
        self.content.end()?;
        Ok(self.variant)
    }
}

impl<C: ser::SerializeStruct<Error = serde_json::Error>> SerializeStructVariant for Fields<C> {
    type Ok = &'static str;
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        Ok(self.content.serialize_field(key, value)?)
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), Refusal> {
        Ok(self.content.skip_field(key)?)
    }

    fn end(self) -> Result<&'static str, Refusal> {
        self.content.end()?;
        Ok(self.variant)
    }
}
