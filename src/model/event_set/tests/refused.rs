//! Types that are not event sets, and values that an event must not hold.

use super::{Shape, check_not_decoded, check_round_trip, recorded};
use crate::model::event_set::set::Event;
use crate::model::event_set::stored_types;
use crate::value::error::ErrorKind;
use crate::value::event::NewEvent;
use crate::value::filter::Filter;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Checks that the type of `event` is refused as an event set because of `reason`.
#[track_caller]
fn check_no_set<E: Event>(event: &E, reason: &str) {
    let refused = NewEvent::of(event).unwrap_err();
    let message = refused.to_string();
    assert_eq!(refused.kind(), ErrorKind::NotAnEventSet, "{message}");
    assert!(message.contains(std::any::type_name::<E>()), "{message}");
    assert!(message.contains(reason), "{message:?} does not hold {reason:?}");
}

macro_rules! event_sets {
    ($($(#[$attribute:meta])* $kind:ident $name:ident $body:tt $(; $end:tt)?)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        $(#[$attribute])*
        $kind $name $body $($end)?
        impl Event for $name {}
    )*};
}

event_sets! {
    struct Structure { a: u8 }
    #[serde(tag = "type")]
    enum Internally { A { x: u8 }, B }
    #[serde(tag = "type", content = "content")]
    enum Adjacently { A { x: u8 }, B }
    #[serde(untagged)]
    enum Untagged { A { x: u8 }, B(String) }
    enum SkippedVariant { Read, #[serde(skip_deserializing)] Written { x: u8 } }
    enum SkippedBesideOther { #[serde(skip_deserializing)] Written, #[serde(other)] Other }
    enum SkippedField { A { x: u8, #[serde(skip_deserializing)] y: u8 } }
    enum SkippedAtTimes {
        A {
            x: u8,
            #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)] y: Option<u8>,
        },
    }
    enum SkippedContent { A(#[serde(skip_deserializing)] u8) }
    enum SkippedWithin { A(Vec<Nested>) }
    enum SkippedPastReading { A { #[serde(skip_serializing)] x: u8 } }
    enum RenamedOneWay { #[serde(rename(serialize = "a", deserialize = "b"))] A }
    enum FieldRenamedOneWay { A { #[serde(default, rename(deserialize = "z"))] x: u8 } }
    enum UntaggedVariant { A, #[serde(untagged)] B(String) }
    enum Changed { A(#[serde(with = "doubled")] u8) }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nested {
    #[serde(skip_deserializing)]
    deep: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype(Internally);
impl Event for Newtype {}

mod doubled {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u8, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(*value * 2)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
        u8::deserialize(from)
    }
}

#[test]
fn a_type_that_is_no_externally_tagged_enum_is_refused_with_what_it_is() {
    check_no_set(&Structure { a: 1 }, "a struct Structure");
    check_no_set(&Internally::A { x: 1 }, "an internally tagged enum Internally");
    check_no_set(&Internally::B, "an internally tagged enum Internally");
    check_no_set(&Adjacently::A { x: 1 }, "an adjacently tagged enum Adjacently");
    check_no_set(&Untagged::A { x: 1 }, "an untagged enum");
    check_no_set(&Untagged::B(String::new()), "an untagged enum");
    check_no_set(&UntaggedVariant::A, "an untagged enum");
    check_no_set(&UntaggedVariant::B("b".into()), "an untagged enum");
    check_no_set(&Newtype(Internally::B), "a tuple struct Newtype");
}

#[test]
fn a_type_that_is_no_event_set_does_not_read_either() {
    let stored = recorded("A", 1, "{}");
    let kind = ErrorKind::NotAnEventSet;
    check_not_decoded::<Structure>(&stored, kind, &["struct Structure"]);
    check_not_decoded::<Internally>(&stored, kind, &["internally tagged"]);
    check_not_decoded::<Adjacently>(&stored, kind, &["adjacently tagged"]);
    check_not_decoded::<Untagged>(&stored, kind, &["untagged"]);
    assert_eq!(stored_types::<Structure>().unwrap_err().kind(), kind);
}

#[test]
fn a_filter_of_a_type_that_is_no_event_set_says_so_where_it_is_used() {
    #[derive(Clone, Serialize, Deserialize)]
    enum Never {}
    impl Event for Never {}
    for filter in [Filter::of::<Structure>(), Filter::category("A").and_of::<Untagged>()] {
        assert_eq!(filter.check().unwrap_err().kind(), ErrorKind::NotAnEventSet);
    }
    let refused = Filter::of::<Never>().check().unwrap_err().to_string();
    assert!(refused.contains("no variants"), "{refused}");
    let filter = Filter::category("A").and_of::<RenamedOneWay>().and_of::<SkippedVariant>();
    filter.check().unwrap();
    assert!(filter.wants("A-1", "b") && filter.wants("A-1", "Read"));
    assert!(!filter.wants("A-1", "Written") && !filter.wants("B-1", "b"));
}

#[test]
fn what_would_be_written_and_not_read_is_refused_before_it_is_appended() {
    check_no_set(&SkippedVariant::Written { x: 1 }, "skip_deserializing");
    check_round_trip(SkippedVariant::Read, "Read", "null");
    check_no_set(&SkippedBesideOther::Written, "read are Other");
    check_no_set(
        &SkippedField::A { x: 1, y: 0 },
        "fields that it does not read (skip_deserializing?): y",
    );
    check_no_set(&SkippedContent::A(0), "it has content, which is not read");
    check_no_set(&SkippedWithin::A(vec![Nested { deep: None }]), "deep");
    check_no_set(&SkippedPastReading::A { x: 1 }, "does not read back: missing field `x`");
    check_no_set(&RenamedOneWay::A, "under a name that is not read");
    check_no_set(&FieldRenamedOneWay::A { x: 0 }, "does not read (skip_deserializing?): x");
    check_no_set(&Changed::A(4), "it is written as a u8 and reads back as another u8");
}

/// The story: only the first event of a variant was read back, and it may leave out the one field that is not read.
/// The second event lost that field.
#[test]
fn a_field_that_the_first_events_leave_out_is_checked_when_it_is_written() {
    for _ in 0..2 {
        check_round_trip(SkippedAtTimes::A { x: 1, y: None }, "A", r#"{"x":1}"#);
        check_no_set(&SkippedAtTimes::A { x: 1, y: Some(2) }, "(skip_deserializing?): y");
    }
}

#[test]
fn a_refusal_is_not_remembered_as_a_pass() {
    for _ in 0..3 {
        check_no_set(&SkippedField::A { x: 1, y: 0 }, "skip_deserializing");
    }
}

#[test]
fn a_value_that_json_cannot_hold_is_refused_every_time_and_names_the_type() {
    check_round_trip(
        Shape::Floats { half: 1.0, single: 1.0, least: 1.0 },
        "Floats",
        r#"{"half":1.0,"single":1.0,"least":1.0}"#,
    );
    let nested = || Shape::Floats { half: f64::NAN, single: 0.0, least: 0.0 };
    for bad in [
        nested(),
        Shape::Floats { half: 0.0, single: f32::INFINITY, least: 0.0 },
        Shape::NewtypeSelf(Box::new(nested())),
    ] {
        let refused = NewEvent::of(&bad).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let message = refused.to_string();
        assert!(message.contains("finite") && message.contains("Shape"), "{message}");
    }
    let refused = NewEvent::json("Measured", &f64::NAN).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
}

#[test]
fn a_value_too_deep_to_read_back_is_refused() {
    let nest = |times| (0..times).fold(Shape::Unit, |inner, _| Shape::NewtypeSelf(Box::new(inner)));
    let deepest = nest(crate::value::limits::JSON_NESTING_MAX + 1);
    let new = NewEvent::of(&deepest).unwrap();
    let stored = recorded("NewtypeSelf", 1, std::str::from_utf8(&new.payload).unwrap());
    assert_eq!(stored.decode::<Shape>().unwrap(), deepest);
    let refused = NewEvent::of(&nest(crate::value::limits::JSON_NESTING_MAX + 2)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
}

#[test]
fn sets_and_maps_without_an_order_are_no_reason_to_refuse() {
    event_sets! { enum Unordered { A { set: HashSet<u64>, map: HashMap<String, HashSet<u8>> } } }
    let set: HashSet<u64> = (0..100).collect();
    let map = (0..50).map(|n| (n.to_string(), HashSet::from([n, n + 1]))).collect();
    let event = Unordered::A { set, map };
    let new = NewEvent::of(&event).unwrap();
    let stored = recorded("A", 1, std::str::from_utf8(&new.payload).unwrap());
    assert_eq!(stored.decode::<Unordered>().unwrap(), event);
}
