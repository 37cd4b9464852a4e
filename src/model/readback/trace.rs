//! Records the calls that a value makes to a serializer, as bytes: a mark for each call, and its values. Two values
//! that make the same calls have the same bytes.

use serde::ser::{self, Serialize, Serializer};
use std::fmt;

/// The marks. The comment before a mark, or before its group, says what follows it.
pub(super) mod mark {
    /// The end of a sequence, map or struct.
    pub(crate) const END: u8 = 0;
    /// A value of a fixed length; none for `NONE`, `UNIT` and `UNIT_STRUCT`.
    pub(crate) const BOOL: u8 = 1;
    pub(crate) const I8: u8 = 2;
    pub(crate) const I16: u8 = 3;
    pub(crate) const I32: u8 = 4;
    pub(crate) const I64: u8 = 5;
    pub(crate) const I128: u8 = 6;
    pub(crate) const U8: u8 = 7;
    pub(crate) const U16: u8 = 8;
    pub(crate) const U32: u8 = 9;
    pub(crate) const U64: u8 = 10;
    pub(crate) const U128: u8 = 11;
    pub(crate) const F32: u8 = 12;
    pub(crate) const F64: u8 = 13;
    pub(crate) const CHAR: u8 = 14;
    pub(crate) const NONE: u8 = 15;
    pub(crate) const UNIT: u8 = 16;
    pub(crate) const UNIT_STRUCT: u8 = 17;
    /// A text: its length and its bytes.
    pub(crate) const STR: u8 = 18;
    pub(crate) const BYTES: u8 = 19;
    /// A text: the variant's name.
    pub(crate) const UNIT_VARIANT: u8 = 20;
    /// One value.
    pub(crate) const SOME: u8 = 21;
    pub(crate) const NEWTYPE_STRUCT: u8 = 22;
    /// A text and one value.
    pub(crate) const NEWTYPE_VARIANT: u8 = 23;
    /// Values up to the end.
    pub(crate) const SEQ: u8 = 24;
    pub(crate) const TUPLE: u8 = 25;
    /// A text, and values up to the end.
    pub(crate) const TUPLE_VARIANT: u8 = 26;
    /// Pairs of values up to the end.
    pub(crate) const MAP: u8 = 27;
    /// Fields up to the end: `FIELD`, a text, and a value.
    pub(crate) const STRUCT: u8 = 28;
    /// A text, and fields up to the end.
    pub(crate) const STRUCT_VARIANT: u8 = 29;
    pub(crate) const FIELD: u8 = 30;
}

/// The trace of `value`.
pub(super) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Untraceable> {
    let mut bytes = Vec::with_capacity(256);
    value.serialize(Trace(&mut bytes))?;
    Ok(bytes)
}

/// The type's own code refuses to be serialized.
#[derive(Debug)]
pub(super) struct Untraceable;

impl fmt::Display for Untraceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot be serialized")
    }
}

impl std::error::Error for Untraceable {}

impl ser::Error for Untraceable {
    fn custom<T: fmt::Display>(_: T) -> Untraceable {
        Untraceable
    }
}

pub(super) struct Trace<'a>(&'a mut Vec<u8>);

impl<'a> Trace<'a> {
    fn text(self, mark: u8, text: &[u8]) -> Trace<'a> {
        self.0.push(mark);
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text);
        self
    }

    fn mark(self, mark: u8) -> Trace<'a> {
        self.0.push(mark);
        self
    }

    fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Untraceable> {
        value.serialize(Trace(self.0))
    }
}

macro_rules! fixed {
    ($($method:ident($type:ty), $mark:ident;)*) => {$(
        fn $method(self, value: $type) -> Result<(), Untraceable> {
            self.0.push(mark::$mark);
            self.0.extend_from_slice(&value.to_le_bytes());
            Ok(())
        }
    )*};
}

macro_rules! empty {
    ($($method:ident($($type:ty),*), $mark:ident;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<(), Untraceable> {
            self.mark(mark::$mark);
            Ok(())
        }
    )*};
}

macro_rules! open {
    ($($method:ident($($type:ty),*), $mark:ident;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<Self, Untraceable> {
            Ok(self.mark(mark::$mark))
        }
    )*};
}

macro_rules! open_variant {
    ($($method:ident, $mark:ident;)*) => {$(
        fn $method(
            self,
            _: &'static str,
            _: u32,
            variant: &'static str,
            _: usize,
        ) -> Result<Self, Untraceable> {
            Ok(self.text(mark::$mark, variant.as_bytes()))
        }
    )*};
}

impl Serializer for Trace<'_> {
    type Ok = ();
    type Error = Untraceable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fixed! {
        serialize_i8(i8), I8;
        serialize_i16(i16), I16;
        serialize_i32(i32), I32;
        serialize_i64(i64), I64;
        serialize_i128(i128), I128;
        serialize_u8(u8), U8;
        serialize_u16(u16), U16;
        serialize_u32(u32), U32;
        serialize_u64(u64), U64;
        serialize_u128(u128), U128;
        serialize_f32(f32), F32;
        serialize_f64(f64), F64;
    }

    empty! {
        serialize_none(), NONE;
        serialize_unit(), UNIT;
        serialize_unit_struct(&'static str), UNIT_STRUCT;
    }

    open! {
        serialize_seq(Option<usize>), SEQ;
        serialize_tuple(usize), TUPLE;
        serialize_tuple_struct(&'static str, usize), TUPLE;
        serialize_map(Option<usize>), MAP;
        serialize_struct(&'static str, usize), STRUCT;
    }

    open_variant! {
        serialize_tuple_variant, TUPLE_VARIANT;
        serialize_struct_variant, STRUCT_VARIANT;
    }

    fn serialize_bool(self, value: bool) -> Result<(), Untraceable> {
        self.0.extend_from_slice(&[mark::BOOL, value.into()]);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Untraceable> {
        self.0.push(mark::CHAR);
        self.0.extend_from_slice(&u32::from(value).to_le_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Untraceable> {
        self.text(mark::STR, value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Untraceable> {
        self.text(mark::BYTES, value);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Untraceable> {
        self.mark(mark::SOME).inner(value)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Untraceable> {
        self.text(mark::UNIT_VARIANT, variant.as_bytes());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Untraceable> {
        self.mark(mark::NEWTYPE_STRUCT).inner(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Untraceable> {
        self.text(mark::NEWTYPE_VARIANT, variant.as_bytes()).inner(value)
    }

    /// Like JSON: many types have a human-readable form and another form.
    fn is_human_readable(&self) -> bool {
        true
    }
}

macro_rules! elements {
    ($($trait:ident: $($method:ident)+;)*) => {$(
        impl ser::$trait for Trace<'_> {
            type Ok = ();
            type Error = Untraceable;

            $(fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Untraceable> {
                self.inner(value)
            })+

            fn end(self) -> Result<(), Untraceable> {
                self.mark(mark::END);
                Ok(())
            }
        }
    )*};
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeMap: serialize_key serialize_value;
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Trace<'_> {
            type Ok = ();
            type Error = Untraceable;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Untraceable> {
                Trace(self.0).text(mark::FIELD, key.as_bytes()).inner(value)
            }

            fn end(self) -> Result<(), Untraceable> {
                self.mark(mark::END);
                Ok(())
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }
