//! What bounds the work and the memory of a page.

use std::time::Duration;

/// Frames of the strip on each side of the one that is shown.
pub(crate) const STRIP_SIDE: u64 = 12;
/// Rows of a list on one page.
pub(crate) const PAGE_ROWS: usize = 50;
/// Bytes of a payload that a page shows. The rest is behind a link.
pub(crate) const PAYLOAD_SHOWN_BYTES: usize = 64 << 10;
/// Bytes of a state, as JSON, that a page shows and compares with the state before.
pub(crate) const STATE_SHOWN_BYTES: usize = 256 << 10;
/// Bytes of one value, of one key, or of one name that a page shows.
pub(crate) const VALUE_SHOWN_BYTES: usize = 2 << 10;
/// Bytes of a payload that are shown in a line of a list.
pub(crate) const PREVIEW_BYTES: usize = 160;
/// Rows of one JSON value on a page.
pub(crate) const JSON_ROWS_MAX: usize = 1_000;
/// Levels of nested JSON that are shown; what is deeper is counted.
pub(crate) const JSON_DEPTH_MAX: usize = 32;

/// Aggregates' states in memory, each at one version of one stream. The least recently used goes first.
pub(crate) const STATES_KEPT: usize = 64;
/// Events between two states that are kept while a long stream is replayed.
pub(crate) const STATES_STEP: u64 = 16_384;

/// Pages that are made at once; further requests wait.
pub(crate) const PAGES_AT_ONCE: usize = 8;
/// Folds of a view of the past, and verifications, that run at once.
pub(crate) const HEAVY_AT_ONCE: usize = 1;
/// How long a request waits to be made before it is refused.
pub(crate) const PAGE_WAIT: Duration = Duration::from_secs(10);
/// Bytes of the rows of a view of the past.
pub(crate) const PAST_BYTES_MAX: usize = 64 << 20;
/// Events that one explanation of a row reads.
pub(crate) const EXPLAIN_EVENTS_MAX: u64 = 1_000_000;
/// Categories in the list of categories.
pub(crate) const CATEGORIES_MAX: usize = 40;
/// The newest events among which recently written streams are looked for.
pub(crate) const RECENT_EVENTS: u64 = 200;
/// The newest events among which those are looked for that a filter accepts.
pub(crate) const LATEST_EVENTS_MAX: u64 = 1_000_000;
/// The newest events that a page over a follower looks at to find streams, event ids and causes.
pub(crate) const FOLLOWER_EVENTS_MAX: u64 = 200_000;
/// Events, spread over a log, by which its growth and its largest streams are found.
pub(crate) const SAMPLES: usize = 128;
/// Positions from a chosen one on in which the next event of the application is looked for.
pub(crate) const SAMPLE_WIDTH: u64 = 64;
/// Streams among the largest.
pub(crate) const LARGEST_STREAMS: usize = 10;
/// Rows of the table of a log's growth.
pub(crate) const GROWTH_ROWS: usize = 8;
/// Parked events, instances and steps that a program is told of at once.
pub(crate) const PARKED_LISTED_MAX: usize = 1_000;
/// Causes, and effects, on one page.
pub(crate) const CAUSES_SHOWN: usize = 200;

/// Browsers that follow live events at once.
pub(crate) const LIVE_CLIENTS_MAX: usize = 256;
/// Browsers for which live events are read at once.
pub(crate) const LIVE_READS_AT_ONCE: usize = 4;
/// How often the head is looked at for a browser that has everything.
pub(crate) const LIVE_POLL: Duration = Duration::from_millis(150);
/// Events that are read for one browser at once.
pub(crate) const LIVE_EVENTS_MAX: usize = 100;
/// Positions that are looked at for one browser at once.
pub(crate) const LIVE_STEP: u64 = 65_536;
/// A browser that lags by more events than this skips to the newest, and says so.
pub(crate) const LIVE_LAG_MAX: u64 = 5_000;

/// Bytes of the body of a request. No action has one.
pub(crate) const BODY_BYTES_MAX: usize = 4 << 10;
