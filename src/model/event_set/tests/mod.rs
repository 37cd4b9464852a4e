//! Events of every shape are written and read back, by programs of different versions.

mod refused;
mod single;

use super::set::{Event, StoredEvent};
use super::stored_types;
use crate::value::error::{ErrorKind, HandlerError};
use crate::value::event::{EventType, NewEvent, PayloadFormat, RecordedEvent, RecordedMetadata};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;

fn recorded(event_type: &str, schema_version: u16, payload: &str) -> RecordedEvent {
    RecordedEvent {
        position: Position::new(7),
        stream: StreamId::new("Thing-1").unwrap(),
        version: Version::new(3),
        id: uuid::Uuid::nil(),
        event_type: EventType::from(event_type),
        schema_version,
        recorded_at: DateTime::<Utc>::UNIX_EPOCH,
        occurred_at: DateTime::<Utc>::UNIX_EPOCH,
        metadata: RecordedMetadata::default(),
        format: PayloadFormat::Json,
        payload: payload.to_owned().into(),
    }
}

#[track_caller]
fn check_written<E: Event>(event: &E, event_type: &str, payload: &str) -> RecordedEvent {
    let new = NewEvent::of(event).unwrap();
    assert_eq!(new.event_type, event_type);
    assert_eq!(std::str::from_utf8(&new.payload).unwrap(), payload);
    assert_eq!(new.format, PayloadFormat::Json);
    recorded(event_type, new.schema_version, payload)
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "a table of cases reads better without &")]
fn check_round_trip<E: Event + PartialEq + Debug>(event: E, event_type: &str, payload: &str) {
    let stored = check_written(&event, event_type, payload);
    assert_eq!(stored.decode::<E>().unwrap(), event);
}

#[track_caller]
fn check_not_decoded<E: Event + Debug>(stored: &RecordedEvent, kind: ErrorKind, parts: &[&str]) {
    let refused = stored.decode::<E>().unwrap_err();
    let message = refused.to_string();
    assert_eq!(refused.kind(), kind, "{message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} does not hold {part:?}");
    }
}

// ---- every shape -------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Address {
    city: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zip: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Contact {
    Mail { to: String },
    Post(Address),
    Nobody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(i64),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    NewtypeNumber(i64),
    NewtypeText(String),
    NewtypeUnit(()),
    NewtypeOption(Option<u8>),
    NewtypeStruct(Address),
    NewtypeMap(BTreeMap<u32, String>),
    NewtypeList(Vec<Address>),
    NewtypeEnum(Contact),
    NewtypeEither(Either),
    NewtypeSelf(Box<Shape>),
    Tuple(u8, String, Option<bool>),
    EmptyTuple(),
    Struct { id: u64, huge: u128, address: Address, tags: Vec<String> },
    EmptyStruct {},
    Floats { half: f64, single: f32, least: f64 },
    Bytes(Vec<u8>),
    Any(serde_json::Value),
    Time(DateTime<Utc>),
    Übergröße { größe: char },
}
impl Event for Shape {}

#[test]
fn every_shape_of_variant_goes_there_and_back() {
    use Shape::*;
    let boston = || Address { city: "Boston".into(), zip: None };
    check_round_trip(Unit, "Unit", "null");
    check_round_trip(NewtypeNumber(-5), "NewtypeNumber", "-5");
    check_round_trip(NewtypeText("a \"b\"\n".into()), "NewtypeText", r#""a \"b\"\n""#);
    check_round_trip(NewtypeUnit(()), "NewtypeUnit", "null");
    check_round_trip(NewtypeOption(None), "NewtypeOption", "null");
    check_round_trip(NewtypeOption(Some(4)), "NewtypeOption", "4");
    check_round_trip(NewtypeStruct(boston()), "NewtypeStruct", r#"{"city":"Boston"}"#);
    check_round_trip(
        NewtypeMap(BTreeMap::from([(1, "x".into()), (2, "y".into())])),
        "NewtypeMap",
        r#"{"1":"x","2":"y"}"#,
    );
    check_round_trip(
        NewtypeList(vec![boston(), Address { city: String::new(), zip: Some(2116) }]),
        "NewtypeList",
        r#"[{"city":"Boston"},{"city":"","zip":2116}]"#,
    );
    let mail = Contact::Mail { to: "a@b".into() };
    check_round_trip(NewtypeEnum(mail), "NewtypeEnum", r#"{"kind":"mail","to":"a@b"}"#);
    let post = Contact::Post(boston());
    check_round_trip(NewtypeEnum(post), "NewtypeEnum", r#"{"kind":"post","city":"Boston"}"#);
    check_round_trip(NewtypeEnum(Contact::Nobody), "NewtypeEnum", r#"{"kind":"nobody"}"#);
    check_round_trip(NewtypeEither(Either::Number(1)), "NewtypeEither", "1");
    check_round_trip(NewtypeEither(Either::Text("1".into())), "NewtypeEither", r#""1""#);
    check_round_trip(NewtypeSelf(Box::new(Unit)), "NewtypeSelf", r#""Unit""#);
    check_round_trip(
        NewtypeSelf(Box::new(NewtypeNumber(1))),
        "NewtypeSelf",
        r#"{"NewtypeNumber":1}"#,
    );
    check_round_trip(Tuple(1, "b".into(), None), "Tuple", r#"[1,"b",null]"#);
    check_round_trip(EmptyTuple(), "EmptyTuple", "[]");
    check_round_trip(
        Struct { id: u64::MAX, huge: u128::MAX, address: boston(), tags: vec!["t".into()] },
        "Struct",
        r#"{"id":18446744073709551615,"huge":340282366920938463463374607431768211455,"address":{"city":"Boston"},"tags":["t"]}"#,
    );
    check_round_trip(EmptyStruct {}, "EmptyStruct", "{}");
    check_round_trip(
        Floats { half: 0.5, single: 0.1, least: 5e-324 },
        "Floats",
        r#"{"half":0.5,"single":0.1,"least":5e-324}"#,
    );
    check_round_trip(Bytes(vec![0, 255]), "Bytes", "[0,255]");
    check_round_trip(
        Any(json!({"a": [1, null, {"b": 2.5}]})),
        "Any",
        r#"{"a":[1,null,{"b":2.5}]}"#,
    );
    let time = DateTime::from_timestamp_nanos(1_700_000_000_123_456_789);
    check_round_trip(Time(time), "Time", r#""2023-11-14T22:13:20.123456789Z""#);
    check_round_trip(Übergröße { größe: 'ẞ' }, "Übergröße", r#"{"größe":"ẞ"}"#);
}

#[test]
fn a_float_comes_back_to_the_last_bit() {
    let seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut state = seed;
    let mut checked = 0;
    while checked < 20_000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (half, single) = (f64::from_bits(state), f32::from_bits((state >> 32) as u32));
        if !half.is_finite() || !single.is_finite() {
            continue;
        }
        checked += 1;
        let new = NewEvent::of(&Shape::Floats { half, single, least: -half }).unwrap();
        let stored = recorded("Floats", 1, std::str::from_utf8(&new.payload).unwrap());
        let Shape::Floats { half: h, single: s, least } = stored.decode().unwrap() else {
            panic!("another variant came back");
        };
        let (back, sent) = ((h.to_bits(), s.to_bits(), least.to_bits()), half.to_bits());
        assert_eq!(back, (sent, single.to_bits(), (-half).to_bits()), "seed {seed:#x}");
    }
}

// ---- serde's attributes ------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum Attributed {
    #[serde(rename = "customer.registered/v1", alias = "Registered", alias = "Signed up")]
    Registered {
        full_name: String,
    },
    AddressChanged {
        #[serde(rename = "where", alias = "place")]
        to: String,
        #[serde(flatten)]
        rest: BTreeMap<String, serde_json::Value>,
    },
    Moved {
        #[serde(flatten)]
        address: Address,
        at_night: bool,
    },
    Tagged(#[serde(with = "as_text")] u64),
    Hidden {
        shown: u8,
        #[serde(skip)]
        cache: u8,
    },
    #[serde(other)]
    Unknown,
}
impl Event for Attributed {}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[test]
fn serde_attributes_are_honoured() {
    check_round_trip(
        Attributed::Registered { full_name: "Ada".into() },
        "customer.registered/v1",
        r#"{"fullName":"Ada"}"#,
    );
    check_round_trip(
        Attributed::AddressChanged {
            to: "here".into(),
            rest: BTreeMap::from([("by".into(), json!([1]))]),
        },
        "address-changed",
        r#"{"where":"here","by":[1]}"#,
    );
    check_round_trip(
        Attributed::Moved {
            address: Address { city: "Cambridge".into(), zip: Some(1) },
            at_night: true,
        },
        "moved",
        r#"{"city":"Cambridge","zip":1,"atNight":true}"#,
    );
    check_round_trip(Attributed::Tagged(7), "tagged", r#""7""#);
    check_round_trip(Attributed::Hidden { shown: 1, cache: 0 }, "hidden", r#"{"shown":1}"#);
    check_round_trip(Attributed::Unknown, "unknown", "null");
}

#[test]
fn an_alias_reads_what_was_stored_under_an_older_name() {
    for older in ["Registered", "Signed up"] {
        let stored = recorded(older, 1, r#"{"fullName":"Ada"}"#);
        let expected = Attributed::Registered { full_name: "Ada".into() };
        assert_eq!(stored.decode::<Attributed>().unwrap(), expected);
    }
    let stored = recorded("address-changed", 1, r#"{"place":"there"}"#);
    let expected = Attributed::AddressChanged { to: "there".into(), rest: BTreeMap::new() };
    assert_eq!(stored.decode::<Attributed>().unwrap(), expected);
}

#[test]
fn other_takes_every_unknown_type_whatever_its_payload() {
    for (schema_version, payload) in
        [(1, "null"), (1, r#"{"a":1}"#), (900, "[1,2]"), (1, "not json"), (1, "")]
    {
        let stored = recorded("never.heard.of", schema_version, payload);
        assert_eq!(stored.decode::<Attributed>().unwrap(), Attributed::Unknown, "{payload}");
    }
}

#[test]
fn the_types_to_filter_by_are_names_aliases_and_former_types() {
    #[derive(Clone, Serialize, Deserialize)]
    enum Renamed {
        #[serde(alias = "A0")]
        A,
        #[serde(rename = "b")]
        B,
    }
    impl Event for Renamed {
        fn former_types() -> &'static [&'static str] {
            &["Z"]
        }
    }
    let mut types = stored_types::<Renamed>().unwrap();
    types.sort_unstable();
    assert_eq!(types, ["A", "A0", "Z", "b"]);
    assert_eq!(NewEvent::of(&Renamed::B).unwrap().event_type, "b");
}

// ---- programs of different ages ----------------------------------------------------------------

#[test]
fn a_unit_variant_may_grow_fields_with_defaults_and_lose_them_again() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Grown {
        Archived {
            #[serde(default)]
            reason: String,
        },
    }
    impl Event for Grown {}
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Shrunk {
        Archived,
    }
    impl Event for Shrunk {}

    let old = recorded("Archived", 1, "null");
    assert_eq!(old.decode::<Grown>().unwrap(), Grown::Archived { reason: String::new() });
    let new = recorded("Archived", 1, r#"{"reason":"moved away"}"#);
    assert_eq!(new.decode::<Shrunk>().unwrap(), Shrunk::Archived);
}

#[test]
fn a_field_of_a_newer_program_is_passed_over() {
    let stored = recorded("NewtypeStruct", 1, r#"{"later":[1],"city":"Boston"}"#);
    let expected = Shape::NewtypeStruct(Address { city: "Boston".into(), zip: None });
    assert_eq!(stored.decode::<Shape>().unwrap(), expected);
}

/// Upcasts `Opened` 1 {"door"} to `Opened` 2 {"doors"} and that to `DoorsOpened` 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Door {
    DoorsOpened { doors: Vec<u32> },
    Closed,
    Circling,
}
impl Event for Door {
    fn schema_version(event_type: &str) -> u16 {
        if event_type == "Closed" { 4 } else { 1 }
    }

    fn upcast(old: StoredEvent) -> Result<StoredEvent, HandlerError> {
        match (&*old.event_type, old.schema_version) {
            ("Opened", 1) => {
                let door: u32 =
                    serde_json::from_value(old.json::<serde_json::Value>()?["door"].take())?;
                Ok(StoredEvent::json_of("Opened", 2, &json!({"doors": [door]}))?)
            }
            ("Opened", 2) => Ok(StoredEvent::new("DoorsOpened", 1, old.payload)),
            ("Circling", n @ (1 | 2)) => Ok(StoredEvent::new("Circling", 3 - n, old.payload)),
            ("Lost", _) => Err("its hinges are gone".into()),
            _ => Ok(old),
        }
    }

    fn former_types() -> &'static [&'static str] {
        &["Opened"]
    }
}

#[test]
fn an_upcaster_goes_from_version_to_version_and_from_type_to_type() {
    let expected = Door::DoorsOpened { doors: vec![5] };
    for (event_type, schema_version, payload) in [
        ("Opened", 1, r#"{"door":5}"#),
        ("Opened", 2, r#"{"doors":[5]}"#),
        ("DoorsOpened", 1, r#"{"doors":[5]}"#),
    ] {
        let stored = recorded(event_type, schema_version, payload);
        assert_eq!(stored.decode::<Door>().unwrap(), expected, "{event_type} {schema_version}");
    }
}

#[test]
fn an_older_schema_that_nobody_upcasts_is_read_as_it_is() {
    assert_eq!(recorded("Closed", 1, "null").decode::<Door>().unwrap(), Door::Closed);
    assert_eq!(check_written(&Door::Closed, "Closed", "null").schema_version, 4);
}

#[test]
fn an_upcaster_that_fails_or_circles_is_an_error_with_the_cause() {
    let lost = recorded("Lost", 1, "null");
    let parts = ["version 3 of Thing-1", "its hinges are gone", "Door"];
    check_not_decoded::<Door>(&lost, ErrorKind::Undecodable, &parts);
    let circling = recorded("Circling", 1, "null");
    check_not_decoded::<Door>(&circling, ErrorKind::Undecodable, &["circles", "1024 steps"]);
}

#[test]
fn a_schema_above_ours_is_newer_and_says_so() {
    let parts = ["position 7", "version 5 of Closed", "up to 4"];
    check_not_decoded::<Door>(&recorded("Closed", 5, "null"), ErrorKind::NewerSchema, &parts);
    let parts = ["DoorsOpened", "up to 1"];
    let stored = recorded("DoorsOpened", 2, r#"{"doors":[]}"#);
    check_not_decoded::<Door>(&stored, ErrorKind::NewerSchema, &parts);
}

#[test]
fn an_unknown_type_is_an_error_that_names_it_and_the_known_ones() {
    let parts = ["Exploded", "Door", "DoorsOpened, Closed", "Thing-1"];
    check_not_decoded::<Door>(
        &recorded("Exploded", 1, "null"),
        ErrorKind::UnknownEventType,
        &parts,
    );
    check_not_decoded::<Door>(
        &recorded("Exploded", 9, "null"),
        ErrorKind::UnknownEventType,
        &parts,
    );
}

#[test]
fn an_unknown_variant_within_a_payload_is_no_unknown_event_type() {
    let stored = recorded("NewtypeEnum", 1, r#"{"kind":"pigeon"}"#);
    check_not_decoded::<Shape>(
        &stored,
        ErrorKind::Undecodable,
        &["unknown variant, expected", "NewtypeEnum"],
    );
    let stored = recorded("NewtypeSelf", 1, r#""Pigeon""#);
    check_not_decoded::<Shape>(
        &stored,
        ErrorKind::Undecodable,
        &["unknown variant, expected", "NewtypeSelf"],
    );
}

#[test]
fn a_payload_that_is_not_the_variants_content_is_an_error_with_the_cause() {
    for (event_type, payload, cause) in [
        ("NewtypeNumber", "\"five\"", "invalid type: string"),
        ("NewtypeNumber", "5 6", "trailing characters"),
        ("NewtypeNumber", "", "EOF"),
        ("Tuple", "[1]", "invalid length 1"),
        ("Tuple", "[1,\"b\",null,4]", "trailing characters"),
        ("Struct", "{\"id\":1}", "missing field `huge`"),
        ("Struct", "null", "missing field `id`"),
        ("Struct", "{\"id\":1", "EOF"),
        ("NewtypeText", "\"\u{1}\"", "control character"),
        ("Bytes", "[256]", "invalid value: integer, expected u8"),
    ] {
        let stored = recorded(event_type, 1, payload);
        let parts = [event_type, cause, "version 3 of Thing-1", "position 7"];
        check_not_decoded::<Shape>(&stored, ErrorKind::Undecodable, &parts);
    }
    let mut bytes = recorded("NewtypeText", 1, "");
    bytes.payload = vec![b'"', 0xFF, b'"'].into();
    check_not_decoded::<Shape>(&bytes, ErrorKind::Undecodable, &["invalid unicode"]);
}
