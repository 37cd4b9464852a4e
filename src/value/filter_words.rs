//! A filter in words, for messages; and as JSON, to recognise it.

use crate::value::filter::{Alternative, Filter};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names of one kind that are said; of more only how many there are.
const NAMES_SAID: usize = 4;
/// Alternatives that are said.
const ALTERNATIVES_SAID: usize = 3;

/// What a filter accepts: `an event with the tag "course:c1"`.
pub(crate) struct InWords<'a>(pub(crate) &'a Filter);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alternatives = self.0.alternatives().count();
        for (n, alternative) in self.0.alternatives().take(ALTERNATIVES_SAID).enumerate() {
            if n > 0 {
                f.write_str(", or ")?;
            }
            say(alternative, f)?;
        }
        match alternatives.saturating_sub(ALTERNATIVES_SAID) {
            0 => Ok(()),
            1 => f.write_str(", or one that 1 further alternative accepts"),
            more => write!(f, ", or one that one of {more} further alternatives accepts"),
        }
    }
}

/// The filter as JSON that is the same whenever its alternatives accept the same names, in whatever order they came.
pub(crate) fn as_json(filter: &Filter) -> String {
    let alternatives: BTreeSet<String> = filter.alternatives().map(alternative_as_json).collect();
    format!("[{}]", Vec::from_iter(alternatives).join(","))
}

fn alternative_as_json(alternative: &Alternative) -> String {
    let streams = alternative.streams().iter().map(|stream| stream.as_str());
    let types = alternative.event_types().iter().map(String::as_str);
    let names = [
        ("categories", alternative.categories().collect::<BTreeSet<_>>()),
        ("streams", streams.collect()),
        ("tags", alternative.tags().iter().map(String::as_str).collect()),
        ("types", types.collect()),
    ];
    let names = names.into_iter().filter(|(_, names)| !names.is_empty());
    serde_json::to_string(&BTreeMap::from_iter(names)).expect("names are strings")
}

fn say(alternative: &Alternative, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("an event")?;
    let mut categories: Vec<&str> = alternative.categories().collect();
    categories.dedup();
    let types = alternative.event_types().iter().map(String::as_str);
    say_names(f, "of the type", "or", &types.collect::<Vec<_>>())?;
    let streams = alternative.streams().iter().map(|stream| stream.as_str());
    say_names(f, "in the stream", "or", &streams.collect::<Vec<_>>())?;
    say_names(f, "in the category", "or", &categories)?;
    let tags = alternative.tags().iter().map(String::as_str);
    say_names(f, "with the tag", "and", &tags.collect::<Vec<_>>())
}

/// Says `names`, joined by `last`: `of the type "A" or "B"`.
fn say_names(f: &mut fmt::Formatter<'_>, before: &str, last: &str, names: &[&str]) -> fmt::Result {
    let Some((first, others)) = names.split_first() else { return Ok(()) };
    write!(f, " {before} {first:?}")?;
    let said = others.len().min(NAMES_SAID - 1);
    for name in others.iter().take(said) {
        write!(f, " {last} {name:?}")?;
    }
    match others.len() - said {
        0 => Ok(()),
        more => write!(f, " {last} {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::stream::StreamId;

    /// A relay refuses a target that was filled through another filter, and recognises the filter by this.
    #[test]
    fn a_filter_has_one_form_as_json_in_whatever_order_it_was_made() {
        let one = Filter::category("A").and_event_type("Y").and_event_type("X");
        let same = Filter::event_type("X").and_event_type("Y").and_category("A");
        assert_eq!(as_json(&one), r#"[{"categories":["A"],"types":["X","Y"]}]"#);
        assert_eq!(as_json(&one), as_json(&same));
        let both = one.clone().or(Filter::tag("b").tagged("a"));
        assert_eq!(as_json(&both), as_json(&Filter::tag("a").tagged("b").or(one.clone())));
        assert_ne!(as_json(&both), as_json(&one));
    }

    #[test]
    fn a_filter_is_said_in_a_few_words_however_much_it_names() {
        let said = |filter: &Filter| InWords(filter).to_string();
        assert_eq!(said(&Filter::all()), "an event");
        let course = Filter::tag("course:c1").and_event_type("Defined").and_event_type("Closed");
        assert_eq!(
            said(&course),
            r#"an event of the type "Defined" or "Closed" with the tag "course:c1""#
        );
        let both = course.or(Filter::tag("b").tagged("a"));
        assert!(
            said(&both).ends_with(r#", or an event with the tag "a" and "b""#),
            "{}",
            said(&both)
        );
        let stream = Filter::stream(StreamId::new("A-1").unwrap()).and_category("A");
        assert_eq!(said(&stream), r#"an event in the stream "A-1" in the category "A""#);
        let many = (0..100).fold(Filter::all(), |filter, n| filter.and_event_type(format!("T{n}")));
        assert_eq!(said(&many), r#"an event of the type "T0" or "T1" or "T2" or "T3" or 96 more"#);
        let items = (1..100).fold(Filter::tag("0"), |f, n| f.or(Filter::tag(n.to_string())));
        let end = ", or one that one of 97 further alternatives accepts";
        assert!(said(&items).ends_with(end), "{}", said(&items));
    }
}
