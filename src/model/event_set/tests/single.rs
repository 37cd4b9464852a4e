//! Single events that cannot be read back, of types whose other events can.
//!
//! The story: only the first event of each variant was read back. A later event of the same variant that could not be
//! read was stored, and then the aggregate could never be loaded or get a command again.

use crate::model::event_set;
use crate::model::event_set::set::{Event, StoredEvent};
use crate::value::error::{ErrorKind, HandlerError};
use crate::value::event::NewEvent;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

macro_rules! event_sets {
    ($($(#[$attribute:meta])* $name:ident $body:tt)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        $(#[$attribute])*
        enum $name $body
        impl Event for $name {}
    )*};
}

event_sets! {
    Labelled { Labelled { by: String, #[serde(flatten)] labels: BTreeMap<String, String> } }
    Tagged { Paid(Amount) }
    Counted { Counted { #[serde(flatten)] count: Count } }
    Optional { Changed { twice: Option<Option<u8>>, unit: Option<()>, any: Option<serde_json::Value> } }
    Narrowed { Measured(Vec<Width>) }
    Invited { Invited(Email) }
    Hidden { Listed(Vec<Entry>) }
    Defaulted { Set { #[serde(default = "ten", skip_serializing_if = "is_zero")] n: u8 } }
}

/// serde reads an internally tagged enum through a buffer, which cannot hold 128-bit integers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "in")]
enum Amount {
    Cents { amount: u64 },
    Wei { amount: u128 },
}

/// serde reads flattened fields from a buffer, where a key is text and not a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Count {
    total: u8,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    of_each: BTreeMap<u8, u8>,
    #[serde(flatten)]
    more: BTreeMap<u8, u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Width {
    Narrow(u32),
    Wide(u64),
}

/// A type with values that the program can hold and does not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Email(String);

impl TryFrom<String> for Email {
    type Error = String;

    fn try_from(text: String) -> Result<Email, String> {
        if text.contains('@') { Ok(Email(text)) } else { Err(format!("{text} is no address")) }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    #[serde(skip_deserializing)]
    note: u8,
}

fn ten() -> u8 {
    10
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

/// Checks that `good` is accepted before and after `bad`, and that `bad` is refused because of `why`.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "a table of cases reads better without &")]
fn check<E: Event + PartialEq + Debug>(good: E, bad: E, why: &str) {
    for _ in 0..3 {
        let (new, back) = event_set::write(&good).unwrap();
        assert_eq!(back, good);
        let stored = StoredEvent::new(new.event_type, new.schema_version, new.payload);
        assert_eq!(stored.decode::<E>().unwrap(), good);
        let refused = NewEvent::of(&bad).unwrap_err();
        let message = refused.to_string();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{message}");
        assert!(message.contains(std::any::type_name::<E>()), "{message}");
        assert!(message.contains(why), "{message:?} does not hold {why:?}");
    }
}

#[test]
fn each_event_that_cannot_be_read_back_is_refused_whatever_was_read_before() {
    let labelled = |key: &str| Labelled::Labelled {
        by: "ann".into(),
        labels: BTreeMap::from([(key.to_owned(), "red".to_owned())]),
    };
    check(labelled("color"), labelled("by"), "duplicate field `by`");
    check(
        Tagged::Paid(Amount::Cents { amount: 1 }),
        Tagged::Paid(Amount::Wei { amount: u128::MAX }),
        "does not read back",
    );
    let counted = |more: &[(u8, u8)]| Counted::Counted {
        count: Count { total: 1, of_each: BTreeMap::new(), more: more.iter().copied().collect() },
    };
    check(counted(&[]), counted(&[(1, 2)]), "does not read back");
    check(
        Invited::Invited(Email("ann@example.org".into())),
        Invited::Invited(Email("ann".into())),
        "the type's own code refuses it",
    );
}

/// The story: `Some(None)` is `null` in JSON, as is `None`, so it was read back as `None`: another fact than the one
/// that was written. Now every difference between the written event and the one read back is refused.
#[test]
fn each_event_that_reads_back_as_another_one_is_refused() {
    let changed = |twice, unit, any| Optional::Changed { twice, unit, any };
    let nothing = || changed(None, None, None);
    check(
        nothing(),
        changed(Some(None), None, None),
        "`twice` is written as an option in an option",
    );
    check(nothing(), changed(None, Some(()), None), "`unit` is written as an option with a unit");
    check(nothing(), changed(None, None, Some(serde_json::Value::Null)), "`any` is written as");
    check(
        changed(Some(Some(1)), None, None),
        changed(Some(None), None, None),
        "reads back as none",
    );
    let narrow = Narrowed::Measured(vec![Width::Narrow(1)]);
    check(narrow, Narrowed::Measured(vec![Width::Wide(1)]), "as a u64 and reads back as a u32");
    check(
        Defaulted::Set { n: 10 },
        Defaulted::Set { n: 0 },
        "written as the variant Set and reads back with other fields",
    );
    // A field that the first event did not write.
    let entries = |notes: &[u8]| Hidden::Listed(notes.iter().map(|&note| Entry { note }).collect());
    check(entries(&[]), entries(&[1]), "`[].note` is written as a u8 and reads back as another u8");
}

/// The story: if any crate of the program enabled `serde_json/preserve_order`, lists of maps were compared in the
/// order of each map's hashes, and refused at random.
#[test]
fn a_list_of_maps_is_taken_however_they_are_hashed() {
    event_sets! { Order { Placed(Vec<HashMap<String, u32>>) } }
    let line = |sku, n| HashMap::from([("sku".to_owned(), sku), ("n".to_owned(), n)]);
    for _ in 0..50 {
        let order = Order::Placed(vec![line(1, 2), line(2, 1), line(3, 1)]);
        assert_eq!(event_set::write(&order).unwrap().1, order);
    }
}

/// Fields that serde skips are not stored, so the event that a repository applies lacks them too.
#[test]
fn what_is_read_back_lacks_what_serde_skips() {
    event_sets! { Skips { Skipped { shown: u8, #[serde(skip)] cached: u8 } } }
    let (_, back) = event_set::write(&Skips::Skipped { shown: 1, cached: 2 }).unwrap();
    assert_eq!(back, Skips::Skipped { shown: 1, cached: 0 });
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Upcast {
    Taken(u8),
}
impl Event for Upcast {
    fn upcast(old: StoredEvent) -> Result<StoredEvent, HandlerError> {
        match old.json::<u8>()? {
            7 => Err("seven is not taken".into()),
            8 => Ok(StoredEvent::json_of("Taken", 1, &9)?),
            _ => Ok(old),
        }
    }
}

/// An event is read back as a load reads it: through the set's upcaster, which may change it on purpose.
#[test]
fn an_event_that_the_upcaster_refuses_is_refused_and_what_it_changes_is_taken() {
    check(Upcast::Taken(1), Upcast::Taken(7), "seven is not taken");
    let (new, back) = event_set::write(&Upcast::Taken(8)).unwrap();
    assert_eq!((&*new.payload, back), (&b"8"[..], Upcast::Taken(9)));
}
