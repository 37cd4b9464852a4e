//! Small pieces of pages.

use crate::limits::PREVIEW_BYTES;
use crate::place::Place;
use crate::source::Brief;
use crate::text::{Visible, clip, plain};
use filmstrip::StreamId;
use filmstrip::chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

/// A time in a sentence, to the second; the rest is in its title.
pub(crate) fn time(time: DateTime<Utc>) -> Markup {
    stamp(time, " UTC")
}

/// The same in a column whose heading says UTC.
pub(crate) fn cell_time(time: DateTime<Utc>) -> Markup {
    stamp(time, "")
}

fn stamp(time: DateTime<Utc>, zone: &str) -> Markup {
    let exact = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    html! {
        time datetime=(exact) title=(exact) {
            (time.format("%Y-%m-%d ")) span.clock { (time.format("%H:%M:%S")) } (zone)
        }
    }
}

/// How much later one event came than the one before.
pub(crate) fn gap(gap: TimeDelta) -> String {
    let (seconds, millis) = (gap.num_seconds(), gap.num_milliseconds());
    match seconds {
        _ if millis < 1 => "+0".to_owned(),
        0 => format!("+{millis} ms"),
        1..60 => format!("+{seconds} s"),
        60..3_600 => format!("+{} min", seconds / 60),
        3_600..172_800 => format!("+{} h", seconds / 3_600),
        _ => format!("+{} d", seconds / 86_400),
    }
}

/// A number with its thousands apart.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = digits.as_str();
    while rest.len() > 3 {
        let (front, last) = rest.split_at(rest.len() - 3);
        parts.push(last);
        rest = front;
    }
    parts.push(rest);
    parts.reverse();
    parts.join(",")
}

/// A number of events.
pub(crate) fn events(count: u64) -> String {
    format!("{}{}", number(count), unit(count))
}

pub(crate) fn unit(count: u64) -> &'static str {
    if count == 1 { " event" } else { " events" }
}

pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{} B", number(bytes)),
        10_240..10_485_760 => format!("{} KiB", number(bytes >> 10)),
        10_485_760..10_737_418_240 => format!("{} MiB", number(bytes >> 20)),
        _ => format!("{} GiB", number(bytes >> 30)),
    }
}

/// A stream's name that leads to its film.
pub(crate) fn stream_link(place: &Place, stream: &StreamId) -> Markup {
    html! { a.name href=(place.film(stream, None)) { (Visible(stream.as_str())) } }
}

/// The heading of [`event_rows`].
pub(crate) fn event_heading() -> Markup {
    html! { tr {
        th.number scope="col" { "Position" } th scope="col" { "Recorded (UTC)" }
        th scope="col" { "Stream" } th scope="col" { "Type" } th.preview scope="col" { "Data" }
    } }
}

/// Events in a list, the newest first.
pub(crate) fn event_rows(place: &Place, events: &[Brief]) -> Markup {
    html! {
        @for event in events {
            tr {
                td.number { (number(event.position.get())) }
                td { (cell_time(event.recorded_at)) }
                td {
                    a.name href=(place.film(&event.stream, Some(event.version))) {
                        (Visible(clip(event.stream.as_str(), PREVIEW_BYTES).0))
                        span.version { "@" (event.version) }
                    }
                }
                td.type { (Visible(&event.event_type)) }
                td.preview { (plain(&event.preview, PREVIEW_BYTES)) }
            }
        }
    }
}

/// What a page says where it has nothing to show.
pub(crate) fn nothing(why: &str) -> Markup {
    html! { p.nothing { (why) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_gaps_are_easy_to_read() {
        assert_eq!(number(0), "0");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(12_000), "12,000");
        assert_eq!(bytes(20 << 20), "20 MiB");
        assert_eq!(gap(TimeDelta::milliseconds(12)), "+12 ms");
        assert_eq!(gap(TimeDelta::hours(50)), "+2 d");
    }
}
