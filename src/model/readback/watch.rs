//! Reads JSON, and notices where serde may have chosen among variants.
//!
//! serde reads an untagged enum by trying its variants in order, and takes the first one that accepts the value. For
//! that, serde's derives hold the value in a buffer, as they do for internal tags and for `flatten`. Reads from a
//! buffer cannot be watched, so each use of a buffer is noticed.

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use std::any::type_name;
use std::cell::RefCell;
use std::fmt;

/// Reads the value. If a part of it was read from a buffer, also returns a description of that part, in serde's
/// words.
pub(in crate::model) fn read_watched<T: DeserializeOwned>(
    json: &[u8],
) -> serde_json::Result<(T, Option<String>)> {
    let noticed = Noticed::default();
    let mut json = serde_json::Deserializer::from_slice(json);
    let value = T::deserialize(Watched { inner: &mut json, noticed: &noticed })?;
    json.end()?;
    Ok((value, noticed.0.into_inner()))
}

#[derive(Default)]
struct Noticed(RefCell<Option<String>>);

impl Noticed {
    fn notice(&self, what: String) {
        self.0.borrow_mut().get_or_insert(what);
    }

    /// Notices serde's buffer, which is filled by `deserialize_any`. It has no public name, but there are two signs
    /// of it.
    fn any<'de, V: Visitor<'de>>(&self, visitor: &V) {
        let wanted = (visitor as &dyn Expected).to_string();
        if wanted == "any value" {
            self.notice("an untagged enum, or what is flattened".to_owned());
        } else if type_name::<V::Value>().contains("Content") {
            self.notice(format!("what is read as {wanted}"));
        }
    }

    /// A struct that is read as a map has flattened fields, which are read from a buffer even if it is empty.
    fn map<'de, V: Visitor<'de>>(&self, visitor: &V) {
        let wanted = (visitor as &dyn Expected).to_string();
        if wanted.starts_with("struct ") {
            self.notice(format!("a flattened field of {wanted}"));
        }
    }
}

/// A wrapper of serde's deserializers, visitors, seeds and accesses that watches them.
struct Watched<'w, T> {
    inner: T,
    noticed: &'w Noticed,
}

impl<'w, T> Watched<'w, T> {
    fn watch<U>(&self, inner: U) -> Watched<'w, U> {
        Watched { inner, noticed: self.noticed }
    }
}

macro_rules! deserialize {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let visitor = self.watch(visitor);
            self.inner.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Watched<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.noticed.any(&visitor);
        let visitor = self.watch(visitor);
        self.inner.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.noticed.map(&visitor);
        let visitor = self.watch(visitor);
        self.inner.deserialize_map(visitor)
    }

    deserialize! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        let from = self.watch(from);
        self.inner.visit_some(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        let from = self.watch(from);
        self.inner.visit_newtype_struct(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let from = self.watch(from);
        self.inner.visit_seq(from)
    }

    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let from = self.watch(from);
        self.inner.visit_map(from)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let from = self.watch(from);
        self.inner.visit_enum(from)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Watched<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        let from = self.watch(from);
        self.inner.deserialize(from)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.watch(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.watch(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.watch(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'w, A: EnumAccess<'de>> EnumAccess<'de> for Watched<'w, A> {
    type Error = A::Error;
    type Variant = Watched<'w, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let noticed = self.noticed;
        let seed = self.watch(seed);
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Watched { inner: variant, noticed }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Watched<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.watch(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.watch(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.watch(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    #[derive(Serialize, Deserialize)]
    struct Plain {
        text: String,
        numbers: BTreeMap<u32, Option<f64>>,
        list: Vec<(u8, External)>,
        any: serde_json::Value,
        id: uuid::Uuid,
        time: chrono::DateTime<chrono::Utc>,
    }

    #[derive(Serialize, Deserialize)]
    enum External {
        Unit,
        One(Box<External>),
        Named { a: u8 },
    }

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "is")]
    enum Internal {
        Named { a: u8 },
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Narrow(u32),
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        rest: Option<Inner>,
    }

    #[derive(Serialize, Deserialize)]
    struct Inner {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
    }

    fn noticed<T: Serialize + DeserializeOwned>(value: T) -> Option<String> {
        let within = BTreeMap::from([("key", vec![Some((value,))])]);
        let json = serde_json::to_vec(&within).unwrap();
        read_watched::<BTreeMap<String, Vec<Option<(T,)>>>>(&json).unwrap().1
    }

    /// serde does not guarantee the signs of a buffer; this test fails if they change.
    #[test]
    fn what_serde_reads_from_a_buffer_is_noticed_and_nothing_else() {
        let list =
            vec![(1, External::Unit), (2, External::One(Box::new(External::Named { a: 1 })))];
        let plain = Plain {
            text: "x".into(),
            numbers: BTreeMap::from([(1, None), (2, Some(0.5))]),
            list,
            any: serde_json::json!({"a": [1, null, "x"]}),
            id: uuid::Uuid::from_u128(1),
            time: chrono::DateTime::UNIX_EPOCH,
        };
        assert_eq!(noticed(plain), None);
        assert!(noticed(Untagged::Narrow(1)).unwrap().contains("untagged"));
        assert!(noticed(Internal::Named { a: 1 }).unwrap().contains("internally tagged enum"));
        assert!(noticed(Flattened::default()).unwrap().contains("struct Flattened"));
    }
}
