//! Which events a reader wants.

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::filter_names::{AlternativeNames, FilterNames};
use crate::value::limits::{EVENT_TAGS_MAX, FILTER_ALTERNATIVES_MAX};
use crate::value::stream::{StreamId, category_of, is_category};
use crate::value::tag::check_tag;
use std::collections::BTreeSet;
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Selects events for a read, a subscription, a projection or a [condition](crate::Commit::unless).
///
/// A filter is one alternative, or several that [`or`](Filter::or) joins: an event is accepted if one of them accepts
/// it. In an alternative, conditions of one kind are alternatives again (OR), but for tags, of which an event must have
/// all; different kinds must all hold (AND). There are four kinds: streams, categories, event types and tags.
///
/// A kind of aggregate is a category that has event types of its own. They hold for that category only, beside the
/// event types of the whole alternative:
///
/// | filter | accepts |
/// | --- | --- |
/// | `aggregate::<Order>()` | the types of `OrderEvent`, in `Order` |
/// | `aggregate::<Order>().and_aggregate::<Stock>()` | these, and the types of `StockEvent`, in `Stock` |
/// | `aggregate::<Order>().and_category("Stock")` | these, and everything in `Stock` |
/// | `aggregate::<Order>().and_event_type("Placed")` | only `Placed`, in `Order` |
/// | `aggregate::<Order>().and_event_type("Paid")` | nothing, if `OrderEvent` has no `Paid`: an error |
/// | `category("Order").and_event_type("Paid")` | only `Paid`, in `Order` |
/// | `of::<OrderEvent>().and_event_type("Paid")` | the types of `OrderEvent`, and `Paid`, in any stream |
/// | `stream(id).and_category("Order")` | that stream, if it is in `Order`; otherwise nothing |
/// | `tag("course:c1").and_event_type("Opened")` | only `Opened`, with that tag |
/// | `tag("course:c1").tagged("student:s7")` | what has both tags |
/// | `tag("course:c1").or(Filter::tag("student:s7"))` | what has one of them, or both |
///
/// ```
/// use filmstrip::Filter;
/// // Events of customers or orders that are of the type "Registered".
/// let filter = Filter::category("Customer").and_category("Order").and_event_type("Registered");
/// assert!(filter.wants("Customer-1", "Registered"));
/// assert!(!filter.wants("Customer-1", "Renamed"));
/// assert!(!filter.wants("Invoice-1", "Registered"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Filter {
    first: Alternative,
    /// The alternatives to it.
    others: Vec<Alternative>,
    /// Why it cannot be used.
    fault: Option<Fault>,
    spread: Spread,
}

/// What must all hold for an event to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Alternative {
    streams: Vec<StreamId>,
    categories: Vec<CategoryFilter>,
    event_types: Vec<String>,
    /// Sorted, each once. An event must have all of them.
    tags: Vec<String>,
}

/// The events of one category.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CategoryFilter {
    category: String,
    /// The accepted event types; `None`: all.
    event_types: Option<Vec<String>>,
}

impl CategoryFilter {
    fn wants(&self, category: &str, event_type: &str) -> bool {
        self.category == category
            && self.event_types.as_deref().is_none_or(|types| one_of(types, event_type))
    }

    /// Its name, and after a NUL each its event types, sorted and without duplicates. No category holds a NUL.
    fn name(&self) -> String {
        let types = self.event_types.iter().flatten().collect::<BTreeSet<_>>().into_iter();
        types.fold(self.category.clone(), |name, event_type| format!("{name}\0{event_type}"))
    }
}

/// Why nothing can be read with a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    kind: ErrorKind,
    message: String,
}

/// Notices that events of one set come from several categories.
#[derive(Debug, Clone, Default)]
struct Spread {
    /// The event set that the filter was made from without a category.
    set: Option<&'static str>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The category of the first event that was accepted.
    category: OnceLock<String>,
    warned: AtomicBool,
}

/// It is no part of what a filter accepts.
impl PartialEq for Spread {
    fn eq(&self, _: &Spread) -> bool {
        true
    }
}

impl Eq for Spread {}

impl Filter {
    /// Accepts every event.
    pub fn all() -> Filter {
        Filter::default()
    }

    /// Accepts the events of one stream.
    pub fn stream(stream: StreamId) -> Filter {
        Filter::all().and_stream(stream)
    }

    /// Accepts the events of all streams of a category: the part of a stream's name before the first `-`. If the name
    /// is not a category, such as `Door-1`, reading with the filter returns
    /// [`InvalidInput`](ErrorKind::InvalidInput).
    pub fn category(category: impl Into<String>) -> Filter {
        Filter::all().and_category(category)
    }

    /// Accepts the events of one type, in any stream.
    pub fn event_type(event_type: impl Into<String>) -> Filter {
        Filter::all().and_event_type(event_type)
    }

    /// Accepts the events that have a [tag](crate::NewEvent::tag), in any stream. If it cannot be a tag, reading with
    /// the filter returns [`InvalidInput`](ErrorKind::InvalidInput) or [`TooLarge`](ErrorKind::TooLarge).
    pub fn tag(tag: impl Into<String>) -> Filter {
        Filter::all().tagged(tag)
    }

    /// Accepts only events that have this tag, too. An event must have all tags of an alternative.
    pub fn tagged(self, tag: impl Into<String>) -> Filter {
        let tag = tag.into();
        if let Err(refused) = check_tag(&tag)
            && !failpoint!("value::accept_any_tag")
        {
            return self.unusable(refused.kind(), refused.to_string());
        }
        self.narrowed(|alternative| {
            if let Err(place) = alternative.tags.binary_search(&tag) {
                alternative.tags.insert(place, tag);
            }
        })
    }

    /// Accepts what `other` accepts, too. What is added to a filter narrows one alternative: complete each before they
    /// are joined. A filter that is narrowed afterwards is refused with
    /// [`InvalidInput`](ErrorKind::InvalidInput), since it could be meant for one of them or for all.
    ///
    /// ```
    /// use filmstrip::Filter;
    /// let course = Filter::tag("course:c1").and_event_type("CourseDefined");
    /// let both = Filter::tag("course:c1").tagged("student:s7");
    /// let filter = course.or(both);
    /// ```
    pub fn or(mut self, other: Filter) -> Filter {
        let Filter { first, others, fault, spread } = other;
        let new: Vec<_> = iter::once(first).chain(others).collect();
        for alternative in new {
            if alternative != self.first && !self.others.contains(&alternative) {
                self.others.push(alternative);
            }
        }
        self.fault = self.fault.or(fault);
        self.spread.set = self.spread.set.or(spread.set);
        let met = 1 + self.others.len();
        if met > FILTER_ALTERNATIVES_MAX {
            self.others.truncate(FILTER_ALTERNATIVES_MAX);
            let message = format!(
                "a filter has {met} alternatives or more; at most {FILTER_ALTERNATIVES_MAX} are allowed"
            );
            return self.unusable(ErrorKind::TooLarge, message);
        }
        self
    }

    /// Narrows its only alternative.
    fn narrowed(mut self, narrow: impl FnOnce(&mut Alternative)) -> Filter {
        if !self.others.is_empty() {
            let message = format!(
                "a filter of {} alternatives was narrowed after they were joined by `or`; narrow each of them before",
                1 + self.others.len()
            );
            return self.unusable(ErrorKind::InvalidInput, message);
        }
        narrow(&mut self.first);
        self
    }

    /// Adds a stream to those that are accepted. The first one leaves out all other streams; those in none of the
    /// filter's categories stay out, if it has any.
    pub fn and_stream(self, stream: StreamId) -> Filter {
        self.narrowed(|alternative| alternative.streams.push(stream))
    }

    /// Adds a category to those that are accepted, as an alternative to the categories and aggregates before. All of
    /// its event types are accepted, unless the filter names event types. The first category leaves out all others.
    pub fn and_category(self, category: impl Into<String>) -> Filter {
        self.with_category(category.into(), None)
    }

    /// Adds an event type to those that are accepted, whatever the stream. The first one leaves out all other types.
    ///
    /// It adds no type to those of an [aggregate](Filter::aggregate): of these, it leaves only those that are named
    /// here, too. If none is left in any category, reading with the filter returns
    /// [`InvalidInput`](ErrorKind::InvalidInput).
    pub fn and_event_type(self, event_type: impl Into<String>) -> Filter {
        self.narrowed(|alternative| alternative.event_types.push(event_type.into()))
    }

    /// Adds the events of a category; with `event_types` only those of these types.
    pub(crate) fn with_category(
        self,
        category: String,
        event_types: Option<Vec<String>>,
    ) -> Filter {
        if !is_category(&category) && !failpoint!("value::accept_any_category") {
            let message = format!(
                "{category:?} is not a category: a category is the part of a stream's name before the first '-', \
                 not empty, without control characters, and does not begin with '$'"
            );
            return self.unusable(ErrorKind::InvalidInput, message);
        }
        let wanted = CategoryFilter { category, event_types };
        self.narrowed(|alternative| alternative.categories.push(wanted))
    }

    /// Adds the events of these types, of the event set `set`, in streams of any category.
    pub(crate) fn with_set(mut self, set: &'static str, event_types: Vec<String>) -> Filter {
        self.spread.set.get_or_insert(set);
        self.narrowed(|alternative| alternative.event_types.extend(event_types))
    }

    /// Accepts only events of these types in each alternative that names no event types itself.
    pub(crate) fn with_default_types(mut self, event_types: &[String]) -> Filter {
        for alternative in iter::once(&mut self.first).chain(&mut self.others) {
            if alternative.event_types.is_empty() {
                alternative.event_types = event_types.to_vec();
            }
        }
        self
    }

    /// Makes the filter unusable: reading with it returns this error.
    pub(crate) fn unusable(mut self, kind: ErrorKind, message: String) -> Filter {
        self.fault.get_or_insert(Fault { kind, message });
        self
    }

    /// Refuses an unusable filter, and one with an alternative of aggregates that have none of its event types.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(Fault { kind, message }) = &self.fault {
            return Err(Error::new(*kind, message));
        }
        self.alternatives().try_for_each(Alternative::check)
    }

    /// Its alternatives: at least one.
    pub(crate) fn alternatives(&self) -> impl Iterator<Item = &Alternative> + Clone {
        iter::once(&self.first).chain(&self.others)
    }

    /// Whether an event of this stream and type passes that has no tags.
    #[must_use]
    pub fn wants(&self, stream: &str, event_type: &str) -> bool {
        self.wants_tagged(stream, event_type, iter::empty())
    }

    /// Whether an event of this stream and type with these `tags` passes.
    #[inline]
    pub(crate) fn wants_tagged<'a>(
        &self,
        stream: &str,
        event_type: &str,
        tags: impl Iterator<Item = &'a str> + Clone,
    ) -> bool {
        self.first.wants(stream, event_type, tags.clone())
            || self.others.iter().any(|other| other.wants(stream, event_type, tags.clone()))
    }

    /// Warns, once, if this event and an earlier one that it accepted are of different categories, although it was
    /// made from one event set. To be called with each accepted event.
    #[inline]
    pub(crate) fn note_accepted(&self, stream: &str) {
        if let Some(set) = self.spread.set
            && self.first.categories.is_empty()
            && self.first.tags.is_empty()
            && self.others.is_empty()
        {
            self.spread.seen.note(set, category_of(stream));
        }
    }

    /// Whether some event of this stream may pass.
    pub(crate) fn wants_stream(&self, stream: &str) -> bool {
        self.alternatives().any(|alternative| alternative.wants_stream(stream))
    }

    /// What it names, so that filters which name the same things are equal.
    pub(crate) fn names(&self) -> FilterNames {
        let mut names: Vec<_> = self.alternatives().map(Alternative::names).collect();
        names.sort_unstable();
        names.dedup();
        FilterNames(names)
    }

    /// Bytes of all names in it.
    pub(crate) fn bytes(&self) -> usize {
        self.alternatives().map(Alternative::bytes).sum()
    }

    /// Whether every event passes.
    pub(crate) fn wants_all(&self) -> bool {
        self.alternatives().any(Alternative::wants_all)
    }
}

impl Alternative {
    fn check(&self) -> Result<()> {
        let met = self.tags.len();
        if met > EVENT_TAGS_MAX {
            let message = format!(
                "the filter accepts nothing: it asks for {met} tags, and an event has at most {EVENT_TAGS_MAX}"
            );
            return Err(Error::invalid(message));
        }
        let types = &self.event_types;
        let lacks_all = |wanted: &CategoryFilter| {
            let own = wanted.event_types.as_deref();
            own.is_some_and(|own| !types.iter().any(|event_type| one_of(own, event_type)))
        };
        if !types.is_empty() && !self.categories.is_empty() && self.categories.iter().all(lacks_all)
        {
            let categories: Vec<&str> =
                self.categories.iter().map(|c| c.category.as_str()).collect();
            let message = format!(
                "the filter accepts nothing: the event types {types:?} are not among those of the aggregates \
                 {categories:?}; an event type narrows an aggregate, and adds nothing to it"
            );
            return Err(Error::invalid(message));
        }
        Ok(())
    }

    /// Whether it accepts an event of this stream and type with these `tags`.
    #[inline]
    pub(crate) fn wants<'a>(
        &self,
        stream: &str,
        event_type: &str,
        tags: impl Iterator<Item = &'a str> + Clone,
    ) -> bool {
        (self.streams.is_empty() || self.streams.iter().any(|wanted| wanted == stream))
            && (self.event_types.is_empty() || one_of(&self.event_types, event_type))
            && (self.categories.is_empty()
                || self
                    .categories
                    .iter()
                    .any(|wanted| wanted.wants(category_of(stream), event_type)))
            && (self.tags.is_empty() || has_all(tags, &self.tags))
    }

    fn wants_stream(&self, stream: &str) -> bool {
        (self.streams.is_empty() || self.streams.iter().any(|wanted| wanted == stream))
            && (self.categories.is_empty()
                || self.categories.iter().any(|wanted| wanted.category == category_of(stream)))
    }

    /// The streams that it names.
    pub(crate) fn streams(&self) -> &[StreamId] {
        &self.streams
    }

    /// The categories that it names, some of them perhaps several times.
    pub(crate) fn categories(&self) -> impl Iterator<Item = &str> {
        self.categories.iter().map(|wanted| wanted.category.as_str())
    }

    /// The event types that it names, beside those of its categories.
    pub(crate) fn event_types(&self) -> &[String] {
        &self.event_types
    }

    /// All event types of which it may accept an event; `None` if it may be any.
    pub(crate) fn all_event_types(&self) -> Option<Vec<&str>> {
        if !self.event_types.is_empty() {
            return Some(self.event_types.iter().map(String::as_str).collect());
        }
        let of_categories = self.categories.iter().map(|wanted| wanted.event_types.as_deref());
        let types: Vec<_> = of_categories.collect::<Option<_>>()?;
        let types: Vec<_> = types.into_iter().flatten().map(String::as_str).collect();
        (!self.categories.is_empty()).then_some(types)
    }

    /// The tags that an event must have, sorted, each once.
    pub(crate) fn tags(&self) -> &[String] {
        &self.tags
    }

    pub(crate) fn wants_all(&self) -> bool {
        self.streams.is_empty()
            && self.categories.is_empty()
            && self.event_types.is_empty()
            && self.tags.is_empty()
    }

    /// Whether it selects by category alone, and accepts every event of one.
    pub(crate) fn is_of_whole_categories(&self) -> bool {
        self.streams.is_empty()
            && self.event_types.is_empty()
            && self.tags.is_empty()
            && self.categories.iter().any(|wanted| wanted.event_types.is_none())
    }

    fn bytes(&self) -> usize {
        let of = |names: &[String]| {
            names.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>()
        };
        let streams = self.streams.iter().map(|name| size_of::<StreamId>() + name.as_str().len());
        let categories = self.categories.iter().map(|wanted| {
            let types = wanted.event_types.as_deref().map_or(0, of);
            size_of::<CategoryFilter>() + wanted.category.len() + types
        });
        size_of::<Alternative>()
            + of(&self.event_types)
            + of(&self.tags)
            + streams.sum::<usize>()
            + categories.sum::<usize>()
    }

    fn names(&self) -> AlternativeNames {
        let sorted = |names: &mut dyn Iterator<Item = String>| {
            names.collect::<BTreeSet<_>>().into_iter().collect()
        };
        AlternativeNames {
            streams: sorted(&mut self.streams.iter().map(ToString::to_string)),
            categories: sorted(&mut self.categories.iter().map(CategoryFilter::name)),
            event_types: sorted(&mut self.event_types.iter().cloned()),
            tags: self.tags.clone(),
        }
    }
}

impl Seen {
    fn note(&self, set: &str, category: &str) {
        let first = self.category.get_or_init(|| category.to_owned());
        if first != category && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                event_set = set,
                first,
                category,
                "Filter::of accepts events of the same names in two categories; Filter::aggregate accepts one category"
            );
        }
    }
}

fn one_of(wanted: &[String], met: &str) -> bool {
    wanted.iter().any(|wanted| wanted == met)
}

/// Whether all of `wanted` are among `tags`.
fn has_all<'a>(tags: impl Iterator<Item = &'a str> + Clone, wanted: &[String]) -> bool {
    let has = |wanted: &String| tags.clone().any(|tag| tag == wanted);
    match failpoint!("value::accept_one_of_the_tags") {
        true => wanted.iter().any(has),
        false => wanted.iter().all(has),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// A filter of event types alone also accepted the `Cancelled` of another category.
    #[test]
    fn a_category_with_types_of_its_own_is_an_alternative_to_other_categories() {
        let orders = Filter::all().with_category("Order".into(), types(&["Placed", "Cancelled"]));
        let filter = orders.clone().and_category("Payment");
        assert!(filter.wants("Order-1", "Cancelled") && filter.wants("Payment-1", "Paid"));
        assert!(!filter.wants("Order-1", "Paid") && !filter.wants("Shipment-1", "Cancelled"));
        assert!(filter.wants_stream("Order-1") && !filter.wants_stream("Shipment-1"));
        let placed = filter.and_event_type("Placed");
        assert!(placed.wants("Order-1", "Placed") && !placed.wants("Order-1", "Cancelled"));
        assert!(placed.wants("Payment-1", "Placed") && !placed.wants("Payment-1", "Paid"));
        let same = Filter::all()
            .with_category("Order".into(), types(&["Cancelled", "Placed", "Cancelled"]));
        assert_eq!(orders.names(), same.names());
        assert_eq!(orders.names().0[0].categories, ["Order\0Cancelled\0Placed"]);
        assert_ne!(orders.names(), Filter::category("Order").names());
    }

    /// A process was to follow the payments, too, and followed nothing, silently.
    #[test]
    fn event_types_that_no_aggregate_has_are_refused() {
        let orders = Filter::all().with_category("Order".into(), types(&["Placed", "Cancelled"]));
        assert!(orders.clone().and_event_type("Paid").and_event_type("Placed").check().is_ok());
        let nothing = orders.and_event_type("Paid");
        let error = nothing.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("[\"Paid\"] are not among those of"), "{error}");
        assert!(nothing.and_category("Payment").check().is_ok());
        assert!(Filter::category("Order").and_event_type("Paid").check().is_ok());
    }

    /// With a stream's name in place of a category, a filter accepted nothing, and said nothing.
    #[test]
    fn what_is_no_category_is_refused() {
        for wrong in ["Door-1", "", "$Door", "Do\0or"] {
            let error = Filter::category(wrong).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("{wrong:?} is not a category")), "{error}");
        }
        assert!(Filter::category("Door").and_category("Lamp").check().is_ok());
    }

    #[test]
    fn an_event_must_have_all_tags_of_one_alternative() {
        let wants = |filter: &Filter, event_type, tags: &[&str]| {
            filter.wants_tagged("A-1", event_type, tags.iter().copied())
        };
        let both = Filter::tag("y").tagged("x").tagged("y");
        assert!(wants(&both, "T", &["x", "y"]) && wants(&both, "T", &["a", "x", "y", "z"]));
        assert!(!wants(&both, "T", &["x"]) && !wants(&both, "T", &[]) && !both.wants("A-1", "T"));
        // As in the specification of dynamic consistency boundaries: the second alternative accepts it.
        let filter = Filter::tag("x").and_event_type("A").or(Filter::tag("y"));
        assert!(wants(&filter, "A", &["y"]) && wants(&filter, "A", &["x"]));
        assert!(!wants(&filter, "B", &["x"]));
        assert_eq!(
            filter.names(),
            Filter::tag("y").or(Filter::event_type("A").tagged("x")).names()
        );
        let all = filter.or(Filter::all());
        assert!(all.wants_all() && all.wants("A-1", "T"));
        assert_eq!(Filter::tag("x").or(Filter::tag("x")), Filter::tag("x"));
    }

    #[test]
    fn what_is_no_tag_and_what_is_narrowed_too_late_are_refused() {
        let refused = |filter: Filter| filter.check().unwrap_err();
        assert_eq!(refused(Filter::tag("")).kind(), ErrorKind::InvalidInput);
        assert_eq!(refused(Filter::tag("a\0b")).kind(), ErrorKind::InvalidInput);
        let long = refused(Filter::tag("x".repeat(257)));
        assert_eq!(long.kind(), ErrorKind::TooLarge);
        assert!(long.to_string().contains("257 bytes; at most 256"), "{long}");
        let late = refused(Filter::tag("a").or(Filter::tag("b")).and_event_type("T"));
        assert!(late.to_string().contains("a filter of 2 alternatives was narrowed"), "{late}");
        let many = (0..65).fold(Filter::all(), |filter, n| filter.tagged(format!("t{n}")));
        assert!(refused(many).to_string().contains("it asks for 65 tags"));
        let joined = |count: usize| {
            (1..count).fold(Filter::tag("0"), |filter, n| filter.or(Filter::tag(n.to_string())))
        };
        assert!(joined(FILTER_ALTERNATIVES_MAX).check().is_ok());
        let error = refused(joined(FILTER_ALTERNATIVES_MAX + 1));
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("257 alternatives or more; at most 256"), "{error}");
    }

    #[test]
    fn events_of_one_set_in_two_categories_are_noticed() {
        let filter = Filter::all().with_set("OrderEvent", vec!["Cancelled".into()]);
        let is_warned = |filter: &Filter| filter.spread.seen.warned.load(Ordering::Relaxed);
        filter.note_accepted("Order-1");
        filter.note_accepted("Order-2");
        assert!(!is_warned(&filter));
        filter.note_accepted("Shipment-1");
        assert!(is_warned(&filter));
        let bounded = Filter::category("Order").with_set("OrderEvent", vec!["Cancelled".into()]);
        bounded.note_accepted("Order-1");
        assert!(bounded.spread.seen.category.get().is_none());
    }
}
