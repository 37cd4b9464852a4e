//! Many filters, asked at once which of them want an event.
//!
//! * Each alternative of a filter is found by the kind of name that tells most: by its streams; if it names none, by
//!   one of its tags; if it has none, by its categories; if it names none of these either, by its event types. So an
//!   event is compared with the filters that name something of it, and not with the others, however many they are.
//! * Equal filters are kept once.

use crate::value::filter::Filter;
use crate::value::filter_names::{AlternativeNames, FilterNames, without_types};
use crate::value::stream::category_of;
use std::collections::{BTreeSet, HashMap};

/// The number of a filter in its index; none is given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FilterId(u64);

/// Filters, and who wants an event.
#[derive(Default)]
pub(crate) struct FilterIndex {
    filters: HashMap<FilterId, Entry>,
    ids: HashMap<FilterNames, FilterId>,
    by_stream: ByName,
    by_tag: ByName,
    by_category: ByName,
    by_event_type: ByName,
    /// The filters with an alternative that names nothing, and so wants everything.
    everything: BTreeSet<FilterId>,
    added: u64,
}

/// The filters that are found by a name.
type ByName = HashMap<String, BTreeSet<FilterId>>;

struct Entry {
    filter: Filter,
    names: FilterNames,
    /// How often it was added and not removed.
    users: usize,
    /// It names things of one kind, and no category with types of its own: what is found by one of them is wanted.
    is_simple: bool,
    /// It has several alternatives, and so may be found by several names of one event.
    has_alternatives: bool,
}

impl FilterIndex {
    /// Adds a filter, once more if it is here.
    pub(crate) fn add(&mut self, filter: &Filter) -> FilterId {
        let names = filter.names();
        if let Some(id) = self.ids.get(&names) {
            self.filters.get_mut(id).expect("each id has its filter").users += 1;
            return *id;
        }
        self.added += 1;
        let id = FilterId(self.added);
        for alternative in &names.0 {
            match self.places(alternative) {
                None => {
                    self.everything.insert(id);
                }
                Some((by, keys)) => {
                    for key in keys {
                        by.entry(key.to_owned()).or_default().insert(id);
                    }
                }
            }
        }
        let (is_simple, has_alternatives) = match &names.0[..] {
            [only] => (is_simple(only), false),
            _ => (false, true),
        };
        self.ids.insert(names.clone(), id);
        let filter = filter.clone();
        let entry = Entry { filter, names, users: 1, is_simple, has_alternatives };
        self.filters.insert(id, entry);
        id
    }

    /// Takes back one `add`.
    pub(crate) fn remove(&mut self, id: FilterId) {
        let entry = self.filters.get_mut(&id).expect("it was added");
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let Entry { names, .. } = self.filters.remove(&id).expect("it was just there");
        self.ids.remove(&names);
        self.everything.remove(&id);
        for alternative in &names.0 {
            let Some((by, keys)) = self.places(alternative) else { continue };
            for key in keys {
                // Several alternatives may name the same, and one a category several times.
                let Some(ids) = by.get_mut(key) else { continue };
                ids.remove(&id);
                if ids.is_empty() {
                    by.remove(key);
                }
            }
        }
    }

    /// Where an alternative with these names is found, and under which; `None`: everywhere.
    fn places<'a>(&mut self, names: &'a AlternativeNames) -> Option<(&mut ByName, Vec<&'a str>)> {
        let AlternativeNames { streams, categories, event_types, tags } = names;
        if !streams.is_empty() {
            return Some((&mut self.by_stream, streams.iter().map(String::as_str).collect()));
        }
        if let Some(tag) = tags.first() {
            return Some((&mut self.by_tag, vec![tag]));
        }
        if !categories.is_empty() {
            let categories = categories.iter().map(|name| without_types(name)).collect();
            return Some((&mut self.by_category, categories));
        }
        let event_types: Vec<&str> = event_types.iter().map(String::as_str).collect();
        (!event_types.is_empty()).then_some((&mut self.by_event_type, event_types))
    }

    /// The filters that want an event of this stream and type with these `tags`, each once.
    pub(crate) fn wanting<'a>(
        &'a self,
        stream: &'a str,
        event_type: &'a str,
        tags: impl Iterator<Item = &'a str> + Clone + 'a,
    ) -> impl Iterator<Item = FilterId> + 'a {
        let by_names = [
            Some(&self.everything),
            self.by_stream.get(stream),
            self.by_category.get(category_of(stream)),
            self.by_event_type.get(event_type),
        ];
        // Without a filter of tags, they need not be read.
        let are_asked = !self.by_tag.is_empty();
        let by_tags = tags.clone().take_while(move |_| are_asked);
        let by_tags = by_tags.filter_map(|tag| self.by_tag.get(tag));
        let found = by_names.into_iter().flatten().chain(by_tags.clone()).enumerate();
        found.flat_map(move |(place, ids)| {
            let (tags, by_tags) = (tags.clone(), by_tags.clone());
            let before = move |id: &FilterId| {
                let before = by_names.into_iter().flatten().chain(by_tags.clone()).take(place);
                before.into_iter().any(|ids| ids.contains(id))
            };
            let wants = move |id: &FilterId| {
                self.filters.get(id).is_some_and(|entry| {
                    (entry.is_simple || entry.filter.wants_tagged(stream, event_type, tags.clone()))
                        && !(entry.has_alternatives && before(id))
                })
            };
            ids.iter().copied().filter(wants)
        })
    }

    /// Whether one of the filters wants an event of this stream and type with these `tags`.
    pub(crate) fn wants<'a>(
        &'a self,
        stream: &'a str,
        event_type: &'a str,
        tags: impl Iterator<Item = &'a str> + Clone + 'a,
    ) -> bool {
        self.wanting(stream, event_type, tags).next().is_some()
    }

    /// How many filters there are.
    pub(crate) fn len(&self) -> usize {
        self.filters.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let by = [&self.by_stream, &self.by_tag, &self.by_category, &self.by_event_type];
        self.filters.is_empty()
            && self.ids.is_empty()
            && by.iter().all(|by| by.is_empty())
            && self.everything.is_empty()
    }
}

/// Whether an event that has one of the names by which the alternative is found is wanted.
fn is_simple(names: &AlternativeNames) -> bool {
    let AlternativeNames { streams, categories, event_types, tags } = names;
    let kinds = [streams, categories, event_types, tags];
    kinds.iter().filter(|names| !names.is_empty()).count() <= 1
        && tags.len() <= 1
        && categories.iter().all(|name| without_types(name) == name)
}
