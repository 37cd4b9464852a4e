//! The tables of the report, in its order. A workload names the table of each of its figures.

/// Figures of one kind: they share a unit or at least a direction.
pub struct Table {
    /// In a figure's line.
    pub key: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    pub better: Better,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Better {
    High,
    Low,
}

use Better::{High, Low};

const fn table(
    key: &'static str,
    better: Better,
    title: &'static str,
    about: &'static str,
) -> Table {
    Table { key, title, about, better }
}

pub const WRITERS: Table = table(
    "writers",
    High,
    "Writers at once: events per second",
    "Each writer commits to streams of its own for a second and a half, one commit after the other.",
);
pub const WRITERS_P50: Table = table(
    "writers-p50",
    Low,
    "Writers at once: half of the commits take at most so many microseconds",
    "Of the same commits.",
);
pub const WRITERS_P99: Table = table(
    "writers-p99",
    Low,
    "Writers at once: 99 of 100 commits take at most so many microseconds",
    "Of the same commits.",
);
pub const BULK: Table = table(
    "bulk",
    High,
    "Many events: events per second",
    "One writer, 100 events per commit, each of another stream: the worst order for an index. The last \
     figure counts the time until everything that was put off is done, and the engine closed.",
);
pub const SPACE: Table = table(
    "space",
    Low,
    "Many events: memory and disk",
    "The most memory that the process ever had resident, mapped files included; and what the files \
     take from the disk after closing, for each byte of payload.",
);
pub const OPENING: Table =
    table("opening", Low, "Many events: opening again, milliseconds", "After a close.");
pub const READING: Table = table(
    "reading",
    High,
    "Many events: reading all, events per second",
    "In the order of the log.",
);
pub const STREAMS: Table = table(
    "streams",
    High,
    "Many events: reading streams of 20, events per second",
    "One stream after the other, far apart.",
);

pub const ALL: [&Table; 8] =
    [&WRITERS, &WRITERS_P50, &WRITERS_P99, &BULK, &SPACE, &OPENING, &READING, &STREAMS];
