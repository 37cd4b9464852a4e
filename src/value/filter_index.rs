//! Many filters, asked at once which of them want an event.
//!
//! * Each is found by the kind of name that tells most: by its streams; if it names none, by its categories; if it
//!   names none of these either, by its event types. So an event is compared with the filters that name something of
//!   it, and not with the others, however many they are.
//! * Equal filters are kept once.

use crate::value::filter::Filter;
use crate::value::stream::category_of;
use std::collections::{BTreeSet, HashMap};

/// The number of a filter in its index; none is given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FilterId(u64);

/// Filters, and who wants an event.
#[derive(Default)]
pub(crate) struct FilterIndex {
    filters: HashMap<FilterId, Entry>,
    ids: HashMap<Names, FilterId>,
    by_stream: ByName,
    by_category: ByName,
    by_event_type: ByName,
    /// The filter that names nothing, and so wants everything.
    everything: Option<FilterId>,
    added: u64,
}

/// The filters that are found by a name.
type ByName = HashMap<String, BTreeSet<FilterId>>;

/// Streams, categories and event types.
type Names = [Vec<String>; 3];

struct Entry {
    filter: Filter,
    names: Names,
    /// How often it was added and not removed.
    users: usize,
    /// It names things of one kind, and no category with types of its own: what is found by one of them is wanted.
    is_simple: bool,
}

/// The category in a name of [`Filter::names`], which may have types of its own after it.
fn without_types(name: &str) -> &str {
    name.split_once('\0').map_or(name, |(category, _)| category)
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
        match self.places(&names) {
            None => self.everything = Some(id),
            Some((by, keys)) => {
                for key in keys {
                    by.entry(key.to_owned()).or_default().insert(id);
                }
            }
        }
        let has_types = names[1].iter().any(|name| without_types(name) != name);
        let kinds = names.iter().filter(|names| !names.is_empty()).count();
        let is_simple = kinds <= 1 && !has_types;
        self.ids.insert(names.clone(), id);
        self.filters.insert(id, Entry { filter: filter.clone(), names, users: 1, is_simple });
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
        match self.places(&names) {
            None => self.everything = None,
            Some((by, keys)) => {
                for key in keys {
                    // A category may be named several times, with types of its own.
                    let Some(ids) = by.get_mut(key) else { continue };
                    ids.remove(&id);
                    if ids.is_empty() {
                        by.remove(key);
                    }
                }
            }
        }
    }

    /// Where a filter with these names is found, and under which; `None`: everywhere.
    fn places<'a>(&mut self, names: &'a Names) -> Option<(&mut ByName, Vec<&'a str>)> {
        let (by, names) = match names {
            [streams, _, _] if !streams.is_empty() => (&mut self.by_stream, streams),
            [_, categories, _] if !categories.is_empty() => {
                let categories = categories.iter().map(|name| without_types(name)).collect();
                return Some((&mut self.by_category, categories));
            }
            [_, _, types] if !types.is_empty() => (&mut self.by_event_type, types),
            _ => return None,
        };
        Some((by, names.iter().map(String::as_str).collect()))
    }

    /// How many filters there are.
    pub(crate) fn len(&self) -> usize {
        self.filters.len()
    }

    /// The filters that want an event of this stream and type, each once.
    pub(crate) fn wanting<'a>(
        &'a self,
        stream: &'a str,
        event_type: &'a str,
    ) -> impl Iterator<Item = FilterId> + 'a {
        let found = [
            self.by_stream.get(stream),
            self.by_category.get(category_of(stream)),
            self.by_event_type.get(event_type),
        ];
        let wants = move |id: &FilterId| {
            self.filters
                .get(id)
                .is_some_and(|entry| entry.is_simple || entry.filter.wants(stream, event_type))
        };
        let found = found.into_iter().flatten().flatten().copied().filter(wants);
        self.everything.into_iter().chain(found)
    }

    /// Whether one of the filters wants an event of this stream and type.
    pub(crate) fn wants(&self, stream: &str, event_type: &str) -> bool {
        self.wanting(stream, event_type).next().is_some()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let by = [&self.by_stream, &self.by_category, &self.by_event_type];
        self.filters.is_empty()
            && self.ids.is_empty()
            && by.iter().all(|by| by.is_empty())
            && self.everything.is_none()
    }
}
