//! Every bound of the engine, by name. Byte limits end in `_BYTES_MAX`, counts in what they count.
//!
//! An input over its limit is refused with an error that names the value met and the value allowed;
//! a buffer at its limit makes its producer wait.

use std::time::Duration;

/// Bytes of UTF-8 in a stream's name.
pub const STREAM_NAME_BYTES_MAX: usize = 1_024;
/// Bytes of UTF-8 in an event type's name.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;
/// Bytes of an event's payload and metadata together.
pub const EVENT_BYTES_MAX: usize = 16 * MIB;
/// Bytes of all events of one commit, as they are encoded.
pub const COMMIT_BYTES_MAX: usize = 64 * MIB;
/// Events in one commit.
pub const COMMIT_EVENTS_MAX: usize = 65_536;
/// Streams that one commit appends to or checks.
pub const COMMIT_STREAMS_MAX: usize = 65_536;
/// Bytes of UTF-8 in the name of a consumer, a group or a projection.
pub const CONSUMER_NAME_BYTES_MAX: usize = 256;

/// Bytes of the commits that one frame, and so one `fdatasync`, takes together. A single larger
/// commit has a frame of its own.
pub(crate) const GROUP_BYTES_MAX: usize = 8 * MIB;
/// Bytes of the commits that wait for a leader; beyond it, callers wait to join the queue.
pub(crate) const QUEUE_BYTES_MAX: usize = 128 * MIB;
/// Groups that one caller writes, one after the other, before it returns with its own answer.
pub(crate) const GROUPS_LED_MAX: usize = 8;
/// If at least so many callers wait behind a group, its leader writes the next one itself; if fewer do, it wakes one
/// of them to lead.
pub(crate) const GO_ON_WAITING_MIN: usize = 8;
/// Bytes of waiting commits up to which it does: a group that takes long would keep its own answer from it.
pub(crate) const GO_ON_BYTES_MAX: usize = 2 * MIB;
/// Bytes of a segment file, once a store has outgrown its first small ones.
pub(crate) const SEGMENT_BYTES: u64 = 64 * MIB as u64;
/// Bytes of the first segment; each later one doubles until `SEGMENT_BYTES`.
pub(crate) const SEGMENT_BYTES_FIRST: u64 = MIB as u64;
/// Bytes that are written into a segment before the next one is prepared, or left in it; half of a shorter one.
pub(crate) const PREPARE_AFTER_BYTES: u64 = 4 * MIB as u64;
/// Bytes of sealed segments that the index may lack; beyond it, writers wait for the indexer.
pub(crate) const UNINDEXED_BYTES_MAX: u64 = 4 * SEGMENT_BYTES;
/// Bytes of sealed segments that are worth a flush batch of the index while writers go on: two long ones, or all
/// of a young store's up to its first long one.
pub(crate) const FLUSH_BATCH_BYTES_MIN: u64 = 2 * SEGMENT_BYTES - SEGMENT_BYTES_FIRST;
/// Events that the index may lack; beyond it, writers wait for the indexer.
pub(crate) const TAIL_EVENTS_MAX: usize = 4_000_000;
/// Bytes of the newest frames kept in memory for live readers.
pub(crate) const TAIL_BODY_BYTES_MAX: usize = 32 * MIB;
/// Bytes of journal that are indexed when writers pause or the store closes; less stays in the tail.
pub(crate) const UNINDEXED_BYTES_IDLE: u64 = MIB as u64;
/// How long writers must pause for the indexer to take what is not yet worth a flush batch beside them.
pub(crate) const INDEXER_IDLE: Duration = Duration::from_millis(500);
/// How long a writer that waits for the indexer waits at once, before it looks for progress.
pub(crate) const INDEXER_LOOK: Duration = Duration::from_millis(100);
/// How often in a row such a writer looks in vain until it gets an error: 10 s, not counting the time in which
/// the process as a whole does not run.
pub(crate) const INDEXER_LOOKS_MAX: u32 = 100;
/// After a failure of the index, how long until it is tried again; twice as long after each further one.
pub(crate) const INDEX_RETRY_MIN: Duration = Duration::from_millis(50);
/// How long at most.
pub(crate) const INDEX_RETRY_MAX: Duration = Duration::from_secs(5);
/// Bytes of what an earlier backup had copied that each further one reads again and checks, and the rest of a segment.
pub(crate) const BACKUP_CHECK_BYTES: u64 = 64 * MIB as u64;
/// How far the clock may be behind the last recorded time before that is logged: clocks are corrected by less.
pub(crate) const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(5);
/// Bytes of journal that one flush batch of the index sorts in memory.
pub(crate) const INDEX_FLUSH_BATCH_BYTES_MAX: u64 = 256 * MIB as u64;
/// Streams that are kept in mind although the index has all their events: what saves a look-up there for
/// each append.
pub(crate) const IDLE_STREAMS_MAX: usize = 131_072;
/// Segment files held open for reading.
pub(crate) const READ_HANDLES_MAX: usize = 64;
/// Bytes that a scan of the journal reads at once; a larger frame is read whole.
pub(crate) const SCAN_CHUNK_BYTES: usize = 256 * KIB;
/// Bytes of frames after which a read of everything has a thread read ahead: what is shorter is read sooner
/// without.
pub(crate) const READ_AHEAD_AFTER_BYTES: usize = 2 * MIB;
/// Target size of a readahead batch: one with as many bytes of frames takes no further frame.
pub(crate) const READ_AHEAD_BATCH_BYTES: usize = 256 * KIB;
/// Bytes that reading ahead reads at once: a disk is twice as fast with more under way.
pub(crate) const READ_AHEAD_CHUNK_BYTES: usize = MIB;
/// Batches that are read ahead and wait.
pub(crate) const READ_AHEAD_BATCHES_MAX: usize = 4;
/// Bytes of journal between two entries of the sparse index.
pub(crate) const GLOBAL_STEP_BYTES: u64 = 64 * KIB as u64;
/// Bytes of an event that the index holds a second time; a longer one is a reference into the journal.
pub(crate) const TABLE_INLINE_BYTES_MAX: usize = 4 * KIB;
/// Bytes of events, compressed and decompressed together, behind which no further stream begins in an event block of
/// a table.
pub(crate) const TABLE_EVENT_BLOCK_BYTES_MIN: usize = 4 * KIB;
/// Bytes of events after which an event block ends even within a stream.
pub(crate) const TABLE_EVENT_BLOCK_BYTES_MAX: usize = 8 * KIB;
/// Target size of an index block of a table: one that has as many bytes takes no further key run.
pub(crate) const TABLE_INDEX_BLOCK_BYTES: usize = 2 * KIB;
/// Places in which event blocks of tables are noted as they are read, to be recognised when they are read again: the
/// last two in each, at 16 bytes.
pub(crate) const EVENT_BLOCKS_NOTED_MAX: u64 = 65_536;
/// Bytes of a table that are written between two syncs, so that a commit's sync beside it stays short.
pub(crate) const TABLE_SYNC_BYTES: usize = 4 * MIB;
/// Neighbouring tables of one level that are compacted at once into one of the next, at most.
pub(crate) const TABLES_COMPACTED: usize = 8;
/// Tables of one level from which on they are compacted, when nobody writes.
pub(crate) const TABLES_COMPACTED_IDLE: usize = TABLES_COMPACTED / 2;
/// Tables of one level from which on so many are compacted although somebody writes.
pub(crate) const TABLES_COMPACTED_BUSY: usize = 2 * TABLES_COMPACTED;
/// Tables from which on compacting them goes before taking in more.
pub(crate) const TABLES_MAX: usize = 64;
/// Bytes of events that are compacted before the indexer looks whether there is something else to do.
pub(crate) const COMPACT_STEP_BYTES: usize = 4 * MIB;
/// Bytes of any other value in the index; a larger one is cut into pieces of this size.
pub(crate) const VALUE_BYTES_MAX: usize = 4 * KIB;
/// Bytes of keys and values that sled may hold unsynced.
pub(crate) const SLED_UNSYNCED_BYTES_MAX: u64 = 512 * KIB as u64;
/// Bytes of a segment of sled's log. sled keeps a node of its trees that is larger than a quarter
/// of it in a file of its own, which it never syncs; none of ours is.
pub(crate) const SLED_SEGMENT_BYTES: usize = 2 * MIB;
/// Events that one page of a stream read locates at once.
pub(crate) const STREAM_PAGE_EVENTS: usize = 256;
/// Aggregates that one repository, or instances that one process, remembers the state of.
pub(crate) const CACHED_AGGREGATES_MAX: usize = 1_024;
/// Command ids that one repository remembers, of all its aggregates: about 48 bytes each.
pub(crate) const CACHED_COMMAND_IDS_MAX: usize = 262_144;
/// Aggregates of one repository whose states wait to be written as snapshots.
pub(crate) const SNAPSHOTS_WAITING_MAX: usize = 16;
/// Events from which on a feed's batch takes no further frame.
pub(crate) const FEED_BATCH_EVENTS_MIN: usize = 512;
/// Bytes of frames from which on a feed's batch takes no further one.
pub(crate) const FEED_BATCH_BYTES_MIN: usize = MIB;
/// Bytes of the file that says what the views were when they were closed; it is left out if it would be larger.
pub(crate) const VIEWS_NOTE_BYTES_MAX: u64 = MIB as u64;
/// Bytes of UTF-8 in the key of a view's row.
pub(crate) const VIEW_KEY_BYTES_MAX: usize = 1_024;
/// Bytes of a view's row.
pub(crate) const VIEW_ROW_BYTES_MAX: usize = 16 * MIB;
/// Bytes of changes to a view from which on they are written.
pub(crate) const VIEW_CHANGES_BYTES_MIN: usize = 256 * KIB;
/// Bytes of changes that a view which is being built again holds until it writes them: a row that changes
/// often is then written once.
pub(crate) const VIEW_BUILD_BYTES_MAX: usize = 32 * MIB;
/// Events behind which a view that is being built again is written all the same: what a crash costs.
pub(crate) const VIEW_BUILD_EVENTS_MAX: u64 = 1_000_000;
/// Changes that a view which is being built again writes in one go.
pub(crate) const VIEW_BUILD_CHANGES_MAX: usize = 4_096;
/// Events that a view may be past its written checkpoint if it wanted none of them, and a process
/// past its cursor in the journal if they led to nothing.
pub(crate) const CHECKPOINT_EVENTS_MAX: u64 = 4_096;
/// Events that a rebuilt view may be behind the log when it takes the place of the old one.
pub(crate) const VIEW_SWAP_EVENTS_MAX: u64 = 64;
/// Parked events that a replay tries between two batches of new ones, and how long it tries at most.
pub(crate) const REPLAY_EVENTS_MAX: usize = 256;
/// See [`REPLAY_EVENTS_MAX`].
pub(crate) const REPLAY_TIME_MAX: Duration = Duration::from_millis(100);
/// How long a change that somebody waits for waits until nobody reads the view.
pub(crate) const VIEW_READERS_WAIT_MAX: Duration = Duration::from_secs(10);
/// Threads of one command bus.
pub(crate) const BUS_WORKERS_MAX: usize = 1_024;
/// Commands that may wait for one worker of a bus.
pub(crate) const BUS_QUEUE_MAX: usize = 1_048_576;
/// How long something waits for a time without a look at the clock, which may have been set.
pub(crate) const CLOCK_LOOK_MAX: Duration = Duration::from_secs(60);
/// Batches that a feed reads ahead of its taker.
pub(crate) const FEED_BATCHES_WAITING_MAX: usize = 2;

/// Events that a subscription reads ahead of its consumer, or that a consumer group holds
/// unfinished, unless its builder says otherwise.
pub(crate) const SUBSCRIPTION_BUFFER_DEFAULT: usize = 1_024;
/// Events that a subscription may read ahead of its consumer, or a consumer group hold unfinished.
pub const SUBSCRIPTION_BUFFER_MAX: usize = 65_536;
/// Bytes of unfinished events' payloads from which on a consumer group reads no further ones.
pub(crate) const GROUP_UNFINISHED_BYTES_MAX: usize = 16 * MIB;
/// Events that a group's cursor may be past its written one if the group wanted none of them.
pub(crate) const GROUP_CURSOR_EVENTS_MAX: u64 = 65_536;
/// Bytes up to which a group's record is always written whole.
pub(crate) const GROUP_WHOLE_BYTES_MAX: usize = 256;
/// Parts that a group's record may have beside the whole one.
pub(crate) const GROUP_PARTS_MAX: u64 = 4_096;
/// Parked events that one commit moves.
pub(crate) const PARKED_MOVED_MAX: usize = 4_096;
/// Streams that one page of a listing reads from the index.
pub(crate) const STREAMS_PAGE: usize = 512;
/// Bytes of its cache that sled asks for at least.
pub(crate) const SLED_CACHE_BYTES_MIN: u64 = 256;
/// Bytes that an index may keep of what it read, half of them in sled, unless the store's builder says otherwise.
pub(crate) const CACHE_BYTES_DEFAULT: u64 = 64 * MIB as u64;

/// Findings that a verification keeps; further ones are only counted.
pub(crate) const FINDINGS_MAX: usize = 10_000;
/// Bytes of journal that a verification sorts at once to compare them with the index.
pub(crate) const VERIFY_FLUSH_BATCH_BYTES_MAX: u64 = 32 * MIB as u64;
/// Bytes of names of streams and records, and of what is known of each, that a verification holds
/// at once; if there are more, it walks the journal more often.
pub(crate) const VERIFY_NAMES_BYTES_MAX: usize = 64 * MIB;
/// Entries of the index that a verification looks at together.
pub(crate) const INSPECT_PAGE: usize = 512;
/// Bytes that a verification's own copy of an index may use for its cache.
pub(crate) const VERIFY_CACHE_BYTES: u64 = 64 * MIB as u64;
/// Bytes of events that an export holds to put them in the place of what the journal has lost.
pub(crate) const EXPORT_RECOVERED_BYTES_MAX: usize = 256 * MIB;
/// Bytes of journal between two reports of a long walk's progress.
pub(crate) const PROGRESS_BYTES: u64 = 64 * MIB as u64;
/// How often a follower in another process looks at the durable watermark, unless its builder says otherwise.
pub(crate) const FOLLOWER_POLL: Duration = Duration::from_millis(10);

/// Bytes of the longest segment that there can be: one that holds a single commit of the largest size,
/// with room to spare. A header that claims more is damaged.
pub(crate) const SEGMENT_LENGTH_MAX: u64 = 4 * SEGMENT_BYTES;
/// Copies of torn writes that are kept.
pub(crate) const TORN_COPIES_MAX: usize = 16;
/// Bytes of an index's checkpoint, of any version.
pub(crate) const CHECKPOINT_BYTES_MAX: u64 = 64 * KIB as u64;
/// Earlier damaged indexes or views that are looked at again when another one is moved aside.
pub(crate) const QUARANTINE_REMOVED_MAX: usize = 16;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

const _: () = assert!(FLUSH_BATCH_BYTES_MIN + SEGMENT_BYTES < UNINDEXED_BYTES_MAX);
// Else writers could wait for an indexer that waits for writers. 55 bytes are the shortest entry of an
// event: docs/FORMAT.md.
const _: () = assert!((FLUSH_BATCH_BYTES_MIN + SEGMENT_BYTES) / 55 < TAIL_EVENTS_MAX as u64);
const _: () = assert!(EVENT_BYTES_MAX <= COMMIT_BYTES_MAX);
// A commit larger than a group has a frame of its own, and a frame too long for a segment has its own.
const _: () = assert!(2 * (COMMIT_BYTES_MAX + GROUP_BYTES_MAX) as u64 <= SEGMENT_LENGTH_MAX);
// Offsets in a segment are kept in 32 bits.
const _: () = assert!(SEGMENT_LENGTH_MAX < 1 << 32);
const _: () = assert!(COMMIT_BYTES_MAX <= QUEUE_BYTES_MAX);
// A leader goes on only where somebody waits.
const _: () = assert!(GO_ON_WAITING_MIN > 0);
const _: () = assert!(SEGMENT_BYTES_FIRST <= SEGMENT_BYTES);
const _: () = assert!(GROUP_BYTES_MAX as u64 * 4 <= SEGMENT_BYTES);
// Frame lengths and offsets in a frame are 32-bit.
const _: () = assert!(COMMIT_BYTES_MAX + GROUP_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(EVENT_TYPE_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(STREAM_NAME_BYTES_MAX <= u16::MAX as usize);
