//! What a filter names, in a form that is the same for all filters that name the same things.

use crate::value::stream::category_of;
use std::fmt;

/// The names of a filter's alternatives, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FilterNames(pub(crate) Vec<AlternativeNames>);

/// The names of one alternative, each list sorted and without duplicates. A category with types of its own is followed
/// by a NUL and the type, for each of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct AlternativeNames {
    pub(crate) streams: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) event_types: Vec<String>,
    /// An event must have all of them.
    pub(crate) tags: Vec<String>,
}

/// The category in a name of [`AlternativeNames`], which may have types of its own after it.
pub(crate) fn without_types(name: &str) -> &str {
    name.split_once('\0').map_or(name, |(category, _)| category)
}

impl FilterNames {
    /// Whether what the filter wants depends on the types of events.
    pub(crate) fn tells_types(&self) -> bool {
        self.0.iter().any(|names| {
            let mut categories = names.categories.iter();
            !names.event_types.is_empty() || categories.any(|name| without_types(name) != name)
        })
    }

    /// Whether the filter wants an event of this stream and type with these `tags`.
    pub(crate) fn wants<'a>(
        &self,
        stream: &str,
        event_type: &str,
        tags: impl Iterator<Item = &'a str> + Clone,
    ) -> bool {
        self.0.iter().any(|names| names.wants(stream, event_type, tags.clone()))
    }
}

impl AlternativeNames {
    fn wants<'a>(
        &self,
        stream: &str,
        event_type: &str,
        tags: impl Iterator<Item = &'a str> + Clone,
    ) -> bool {
        let names = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        let of_category = |wanted: &String| match wanted.split_once('\0') {
            None => wanted == category_of(stream),
            Some((category, types)) => {
                category == category_of(stream) && types.split('\0').any(|name| name == event_type)
            }
        };
        (self.streams.is_empty() || names(&self.streams, stream))
            && (self.event_types.is_empty() || names(&self.event_types, event_type))
            && (self.categories.is_empty() || self.categories.iter().any(of_category))
            && self.tags.iter().all(|wanted| tags.clone().any(|tag| tag == wanted))
    }
}

impl fmt::Display for FilterNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, names) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("; or ")?;
            }
            names.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for AlternativeNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AlternativeNames { streams, categories, event_types, tags } = self;
        let categories: Vec<_> = categories.iter().map(|name| name.replace('\0', ":")).collect();
        write!(f, "streams {streams:?}, categories {categories:?}, event types {event_types:?}")?;
        match tags.is_empty() {
            true => Ok(()),
            false => write!(f, ", tags {tags:?}"),
        }
    }
}
