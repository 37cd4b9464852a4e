//! Splits an event into the name of its variant and its content as JSON.

use crate::value::json::Strict;
use serde::Serialize;
use serde::ser::{self, SerializeStructVariant, SerializeTupleVariant, Serializer};
use std::fmt;

/// Why a value could not be split.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not a variant of an externally tagged enum; with a description of what it is.
    NoVariant(&'static str),
    /// Its content cannot be written.
    Json(serde_json::Error),
}

/// The variant of an event, and its written fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// The name of the variant.
    pub(super) variant: &'static str,
    /// The variant's fields that were written, one bit each, in order; the 64th and later fields share the last bit.
    /// `skip_serializing_if` may leave a field out.
    pub(super) written: u64,
}

/// Splits `event`, and appends its content to `payload`.
pub(super) fn split<T: Serialize>(event: &T, payload: &mut Vec<u8>) -> Result<Parts, Refusal> {
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

/// Writes the fields of a tuple or struct variant into the payload.
pub(super) struct Fields<C> {
    parts: Parts,
    /// The bit of the next field.
    next: u64,
    content: C,
}

impl<C> Fields<C> {
    fn new(variant: &'static str, content: C) -> Fields<C> {
        Fields { parts: Parts { variant, written: 0 }, next: 1, content }
    }

    fn pass_field(&mut self) {
        self.next = if self.next == 1 << 63 { self.next } else { self.next << 1 };
    }
}

macro_rules! no_variant {
    ($($method:ident($($type:ty),*) -> $result:ty, $met:literal;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$result, Refusal> {
            Err(Refusal::NoVariant($met))
        }
    )*};
}

impl<'a, 'p> Serializer for Split<'a, 'p> {
    type Ok = Parts;
    type Error = Refusal;
    type SerializeSeq = ser::Impossible<Parts, Refusal>;
    type SerializeTuple = ser::Impossible<Parts, Refusal>;
    type SerializeTupleStruct = ser::Impossible<Parts, Refusal>;
    type SerializeMap = ser::Impossible<Parts, Refusal>;
    type SerializeStruct = ser::Impossible<Parts, Refusal>;
    type SerializeTupleVariant = Fields<<Strict<Json<'a, 'p>> as Serializer>::SerializeSeq>;
    type SerializeStructVariant = Fields<<Strict<Json<'a, 'p>> as Serializer>::SerializeStruct>;

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Parts, Refusal> {
        self.json.serialize_unit()?;
        Ok(Parts { variant, written: 0 })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        content: &T,
    ) -> Result<Parts, Refusal> {
        content.serialize(Strict::new(self.json))?;
        Ok(Parts { variant, written: 0 })
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Refusal> {
        Ok(Fields::new(variant, Strict::new(self.json).serialize_seq(Some(len))?))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Refusal> {
        Ok(Fields::new(variant, Strict::new(self.json).serialize_struct(name, len)?))
    }

    no_variant! {
        serialize_bool(bool) -> Parts, "a bool";
        serialize_i8(i8) -> Parts, "an integer";
        serialize_i16(i16) -> Parts, "an integer";
        serialize_i32(i32) -> Parts, "an integer";
        serialize_i64(i64) -> Parts, "an integer";
        serialize_i128(i128) -> Parts, "an integer";
        serialize_u8(u8) -> Parts, "an integer";
        serialize_u16(u16) -> Parts, "an integer";
        serialize_u32(u32) -> Parts, "an integer";
        serialize_u64(u64) -> Parts, "an integer";
        serialize_u128(u128) -> Parts, "an integer";
        serialize_f32(f32) -> Parts, "a float";
        serialize_f64(f64) -> Parts, "a float";
        serialize_char(char) -> Parts, "a character";
        serialize_str(&str) -> Parts, "a string";
        serialize_bytes(&[u8]) -> Parts, "bytes";
        serialize_none() -> Parts, "an option";
        serialize_unit() -> Parts, "a unit";
        serialize_unit_struct(&'static str) -> Parts, "a unit struct";
        serialize_seq(Option<usize>) -> Self::SerializeSeq, "a sequence";
        serialize_tuple(usize) -> Self::SerializeTuple, "a tuple";
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct, "a tuple struct";
        serialize_map(Option<usize>) -> Self::SerializeMap, "a map";
        serialize_struct(&'static str, usize) -> Self::SerializeStruct, "a struct";
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Parts, Refusal> {
        Err(Refusal::NoVariant("an option"))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<Parts, Refusal> {
        Err(Refusal::NoVariant("a newtype struct"))
    }
}

impl<C: ser::SerializeSeq<Error = serde_json::Error>> SerializeTupleVariant for Fields<C> {
    type Ok = Parts;
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        Ok(self.content.serialize_element(value)?)
    }

    fn end(self) -> Result<Parts, Refusal> {
        self.content.end()?;
        Ok(self.parts)
    }
}

impl<C: ser::SerializeStruct<Error = serde_json::Error>> SerializeStructVariant for Fields<C> {
    type Ok = Parts;
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        self.parts.written |= self.next;
        self.pass_field();
        Ok(self.content.serialize_field(key, value)?)
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), Refusal> {
        self.pass_field();
        Ok(self.content.skip_field(key)?)
    }

    fn end(self) -> Result<Parts, Refusal> {
        self.content.end()?;
        Ok(self.parts)
    }
}
