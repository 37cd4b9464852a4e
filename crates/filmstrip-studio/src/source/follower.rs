//! Reading beside the process that writes.
//!
//! Streams are found by the index that the writing process keeps. What is asked of all events is answered from the
//! newest ones; memory is bounded, because events are looked at one by one.

use super::overview::{Largest, Met, Overview, Point, point};
use super::{
    Brief, Cause, Events, Listed, Page, Source, StreamQuery, Why, events_of, own_name, page_of,
    unless_new,
};
use crate::limits::{CATEGORIES_MAX, FOLLOWER_EVENTS_MAX, SAMPLES};
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::health::SegmentInfo;
use filmstrip::uuid::Uuid;
use filmstrip::{Filter, Follower, Position, RecordedEvent, Result, StreamId, Version};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;

/// The newest events, and whether there are older ones.
fn newest(follower: &Follower) -> Result<(Events, bool)> {
    let first = follower.head()?.get().saturating_sub(FOLLOWER_EVENTS_MAX);
    let events = follower.read().after(Position::new(first)).iter()?;
    Ok((Box::new(events), first > 0))
}

fn cause(event: &RecordedEvent) -> Cause {
    Cause {
        id: event.id,
        causation_id: event.metadata.causation_id,
        correlation_id: event.metadata.correlation_id.unwrap_or(event.id),
        position: event.position,
        stream: own_name(&event.stream),
        version: event.version,
        event_type: event.event_type.to_string(),
        recorded_at: event.recorded_at,
    }
}

impl Source for Follower {
    fn path(&self) -> &Path {
        Follower::path(self)
    }

    fn head(&self) -> Result<Position> {
        Follower::head(self)
    }

    fn stream(&self, stream: &StreamId) -> Result<Option<Listed>> {
        Ok(unless_new(self.stream_info(stream.clone()))?.map(Listed::from))
    }

    fn events(&self, stream: &StreamId, after: Version, until: Version) -> Result<Events> {
        let read = self.read_stream(stream.clone()).after(after).until(until);
        events_of(read.iter())
    }

    fn version_at(&self, stream: &StreamId, time: DateTime<Utc>) -> Result<Version> {
        let mut version = Version::NONE;
        for event in self.events(stream, Version::NONE, Version::new(u64::MAX))? {
            let event = event?;
            if event.recorded_at > time {
                break;
            }
            version = event.version;
        }
        Ok(version)
    }

    fn streams(&self, query: StreamQuery) -> Result<Page<Listed>> {
        let mut streams = Follower::streams(self).prefix(query.prefix);
        if let Some(category) = query.category {
            streams = streams.category(category);
        }
        if let Some(after) = query.after {
            streams = streams.after(after);
        }
        page_of(streams.iter()?)
    }

    fn categories(&self) -> Result<Page<String>> {
        let (events, is_partial) = newest(self)?;
        let mut categories = BTreeSet::new();
        for event in events {
            let event = event?;
            if !categories.contains(event.stream.category()) {
                categories.insert(event.stream.category().to_owned());
            }
            if categories.len() > CATEGORIES_MAX {
                categories.pop_last();
            }
        }
        let has_more = categories.len() == CATEGORIES_MAX;
        Ok(Page { rows: categories.into_iter().collect(), has_more, is_partial })
    }

    fn all(&self, after: Position, until: Position, filter: Filter) -> Result<Events> {
        Ok(Box::new(self.read().after(after).until(until).filter(filter).iter()?))
    }

    fn latest(&self, filter: Filter, rows: usize) -> Result<Page<Brief>> {
        let head = Follower::head(self)?;
        let mut last = VecDeque::with_capacity(rows + 1);
        // Mostly they are among the very last.
        for newest in [2 * rows as u64, FOLLOWER_EVENTS_MAX] {
            let after = Position::new(head.get().saturating_sub(newest));
            last.clear();
            for event in self.read().after(after).until(head).filter(filter.clone()).iter()? {
                last.push_front(Brief::of(&event?));
                last.truncate(rows);
            }
            if last.len() == rows {
                break;
            }
        }
        let is_partial = head.get() > FOLLOWER_EVENTS_MAX;
        Ok(Page { rows: last.into(), has_more: true, is_partial })
    }

    /// Looks at the newest events twice: for what caused what, and then for what is wanted of them.
    fn why(&self, id: Uuid) -> Result<Why> {
        let (events, is_partial) = newest(self)?;
        let mut causes_of: HashMap<Uuid, Option<Uuid>> = HashMap::new();
        let mut caused = HashSet::from([id]);
        for event in events {
            let event = event?;
            causes_of.insert(event.id, event.metadata.causation_id);
            if event.metadata.causation_id.is_some_and(|cause| caused.contains(&cause)) {
                caused.insert(event.id);
            }
        }
        let (mut chain, mut unknown_cause) = (HashSet::new(), None);
        let mut next = causes_of.get(&id).copied().flatten();
        while let Some(cause) = next.filter(|cause| chain.insert(*cause)) {
            next = match causes_of.get(&cause) {
                Some(before) => *before,
                None => {
                    unknown_cause = Some(cause);
                    None
                }
            };
        }
        let mut why = Why { unknown_cause, is_complete: !is_partial, ..Why::default() };
        for event in newest(self)?.0 {
            let event = event?;
            if event.id == id {
                why.event = Some(cause(&event));
            } else if chain.contains(&event.id) {
                why.causes.push(cause(&event));
            } else if caused.contains(&event.id) {
                why.effects.push(cause(&event));
            }
        }
        Ok(why)
    }

    /// Older events are known by the segments that begin with them; the newest ones are looked at.
    fn overview(&self) -> Result<Overview> {
        let (segments, head) = (self.segments()?, Follower::head(self)?);
        let (events, is_partial) = newest(self)?;
        let mut points = Vec::new();
        if is_partial {
            let first = self.read().limit(1).iter()?.next().transpose()?;
            points.extend(first.map(|it| point((it.recorded_at, it.position), &segments, head)));
            points.extend(until_segments(&segments, head));
        }
        let step = head.get().min(FOLLOWER_EVENTS_MAX) / SAMPLES as u64 + 1;
        let (mut largest, mut last) = (Largest::default(), None);
        for event in events {
            let event = event?;
            largest.see(&event.stream, event.version);
            let is_chosen = last.is_none() || event.position.get().is_multiple_of(step);
            last = Some((event.recorded_at, event.position));
            points.extend(last.filter(|_| is_chosen).map(|at| point(at, &segments, head)));
        }
        points.extend(last.map(|at| point(at, &segments, head)));
        points.dedup();
        let met = if is_partial { Met::Newest(FOLLOWER_EVENTS_MAX) } else { Met::All };
        Ok(Overview { points, largest: largest.sorted(), met })
    }
}

/// The log where a segment began, for about [`SAMPLES`] of those before the newest events.
fn until_segments(segments: &[SegmentInfo], head: Position) -> Vec<Point> {
    let newest = head.get().saturating_sub(FOLLOWER_EVENTS_MAX);
    let (mut points, mut bytes) = (Vec::new(), 0);
    for segment in segments.iter().take_while(|segment| segment.first_position.get() <= newest) {
        let events = Position::new(segment.first_position.get() - 1);
        points.extend(segment.begun_after.map(|at| Point { at, events, bytes }));
        bytes += segment.bytes;
    }
    let step = points.len() / SAMPLES + 1;
    points.into_iter().step_by(step).collect()
}
