//! Checks that a value is the same after it was written as JSON and read back.
//!
//! Neither `PartialEq` nor the JSON can show this: a type need not implement `PartialEq`, and the JSON is the same
//! for `None` and `Some(None)`, or for two variants of an untagged enum. So both values are compared by the calls
//! that they make to a serializer (`trace`).
//!
//! Differences that a serializer does not see cannot be found: fields with `#[serde(skip)]`, rounding by a type's own
//! `Serialize`, and the variant of an untagged enum. `watch` notices where serde may have chosen among variants.

mod difference;
mod trace;
mod watch;

pub(super) use watch::read_watched;

use serde::Serialize;

/// How `read_back` differs from `written`, if it does. The text contains no values.
pub(super) fn difference<T: Serialize + ?Sized>(written: &T, read_back: &T) -> Option<String> {
    let (Ok(written), Ok(read_back)) = (trace::of(written), trace::of(read_back)) else {
        return Some("it cannot be serialized again".to_owned());
    };
    if written == read_back {
        return None;
    }
    difference::between(&written, &read_back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use std::collections::{BTreeMap, HashMap, HashSet};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Width {
        Narrow(u32),
        Wide(u64),
        Text(String),
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Unit,
        One(u8),
        Two(u8, Option<bool>),
        Named { a: char, b: Vec<f32> },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct State {
        twice: Option<Option<u8>>,
        unit: Option<()>,
        width: Vec<Width>,
        kinds: BTreeMap<String, Kind>,
        any: Option<serde_json::Value>,
    }

    fn state() -> State {
        let kinds = [Kind::Unit, Kind::One(1), Kind::Two(2, None)];
        let kinds = kinds.into_iter().enumerate().map(|(n, kind)| (n.to_string(), kind));
        let named = Kind::Named { a: 'ß', b: vec![0.1, -0.0] };
        State {
            twice: Some(Some(1)),
            unit: None,
            width: vec![Width::Narrow(7), Width::Text("x".into())],
            kinds: kinds.chain([("n".to_owned(), named)]).collect(),
            any: Some(serde_json::json!({"a": [1, -2, 0.5, "x", null, true]})),
        }
    }

    fn there_and_back<T: Serialize + DeserializeOwned>(value: &T) -> Option<String> {
        let json = serde_json::to_vec(value).unwrap();
        difference(value, &serde_json::from_slice(&json).unwrap())
    }

    #[test]
    fn what_comes_back_is_the_same_whatever_it_is_made_of() {
        assert_eq!(there_and_back(&state()), None);
        assert_eq!(there_and_back(&(u128::MAX, i128::MIN, f64::MAX, u64::MAX, i64::MIN)), None);
        assert_eq!(there_and_back(&uuid::Uuid::from_u128(7)), None);
    }

    #[test]
    fn what_has_no_order_may_come_back_in_another() {
        let lines = |n: u32| HashMap::from([("sku".to_owned(), n), ("n".to_owned(), n + 1)]);
        let maps: Vec<_> = (0..50).map(lines).collect();
        let set: HashSet<u32> = (0..100).collect();
        let map: HashMap<String, HashSet<u32>> =
            (0..50).map(|n| (n.to_string(), set.clone())).collect();
        for _ in 0..10 {
            assert_eq!(there_and_back(&(maps.clone(), set.clone(), map.clone())), None);
        }
    }

    #[test]
    fn what_comes_back_as_something_else_is_named_by_place_and_kind() {
        let changed = |change: &dyn Fn(&mut State)| {
            let mut state = state();
            change(&mut state);
            there_and_back(&state).expect("it is not the same")
        };
        assert_eq!(
            changed(&|state| state.twice = Some(None)),
            "`twice` is written as an option in an option and reads back as none"
        );
        assert_eq!(
            changed(&|state| state.unit = Some(())),
            "`unit` is written as an option with a unit in it and reads back as none"
        );
        assert_eq!(
            changed(&|state| state.width[0] = Width::Wide(7)),
            "`width[]` is written as a u64 and reads back as a u32"
        );
        let null = changed(&|state| state.any = Some(serde_json::Value::Null));
        assert!(null.starts_with("`any` is written as an option"), "{null}");
    }

    #[test]
    fn values_that_differ_do_so_in_every_form() {
        let secrets = |text: &str| BTreeMap::from([("key".to_owned(), text.to_owned())]);
        let difference = difference(&secrets("secret"), &secrets("other")).unwrap();
        assert_eq!(difference, "`{}` is written as a string and reads back as another string");
        assert!(super::difference(&0.0, &-0.0).is_some());
        assert!(super::difference(&[1, 2][..], &[1][..]).is_some());
        assert!(super::difference(&[1, 2], &[2, 1]).is_some(), "an array has an order");
        assert!(super::difference(&Kind::Unit, &Kind::One(0)).is_some());
        assert!(super::difference(&Kind::Two(1, None), &Kind::Two(1, Some(true))).is_some());
    }
}
