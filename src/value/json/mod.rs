//! JSON as the store writes it: only what reads back.
//!
//! * A float that is not finite is an error; serde_json alone would write `null`.
//! * Nothing nests deeper than serde_json is willing to read: [`JSON_NESTING_MAX`] arrays and objects.
//!
//! Both would otherwise be accepted, stored for good, and never be read again.

pub(crate) mod readable;
pub(crate) mod told;

use crate::value::limits::JSON_NESTING_MAX;
use serde::Serialize;
use serde::ser::{self, Error as _, Serializer};

/// How the message begins that refuses what nests deeper.
const TOO_DEEP: &str = "it nests ";
/// How the message begins that refuses a float.
const NOT_FINITE: &str = "it holds the float ";

/// `value` as JSON.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    value.serialize(Strict::new(&mut serde_json::Serializer::new(&mut out)))?;
    Ok(out)
}

/// A serializer that refuses what would not read back, and hands everything else to `inner`.
pub(crate) struct Strict<S> {
    inner: S,
    depth: usize,
}

impl<S: Serializer> Strict<S> {
    pub(crate) fn new(inner: S) -> Strict<S> {
        Strict { inner, depth: 0 }
    }

    /// The depth within the next `levels` arrays and objects.
    fn deeper(&self, levels: usize) -> Result<usize, S::Error> {
        let depth = self.depth + levels;
        if depth > JSON_NESTING_MAX {
            return Err(S::Error::custom(format_args!(
                "{TOO_DEEP}{depth} arrays and objects; at most {JSON_NESTING_MAX} can be read back"
            )));
        }
        Ok(depth)
    }
}

/// A value that is `depth` arrays and objects deep.
struct At<'a, T: ?Sized> {
    value: &'a T,
    depth: usize,
}

impl<T: Serialize + ?Sized> Serialize for At<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Strict { inner, depth: self.depth })
    }
}

/// An array or object being written; its parts are `depth` deep.
pub(crate) struct Within<C> {
    compound: C,
    depth: usize,
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method(self, $($argument: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($argument),*)
        }
    )*};
}

macro_rules! finite {
    ($($method:ident($type:ty);)*) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            if !value.is_finite() {
                return Err(S::Error::custom(format_args!(
                    "{NOT_FINITE}{value}; JSON has only finite numbers"
                )));
            }
            self.inner.$method(value)
        }
    )*};
}

macro_rules! open {
    ($($method:ident($($argument:ident: $type:ty),*) -> $compound:ident, $levels:literal;)*) => {$(
        fn $method(self, $($argument: $type),*) -> Result<Self::$compound, S::Error> {
            let depth = self.deeper($levels)?;
            Ok(Within { compound: self.inner.$method($($argument),*)?, depth })
        }
    )*};
}

impl<S: Serializer> Serializer for Strict<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Within<S::SerializeSeq>;
    type SerializeTuple = Within<S::SerializeTuple>;
    type SerializeTupleStruct = Within<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Within<S::SerializeTupleVariant>;
    type SerializeMap = Within<S::SerializeMap>;
    type SerializeStruct = Within<S::SerializeStruct>;
    type SerializeStructVariant = Within<S::SerializeStructVariant>;

    finite! {
        serialize_f32(f32);
        serialize_f64(f64);
    }

    forward! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    open! {
        serialize_seq(len: Option<usize>) -> SerializeSeq, 1;
        serialize_tuple(len: usize) -> SerializeTuple, 1;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct, 1;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant, 2;
        serialize_map(len: Option<usize>) -> SerializeMap, 1;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct, 1;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant, 2;
    }

    /// Bytes are written as an array of numbers.
    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.deeper(1)?;
        self.inner.serialize_bytes(value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&At { value, depth: self.depth })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &At { value, depth: self.depth })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.deeper(1)?;
        self.inner.serialize_newtype_variant(name, index, variant, &At { value, depth })
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident)*) => {$(
        impl<C: ser::$trait> ser::$trait for Within<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.compound.$method(&At { value, depth: self.depth })
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.compound.end()
            }
        }
    )*};
}

elements! {
    SerializeSeq::serialize_element
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl<C: ser::$trait> ser::$trait for Within<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                self.compound.serialize_field(key, &At { value, depth: self.depth })
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.compound.skip_field(key)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.compound.end()
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }

impl<C: ser::SerializeMap> ser::SerializeMap for Within<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    /// A key is a string, whatever it is made of; serde_json refuses a float that is not finite.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.compound.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.compound.serialize_value(&At { value, depth: self.depth })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.compound.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Number(f64),
        Wrapped(Box<Tree>),
        Pair(Box<Tree>, Box<Tree>),
        Named { left: Box<Tree>, right: Option<Box<Tree>> },
    }

    fn check_same_as_serde_json(value: &impl Serialize) {
        let ours = String::from_utf8(to_vec(value).unwrap()).unwrap();
        assert_eq!(ours, serde_json::to_string(value).unwrap());
    }

    #[test]
    fn what_reads_back_is_written_as_serde_json_writes_it() {
        #[derive(Serialize)]
        struct Unit;
        #[derive(Serialize)]
        struct New(u8);
        #[derive(Serialize)]
        struct Pair(u8, char);
        #[derive(Serialize)]
        struct Named<'a> {
            small: i8,
            huge: u128,
            negative: i128,
            #[serde(skip_serializing_if = "Option::is_none")]
            absent: Option<u8>,
            text: &'a str,
            single: f32,
            map: BTreeMap<u8, Vec<bool>>,
        }
        check_same_as_serde_json(&Unit);
        check_same_as_serde_json(&New(1));
        check_same_as_serde_json(&Pair(1, 'ß'));
        check_same_as_serde_json(&Named {
            small: -1,
            huge: u128::MAX,
            negative: i128::MIN,
            absent: None,
            text: "a\"\n\u{1F39E}",
            single: 0.1,
            map: BTreeMap::from([(3, vec![true, false])]),
        });
        check_same_as_serde_json(&[Tree::Leaf, Tree::Number(0.5)]);
        check_same_as_serde_json(&Tree::Pair(
            Box::new(Tree::Leaf),
            Box::new(Tree::Named { left: Box::new(Tree::Leaf), right: None }),
        ));
        check_same_as_serde_json(&uuid::Uuid::from_u128(7));
    }

    #[test]
    fn a_float_that_is_not_finite_is_refused_wherever_it_stands() {
        let bad = || Box::new(Tree::Number(f64::NAN));
        let leaf = || Box::new(Tree::Leaf);
        let refused = |value: &dyn Fn() -> serde_json::Result<Vec<u8>>| {
            let message = value().unwrap_err().to_string();
            assert!(message.contains("only finite numbers"), "{message}");
        };
        refused(&|| to_vec(&f64::INFINITY));
        refused(&|| to_vec(&f32::NEG_INFINITY));
        refused(&|| to_vec(&Some(f32::NAN)));
        refused(&|| to_vec(&[1.0, f64::NAN]));
        refused(&|| to_vec(&(1, f64::NAN)));
        refused(&|| to_vec(&BTreeMap::from([("k", f64::NAN)])));
        refused(&|| to_vec(&Tree::Wrapped(bad())));
        refused(&|| to_vec(&Tree::Pair(leaf(), bad())));
        refused(&|| to_vec(&Tree::Named { left: leaf(), right: Some(bad()) }));
        for finite in [0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::EPSILON] {
            let back: f64 = serde_json::from_slice(&to_vec(&finite).unwrap()).unwrap();
            assert_eq!(back.to_bits(), f64::to_bits(finite));
        }
    }

    /// Wraps a leaf by `wrap` as often as it can be written, and checks that as much can be read.
    fn check_deepest(levels_each: usize, wrap: impl Fn(Box<Tree>) -> Tree) {
        let mut tree = Tree::Leaf;
        for times in 1.. {
            tree = wrap(Box::new(tree));
            match to_vec(&tree) {
                Ok(bytes) => assert_eq!(serde_json::from_slice::<Tree>(&bytes).unwrap(), tree),
                Err(refused) => {
                    assert_eq!(times, JSON_NESTING_MAX / levels_each + 1);
                    assert!(refused.to_string().contains("at most 127"), "{refused}");
                    let unchecked = serde_json::to_vec(&tree).unwrap();
                    serde_json::from_slice::<Tree>(&unchecked).unwrap_err();
                    return;
                }
            }
        }
    }

    #[test]
    fn as_deep_as_it_can_be_read_and_no_deeper() {
        check_deepest(1, Tree::Wrapped);
        check_deepest(2, |left| Tree::Named { left, right: None });
        check_deepest(2, |left| Tree::Pair(left, Box::new(Tree::Leaf)));
    }
}
