//! How a store grew, as lines over time and in numbers, and its largest streams.

use super::parts::{bytes, cell_time, events, nothing, number, stream_link, time};
use crate::limits::GROWTH_ROWS;
use crate::place::Place;
use crate::source::overview::{Met, Overview, Point};
use crate::text::Visible;
use maud::{Markup, html};

/// The room of a picture, in units of its own.
const WIDTH: u64 = 1_000;
const HEIGHT: u64 = 200;

/// The panels. Where they cannot be made, they say why, and what is around them is shown all the same.
pub(crate) fn panels(place: &Place, overview: &Result<Overview, String>) -> Markup {
    html! {
        @match overview {
            Ok(overview) => {
                section { h2 { "Growth" } (growth(&overview.points)) }
                section id="largest" { h2 { "Largest streams" } (largest(place, overview)) }
            }
            Err(why) => section { h2 { "Growth" } p.error { (Visible(why)) } },
        }
    }
}

fn growth(points: &[Point]) -> Markup {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return nothing("Nothing was recorded yet.");
    };
    html! {
        (picture(points, &events(last.events.get()), |point| point.events.get()))
        (picture(points, &format!("{} of journal", bytes(last.bytes)), |point| point.bytes))
        p.ends { span { (time(first.at)) } span { (time(last.at)) } }
        details {
            summary { "In numbers" }
            div.wide { (table(points)) }
            p.more { "Within a file of the journal, all events are taken to be of one size." }
        }
    }
}

fn picture(points: &[Point], what: &str, value: impl Fn(&Point) -> u64) -> Markup {
    html! {
        p { (what) }
        svg.growth viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
            aria-label=(format!("How it came to {what}")) {
            polyline points=(line(points, value)) {}
        }
    }
}

/// A line from nothing to the last value, which has the whole height.
fn line(points: &[Point], value: impl Fn(&Point) -> u64) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let micros = |point: &Point| (point.at - first.at).num_microseconds().unwrap_or(i64::MAX);
    let share = |part: u64, all: u64, room: u64| {
        u128::from(part) * u128::from(room) / u128::from(all.max(1))
    };
    let (longest, most) = (micros(last).max(0) as u64, value(last));
    let mut text = format!("0,{HEIGHT}");
    for point in points {
        let x = share(micros(point).max(0) as u64, longest, WIDTH);
        let y = u128::from(HEIGHT) - share(value(point), most, HEIGHT - 2);
        text.push_str(&format!(" {x},{y}"));
    }
    text
}

fn table(points: &[Point]) -> Markup {
    html! {
        table {
            thead { tr {
                th scope="col" { "Until (UTC)" } th.number scope="col" { "Events" } th.number scope="col" { "Journal" }
            } }
            tbody { @for point in rows(points).iter().rev() { tr {
                td { (cell_time(point.at)) }
                td.number { (number(point.events.get())) }
                td.number { (bytes(point.bytes)) }
            } } }
        }
    }
}

/// Some of the points, about as far from each other in time as they allow, with the last one.
fn rows(points: &[Point]) -> Vec<Point> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let step = (last.at - first.at) / GROWTH_ROWS as i32;
    let until = (1..=GROWTH_ROWS as i32).map(|row| match row == GROWTH_ROWS as i32 {
        true => last.at,
        false => first.at + step * row,
    });
    let before = |time| points[..points.partition_point(|point| point.at <= time)].last();
    let mut rows: Vec<Point> = until.filter_map(before).copied().collect();
    rows.dedup();
    rows
}

fn largest(place: &Place, overview: &Overview) -> Markup {
    let long = overview.largest.iter().filter(|(_, version)| version.get() > 1);
    html! {
        @if overview.largest.iter().all(|(_, version)| version.get() == 1) {
            (nothing("No stream was met that has more than one event."))
        } @else {
            table.streams {
                thead { tr { th scope="col" { "Stream" } th.number scope="col" { "Events" } } }
                tbody { @for (stream, version) in long { tr {
                    td { (stream_link(place, stream)) }
                    td.number { (number(version.get())) }
                } } }
            }
        }
        @match overview.met {
            Met::All => {},
            Met::Spread(events) => p.more {
                "Found by " (number(events as u64)) " events, spread over the log. A stream with more than 5 % of all \
                 events is among them, unless by rare chance; a smaller one may be missed."
            },
            Met::Newest(events) => p.more {
                "Of the streams of the newest " (number(events)) " events, because this page reads beside another \
                 process."
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filmstrip::Position;
    use filmstrip::chrono::{DateTime, TimeDelta};

    fn points(of: &[(i64, u64)]) -> Vec<Point> {
        let start = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let point = |(second, events): &(i64, u64)| Point {
            at: start + TimeDelta::seconds(*second),
            events: Position::new(*events),
            bytes: events.saturating_mul(100),
        };
        of.iter().map(point).collect()
    }

    #[test]
    fn a_line_goes_from_the_lower_left_to_the_upper_right() {
        let events = |point: &Point| point.events.get();
        assert_eq!(
            line(&points(&[(0, 1), (50, 50), (100, 99)]), events),
            "0,200 0,198 500,100 1000,2"
        );
        // Everything at one moment.
        assert_eq!(line(&points(&[(0, 1), (0, 9)]), events), "0,200 0,178 0,2");
        let far = points(&[(-8_000_000_000_000, 1), (8_000_000_000_000, u64::MAX)]);
        assert!(line(&far, |point| point.events.get()).ends_with(" 1000,2"));
    }

    #[test]
    fn the_table_is_short_and_ends_with_the_last_point() {
        let many: Vec<(i64, u64)> = (0..1_000).map(|n| (n * n, n as u64 + 1)).collect();
        let rows = rows(&points(&many));
        assert_eq!(rows.len(), GROWTH_ROWS);
        assert!(rows.is_sorted_by(|a, b| a.at < b.at));
        assert_eq!(rows.last().unwrap().events, Position::new(1_000));
        assert_eq!(super::rows(&points(&[(0, 1)])).len(), 1);
    }
}
