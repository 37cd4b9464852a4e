//! Listing the streams of a followed store.

use crate::codec::state::StreamState;
use crate::follow::follower::indexed::{Indexed, with_index};
use crate::follow::follower::watch::Shared;
use crate::log::read::stream_info::StreamInfo;
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::limits::{FOLLOWER_NAMES_MAX, STREAMS_PAGE};
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A listing of streams through a [`Follower`](crate::Follower); see [`Follower::streams`](crate::Follower::streams).
#[must_use = "a listing begins with `iter` or `collect`"]
pub struct FollowerStreams {
    shared: Arc<Shared>,
    prefix: String,
    category: Option<String>,
    after: Option<StreamId>,
}

impl FollowerStreams {
    pub(super) fn new(shared: Arc<Shared>) -> FollowerStreams {
        FollowerStreams { shared, prefix: String::new(), category: None, after: None }
    }

    /// Lists only streams whose names begin so.
    pub fn prefix(mut self, prefix: impl Into<String>) -> FollowerStreams {
        self.prefix = prefix.into();
        self
    }

    /// Lists only streams of this category.
    pub fn category(mut self, category: impl Into<String>) -> FollowerStreams {
        self.category = Some(category.into());
        self
    }

    /// Lists only streams whose names come after this one, such as the last one of an earlier listing.
    pub fn after(mut self, stream: StreamId) -> FollowerStreams {
        self.after = Some(stream);
        self
    }

    /// Begins to list, in the order of the names' bytes: the streams that have durable events now, and each as it is
    /// now.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the category is none, such as `Door-1`; those of
    /// [`Follower::head`](crate::Follower::head).
    pub fn iter(self) -> Result<impl Iterator<Item = Result<StreamInfo>> + Send + use<>> {
        let FollowerStreams { shared, prefix, category, after } = self;
        if let Some(category) = &category {
            Filter::category(category).check()?;
        }
        // Names of one category share its beginning, so the longer of the two narrows the search.
        let prefix = match &category {
            Some(category) if category.starts_with(&prefix) => category.clone(),
            _ => prefix,
        };
        let indexed = Indexed::now(&shared)?;
        let is_over = indexed.is_none();
        let (page, lacking) = (VecDeque::new(), BTreeMap::new());
        let (indexed_to, lacking_to) = (Reached::Before, Reached::Before);
        let listing = Listing {
            shared,
            indexed,
            prefix,
            after,
            page,
            indexed_to,
            lacking,
            lacking_to,
            is_over,
        };
        let in_category = move |info: &StreamInfo| {
            category.as_ref().is_none_or(|category| info.stream.category() == category)
        };
        Ok(listing.filter(move |item| item.as_ref().map_or(true, &in_category)))
    }

    /// Lists all of it at once.
    ///
    /// # Errors
    /// Those of [`iter`](FollowerStreams::iter) and of reading.
    pub fn collect(self) -> Result<Vec<StreamInfo>> {
        self.iter()?.collect()
    }
}

/// How far one of the two sources was taken.
#[derive(PartialEq)]
enum Reached {
    Before,
    /// There may be more after this name.
    Name(StreamId),
    End,
}

/// Two sorted sources merged, each taken in parts: the index, and the journal's events that it lacks.
struct Listing {
    shared: Arc<Shared>,
    indexed: Option<Indexed>,
    prefix: String,
    /// The name after which the next one comes.
    after: Option<StreamId>,
    page: VecDeque<(StreamId, StreamState)>,
    indexed_to: Reached,
    lacking: BTreeMap<StreamId, Newer>,
    lacking_to: Reached,
    is_over: bool,
}

/// What the events that the index lacks say of a stream.
struct Newer {
    version: Version,
    created: Micros,
    written: Micros,
}

impl Listing {
    fn read_next(&mut self) -> Result<Option<StreamInfo>> {
        self.fill()?;
        let next = self.page.front().map(|(name, _)| name);
        let next = next.into_iter().chain(self.lacking.keys().next()).min().cloned();
        let Some(name) = next else { return Ok(None) };
        let indexed = self.page.pop_front_if(|(indexed, _)| *indexed == name);
        let newer = self.lacking.remove(&name);
        self.after = Some(name.clone());
        let mut state = indexed.map_or_else(StreamState::absent, |(_, state)| state);
        if let Some(Newer { version, created, written }) = newer {
            if state.version == Version::NONE {
                state.created = created;
            }
            (state.version, state.written) = (version, written);
        }
        Ok(Some(StreamInfo::new(name, &state)))
    }

    fn fill(&mut self) -> Result<()> {
        if self.page.is_empty() && self.indexed_to != Reached::End {
            self.take_indexed()?;
        }
        if self.lacking.is_empty() && self.lacking_to != Reached::End {
            self.take_lacking()?;
        }
        Ok(())
    }

    fn take_indexed(&mut self) -> Result<()> {
        let Some(indexed) = self.indexed.take() else { return Ok(()) };
        let after = match &self.indexed_to {
            Reached::Name(name) => Some(name),
            _ => self.after.as_ref(),
        };
        let after = after.map(StreamId::as_str);
        let had_index = indexed.index.is_some();
        let (indexed, page) = with_index(indexed, |it| match &it.index {
            Some(index) => index.streams_after(&self.prefix, after, STREAMS_PAGE),
            None => Ok(Vec::new()),
        })?;
        if had_index && indexed.index.is_none() {
            // The index is damaged: from now on it lacks everything.
            self.lacking.clear();
            self.lacking_to = Reached::Before;
        }
        (self.page, self.indexed) = (page.into(), Some(indexed));
        self.indexed_to = match self.page.back() {
            Some((last, _)) if self.page.len() == STREAMS_PAGE => Reached::Name(last.clone()),
            _ => Reached::End,
        };
        Ok(())
    }

    /// Reads what the index lacks, and keeps the first names after those that were taken.
    fn take_lacking(&mut self) -> Result<()> {
        let Some(indexed) = &self.indexed else { return Ok(()) };
        let after = match &self.lacking_to {
            Reached::Name(name) => Some(name.clone()),
            _ => self.after.clone(),
        };
        let mut reached = Reached::End;
        for event in indexed.lacking(&self.shared, Filter::all()) {
            let event = event?;
            let name = event.stream.as_str();
            if !name.starts_with(&self.prefix)
                || after.as_ref().is_some_and(|it| it >= &event.stream)
            {
                continue;
            }
            note(&mut self.lacking, &event);
            if self.lacking.len() > FOLLOWER_NAMES_MAX {
                self.lacking.pop_last();
                let last = self.lacking.last_key_value();
                reached = last.map_or(Reached::End, |(last, _)| Reached::Name(last.clone()));
            }
        }
        self.lacking_to = reached;
        Ok(())
    }
}

fn note(lacking: &mut BTreeMap<StreamId, Newer>, event: &RecordedEvent) {
    let (version, written) = (event.version, Micros::of(event.recorded_at));
    match lacking.get_mut(&event.stream) {
        Some(newer) => (newer.version, newer.written) = (version, written),
        None => {
            let newer = Newer { version, created: written, written };
            lacking.insert(event.stream.detached(), newer);
        }
    }
}

impl Iterator for Listing {
    type Item = Result<StreamInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let item = self.read_next().transpose();
        self.is_over = !matches!(item, Some(Ok(_)));
        item
    }
}
