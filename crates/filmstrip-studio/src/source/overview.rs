//! How a log grew, and which streams are the largest: from some of its events, whatever their number.

use super::own_name;
use crate::limits::{LARGEST_STREAMS, SAMPLES};
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::health::SegmentInfo;
use filmstrip::{Position, StreamId, Version};

/// What is known of a log as a whole.
pub(crate) struct Overview {
    /// The log at some of its events, the oldest first, with the first and the last one.
    pub(crate) points: Vec<Point>,
    /// The largest of the streams that were met, the largest first.
    pub(crate) largest: Vec<(StreamId, Version)>,
    /// Which streams were met.
    pub(crate) met: Met,
}

/// The log when one of its events was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) at: DateTime<Utc>,
    pub(crate) events: Position,
    /// Bytes of the journal up to there.
    pub(crate) bytes: u64,
}

/// Among which streams the largest were looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    All,
    /// Those of so many events, spread over the log.
    Spread(usize),
    /// Those of the newest events.
    Newest(u64),
}

/// Positions to look at in a log of `head` events: all of a short one; otherwise the first, the last, and one in each
/// of [`SAMPLES`] parts of equal length.
///
/// Where in its part an event is looked at differs from part to part. Otherwise an application that writes to its
/// streams in turn could show the same one each time.
pub(crate) fn spread(head: Position) -> Vec<u64> {
    let (head, parts) = (u128::from(head.get()), SAMPLES as u128);
    if head <= parts {
        return (1..=head as u64).collect();
    }
    let in_part = |part: u128| {
        let (start, end) = (part * head / parts, (part + 1) * head / parts);
        // Multiples of the golden ratio are spread evenly between whole numbers.
        let share = u128::from((part as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        (start + 1 + (((end - start) * share) >> 64)) as u64
    };
    let mut positions: Vec<u64> = (0..parts).map(in_part).collect();
    positions.insert(0, 1);
    positions.push(head as u64);
    positions.dedup();
    positions
}

/// Bytes of the journal up to the event at `position`. Within a segment, all events are taken to be of one size.
fn bytes_until(segments: &[SegmentInfo], head: Position, position: Position) -> u64 {
    let index = segments.partition_point(|segment| segment.first_position <= position);
    let Some(inside) = index.checked_sub(1).and_then(|index| segments.get(index)) else { return 0 };
    let before: u64 = segments[..index - 1].iter().map(|segment| segment.bytes).sum();
    let first = inside.first_position.get();
    let next = segments.get(index).map_or(head.get() + 1, |next| next.first_position.get());
    let (passed, all) = (position.get() + 1 - first, next.saturating_sub(first).max(1));
    before + (u128::from(inside.bytes) * u128::from(passed.min(all)) / u128::from(all)) as u64
}

/// The largest of the streams that are seen. An event's version says how many its stream has: so a stream that was left
/// out comes back with its next event, and at its last one it is held if it is among the largest.
#[derive(Default)]
pub(crate) struct Largest(Vec<(StreamId, Version)>);

impl Largest {
    pub(crate) fn see(&mut self, stream: &StreamId, version: Version) {
        if let Some((_, met)) = self.0.iter_mut().find(|(met, _)| met == stream) {
            *met = version.max(*met);
            return;
        }
        if self.0.len() == LARGEST_STREAMS {
            let least = (0..self.0.len()).min_by_key(|at| self.0[*at].1).expect("there are some");
            if self.0[least].1 >= version {
                return;
            }
            self.0.swap_remove(least);
        }
        self.0.push((own_name(stream), version));
    }

    pub(crate) fn sorted(mut self) -> Vec<(StreamId, Version)> {
        self.0.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.0
    }
}

/// The point of an event that was recorded at this time and position.
pub(crate) fn point(
    (at, events): (DateTime<Utc>, Position),
    segments: &[SegmentInfo],
    head: Position,
) -> Point {
    Point { at, events, bytes: bytes_until(segments, head, events) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_spread_over_a_log_of_any_length() {
        assert!(spread(Position::START).is_empty());
        assert_eq!(spread(Position::new(3)), [1, 2, 3]);
        for head in [SAMPLES as u64, 129, 1_000, 12_345_678, u64::MAX] {
            let positions = spread(Position::new(head));
            assert!(positions.len() <= SAMPLES + 2, "{head}: {}", positions.len());
            assert!(positions.is_sorted_by(|a, b| a < b), "{head}: {positions:?}");
            assert_eq!((positions[0], positions.last()), (1, Some(&head)));
            let widest = positions.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(widest <= 2 * (head / SAMPLES as u64 + 1), "{head}: {widest}");
        }
    }

    /// With eight streams in turn, and parts whose lengths are multiples of eight.
    #[test]
    fn an_order_in_which_streams_are_written_hides_none_of_them() {
        let met = spread(Position::new(8 * 100 * SAMPLES as u64));
        let streams: std::collections::BTreeSet<u64> = met.iter().map(|it| it % 8).collect();
        assert_eq!(streams.len(), 8);
    }

    #[test]
    fn the_largest_streams_are_held_whatever_the_order_of_events() {
        let mut largest = Largest::default();
        let name = |n: usize| StreamId::new(format!("Door-{n:03}")).unwrap();
        for round in 1..=300 {
            for stream in (0..300).filter(|stream| round <= *stream) {
                largest.see(&name(stream), Version::new(round as u64));
            }
        }
        let expected = (300 - LARGEST_STREAMS..300).rev();
        let expected: Vec<_> = expected.map(|n| (name(n), Version::new(n as u64))).collect();
        assert_eq!(largest.sorted(), expected);
    }
}
