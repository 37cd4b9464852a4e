//! Reading an open store.

use super::overview::{Largest, Met, Overview, point, spread};
use super::{
    Brief, Cause, Events, Listed, Page, Source, StreamQuery, Why, events_of, own_name, page_of,
    unless_new,
};
use crate::limits::{CATEGORIES_MAX, LATEST_EVENTS_MAX, SAMPLE_WIDTH, SAMPLES};
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::uuid::Uuid;
use filmstrip::{Filter, Position, Result, Store, StreamId, Version};
use std::collections::BTreeSet;
use std::path::Path;

impl Source for Store {
    fn path(&self) -> &Path {
        Store::path(self)
    }

    fn head(&self) -> Result<Position> {
        Ok(Store::head(self))
    }

    fn stream(&self, stream: &StreamId) -> Result<Option<Listed>> {
        Ok(unless_new(self.stream_info(stream.clone()))?.map(Listed::from))
    }

    fn events(&self, stream: &StreamId, after: Version, until: Version) -> Result<Events> {
        let read = self.read_stream(stream.clone()).after(after).until(until);
        events_of(read.iter())
    }

    fn version_at(&self, stream: &StreamId, time: DateTime<Utc>) -> Result<Version> {
        let read = self.read_stream(stream.clone()).as_of(time).backwards().limit(1);
        let last = unless_new(read.iter())?.and_then(|mut events| events.next()).transpose()?;
        Ok(last.map_or(Version::NONE, |event| event.version))
    }

    fn streams(&self, query: StreamQuery) -> Result<Page<Listed>> {
        let mut streams = Store::streams(self).prefix(query.prefix);
        if let Some(category) = query.category {
            streams = streams.category(category);
        }
        if let Some(after) = query.after {
            streams = streams.after(after);
        }
        page_of(streams.iter()?)
    }

    /// From one category it goes to the next, past the streams in it.
    fn categories(&self) -> Result<Page<String>> {
        let (mut categories, mut after) = (BTreeSet::new(), None);
        for _ in 0..2 * CATEGORIES_MAX {
            let mut streams = Store::streams(self);
            if let Some(after) = after.take() {
                streams = streams.after(after);
            }
            let Some(next) = streams.iter()?.next().transpose()? else {
                let rows = categories.into_iter().collect();
                return Ok(Page { rows, has_more: false, is_partial: false });
            };
            let category = next.stream.category().to_owned();
            // The greatest name that a stream of the category is likely to have.
            let last = StreamId::new(format!("{category}-\u{10FFFF}"));
            after = Some(match last {
                Ok(last) if last > next.stream && next.stream.id().is_some() => last,
                _ => next.stream,
            });
            categories.insert(category);
            if categories.len() == CATEGORIES_MAX {
                break;
            }
        }
        Ok(Page { rows: categories.into_iter().collect(), has_more: true, is_partial: false })
    }

    fn all(&self, after: Position, until: Position, filter: Filter) -> Result<Events> {
        Ok(Box::new(self.read_all().after(after).until(until).filter(filter).iter()?))
    }

    fn latest(&self, filter: Filter, rows: usize) -> Result<Page<Brief>> {
        let after = Store::head(self).get().saturating_sub(LATEST_EVENTS_MAX);
        let read = self.read_all().after(Position::new(after)).filter(filter).backwards();
        let events = read.limit(rows as u64).iter()?;
        let rows: Vec<Brief> = events.map(|event| Ok(Brief::of(&event?))).collect::<Result<_>>()?;
        Ok(Page { rows, has_more: true, is_partial: after > 0 })
    }

    fn why(&self, event: Uuid) -> Result<Why> {
        let found = self.causation(event)?;
        Ok(Why {
            causes: found.causes.into_iter().map(Cause::from).collect(),
            event: found.event.map(Cause::from),
            effects: found.effects.into_iter().map(Cause::from).collect(),
            unknown_cause: found.unknown_cause,
            is_complete: found.complete,
        })
    }

    /// One event after the other is read by its position, and of each stream that it meets what the index knows.
    fn overview(&self) -> Result<Overview> {
        let (segments, head) = (self.segments()?, Store::head(self));
        let (mut points, mut streams) = (Vec::new(), BTreeSet::new());
        for position in spread(head) {
            // The engine has events of its own, which are not shown.
            let (after, until) = (position - 1, position.saturating_add(SAMPLE_WIDTH));
            let read = self.read_all().after(Position::new(after)).until(Position::new(until));
            if let Some(event) = read.limit(1).iter()?.next().transpose()? {
                points.push(point((event.recorded_at, event.position), &segments, head));
                streams.insert(own_name(&event.stream));
            }
        }
        points.dedup();
        let mut largest = Largest::default();
        for stream in streams {
            largest.see(&stream, self.stream_info(stream.clone())?.version);
        }
        let met = match head.get() <= SAMPLES as u64 {
            true => Met::All,
            false => Met::Spread(points.len()),
        };
        Ok(Overview { points, largest: largest.sorted(), met })
    }
}
