//! With `serde_json/arbitrary_precision` serde cannot read a number from a buffer: not in a tagged or untagged enum,
//! nor where anything is flattened. Events with such a number were stored, as long as the first one had none, and could
//! never be read. They are refused; all others are read and written as ever.

#![cfg(feature = "arbitrary_precision")]

use filmstrip::repository::StoredEvent;
use filmstrip::{ErrorKind, Event, NewEvent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Paid {
    Plain { cents: u64, rate: f64, huge: u128, any: serde_json::Value },
    Tagged(Amount),
    Flattened {
        #[serde(flatten)]
        more: BTreeMap<String, u64>,
    },
}
impl Event for Paid {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "in")]
enum Amount {
    Nothing,
    Cents { amount: u64 },
}

fn plain(any: &str) -> Paid {
    let any = serde_json::from_str(any).unwrap();
    Paid::Plain { cents: 1, rate: 0.1, huge: u128::MAX, any }
}

fn flattened(numbers: &[u64]) -> Paid {
    let more = numbers.iter().map(|n| (n.to_string(), *n)).collect();
    Paid::Flattened { more }
}

#[test]
fn a_number_that_cannot_be_read_is_refused_and_all_else_is_kept() {
    for good in [
        plain("[1, -2, 0.5, 1e400, 123456789012345678901234567890, {\"a\": null}]"),
        Paid::Tagged(Amount::Nothing),
        flattened(&[]),
    ] {
        let new = NewEvent::of(&good).unwrap();
        let text = format!("{new:?}");
        assert!(!text.contains("$serde_json::private"), "{text}");
        filmstrip::testing::round_trips(&good);
    }
    for bad in [Paid::Tagged(Amount::Cents { amount: 1 }), flattened(&[1])] {
        match NewEvent::of(&bad) {
            Err(refused) => assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}"),
            // Should serde learn to read it, it is read.
            Ok(_) => filmstrip::testing::round_trips(&bad),
        }
    }
    let stored = StoredEvent::new("Plain", 1, r#"{"cents":1,"rate":0.1,"huge":2,"any":1.50}"#);
    let Paid::Plain { any, .. } = stored.decode().unwrap() else { panic!("another variant") };
    assert_eq!(any.to_string(), "1.50");
}
