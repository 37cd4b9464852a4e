//! The tables of the report, in its order. A workload names the table of each of its figures.

/// Figures of one kind: they share a unit or at least a direction, and a picture.
pub struct Table {
    /// In a figure's line, and the name of its picture.
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
    "Each writer commits to its own streams for a second and a half, one commit after the other.",
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
    "One writer, 100 events per commit, each event of another stream: the worst order for an index. The \
     last figure includes the time until all deferred work is done and the engine is closed.",
);
pub const SPACE: Table = table(
    "space",
    Low,
    "Many events: memory and disk",
    "The peak of the process's resident memory, mapped files included; and the disk space of the files \
     after closing, for each byte of payload.",
);
pub const GROWTH: Table = table(
    "growth",
    Low,
    "Many events: memory of its own while it writes, MiB",
    "Without pages of files (Linux's `RssAnon`): what remains if the page cache is needed elsewhere. For \
     each million events, a MiB or two may be the measuring program's, which counts the versions of \
     streams for engines that do not.",
);
pub const OPENING: Table = table(
    "opening",
    Low,
    "Many events: opening again, milliseconds",
    "After a close; after a close with the page cache dropped; and after the process was killed in the \
     middle of writing. A figure counts only if every commit that was acknowledged before the kill is \
     found.",
);
pub const READING: Table = table(
    "reading",
    High,
    "Many events: reading all, events per second",
    "In the order of the log: right after opening, and again three seconds later, when an engine may have \
     finished its background work. Cold: opened again, then the page cache dropped. All files are read \
     once before that, so that the cache of a virtual machine's host is the same for all engines.",
);
pub const STREAMS: Table = table(
    "streams",
    High,
    "Many events: reading streams of 20, events per second",
    "One stream after the other, far apart: before and after the same three seconds. Cold: opened again, \
     then the page cache dropped; all files are read once before that, and no stream is read twice.",
);
pub const LARGE: Table = table(
    "large",
    High,
    "Five times as many events: events per second",
    "The same work, once. umadb-core, evento and sled are left out: each would take a quarter of an hour.",
);
pub const LARGE_SPACE: Table =
    table("large-space", Low, "Five times as many events: memory and disk", "As above.");
pub const LARGE_GROWTH: Table = table(
    "large-growth",
    Low,
    "Five times as many events: memory of its own while it writes, MiB",
    "As above.",
);
pub const LARGE_OPENING: Table = table(
    "large-opening",
    Low,
    "Five times as many events: opening again, milliseconds",
    "As above.",
);
pub const PAYLOADS: Table = table(
    "payloads",
    High,
    "Small and large payloads: events per second",
    "One writer, 10 events of one stream per commit.",
);
pub const PAYLOADS_BYTES: Table = table(
    "payloads-bytes",
    High,
    "Small and large payloads: MB of payload per second",
    "Of the same commits.",
);
pub const PAYLOADS_DISK: Table = table(
    "payloads-disk",
    Low,
    "Small and large payloads: bytes on disk for each of payload",
    "After closing. Space that was filled in advance counts; it weighs most where the payloads are small \
     and the total is too.",
);
pub const ZIPF: Table = table(
    "zipf",
    High,
    "Streams as they are in life: events per second",
    "The next stream is drawn by Zipf's law with exponent 1: the hottest stream has about every tenth \
     event, most have a handful. One writer, 100 events per commit; then loading the hottest stream, and \
     streams that are drawn without regard to their length.",
);
pub const HISTORY: Table = table(
    "history",
    High,
    "A git repository's history: events per second",
    "An event for each file that a commit changed, one stream for each file, one commit for each commit.",
);
pub const FOLLOWING: Table = table(
    "following",
    Low,
    "From an append to a subscriber that waits, microseconds",
    "One append at a time, with a pause before each so that the subscriber waits again. The append \
     includes the sync. The time after its return is that of the delivery alone, and is 0 where the \
     subscriber has the event before its writer has the reply.",
);
pub const LAG: Table = table(
    "lag",
    Low,
    "A subscriber under full write load",
    "16 writers, 10 events per commit, as fast as they can. The time from before an append to the \
     subscriber, in microseconds; the number of acknowledged events that the subscriber has not seen yet; \
     and the time after the last write until it has them all.",
);
pub const LAG_RATE: Table = table(
    "lag-rate",
    High,
    "A subscriber under full write load: events written per second",
    "By the same writers.",
);
pub const VIEWS: Table = table(
    "views",
    High,
    "Views built again from all events: events per second",
    "A number for each stream, from all the events of the long workload. Only filmstrip has views over the \
     whole log; the others could be no faster than reading all.",
);
pub const COMMANDS: Table = table(
    "commands",
    Low,
    "A command on a hot aggregate beside a bare append, microseconds",
    "The same event, in the same store, in turn. Of these engines only filmstrip has aggregates.",
);
pub const MODEL: Table = table(
    "model",
    High,
    "The model under load: rates, and what was asked of them",
    "A process with one command for each event, of 1,000 instances; subscriptions that want nothing of what is \
     appended; a view of 1,000 hot keys; an order of three streams in one commit, one of them the same for 64 \
     threads. Both sides of a ratio are of one run, and took turns. What was asked for is in brackets: the least.",
);
pub const MODEL_LOW: Table = table(
    "model-low",
    Low,
    "The model under load: times and lags, and what was asked of them",
    "Of the same, and of pages of a view at random keys, and of events that were parked and are replayed. What was \
     asked for is in brackets: the most.",
);
pub const ASYNC: Table = table(
    "async",
    High,
    "The async face beside the synchronous one: rates, and what was asked of them",
    "One event of 200 bytes in each append. 10,000 tasks of tokio on two workers, beside 64 threads, and beside the \
     same tasks by `spawn_blocking`, which has up to 512 threads; a read of everything by an iterator and by a stream. \
     Both sides of a ratio are of one run, and took turns. What was asked for is in brackets: the least.",
);
pub const ASYNC_LOW: Table = table(
    "async-low",
    Low,
    "The async face beside the synchronous one: times and threads, and what was asked of them",
    "Of the same, and of one task and one thread that append one event after the other. What was asked for is in \
     brackets: the most.",
);

pub const CONDITIONS: Table = table(
    "conditions",
    High,
    "Conditions: rates, and what was asked of them",
    "Writers: each event has one tag of its writer, and each commit the condition that no event with this tag is \
     after what the writer saw last; the unconditional commits are of the same events, in the same store, in turn. \
     Many events: one writer, 100 events per commit, first without tags; then each with two, one of its own and one \
     that it shares with 19 others far apart, which are read by it. filmstrip's events are in streams besides. The \
     writers of new unique tags are in that store, and their condition is that the tag was never there. What was \
     asked for is in brackets: the least.",
);
pub const CONDITIONS_LOW: Table = table(
    "conditions-low",
    Low,
    "Conditions: times, memory and disk, and what was asked of them",
    "Of the same. A check whether a tag was ever there, at random among those of the many events, in microseconds of \
     processor time of the whole process: alone, in the way that costs each engine least and that writes nothing; \
     and as the condition of an append, which is refused. Memory is the process's own, without pages of files \
     (Linux's `RssAnon`): the most while it wrote the many events, each kind in a process of its own; and after \
     opening again and checking. Disk is after closing. What was asked for is in brackets: the most.",
);

pub const ALL: [&Table; 29] = [
    &WRITERS,
    &WRITERS_P50,
    &WRITERS_P99,
    &BULK,
    &SPACE,
    &GROWTH,
    &OPENING,
    &READING,
    &STREAMS,
    &LARGE,
    &LARGE_SPACE,
    &LARGE_GROWTH,
    &LARGE_OPENING,
    &PAYLOADS,
    &PAYLOADS_BYTES,
    &PAYLOADS_DISK,
    &ZIPF,
    &HISTORY,
    &FOLLOWING,
    &LAG,
    &LAG_RATE,
    &VIEWS,
    &COMMANDS,
    &MODEL,
    &MODEL_LOW,
    &ASYNC,
    &ASYNC_LOW,
    &CONDITIONS,
    &CONDITIONS_LOW,
];
