//! Every bound of the engine, by name. Byte limits end in `_BYTES_MAX`, counts in what they count.
//!
//! An input over its limit is refused with an error that names the value met and the value allowed;
//! a buffer at its limit makes its producer wait.
//!
//! Each says what it bounds and why. Where a figure decided, it is here or in the record that is named; a bound without
//! one was chosen, and not measured on its own. Bounds that follow from a form of bytes are beside the form (`codec`),
//! those that follow from how sled stores its nodes in `kv::sync_policy`, and steps of work in the file that takes
//! them.

use std::time::Duration;

/// Bytes of UTF-8 in a stream's name.
pub const STREAM_NAME_BYTES_MAX: usize = 1_024;
/// Bytes of UTF-8 in an event type's name.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;
/// Bytes of UTF-8 in a tag.
pub const TAG_BYTES_MAX: usize = 256;
/// Tags of one event. Each is indexed by itself, and takes about as much of the index as a small event.
pub const EVENT_TAGS_MAX: usize = 64;
/// Alternatives of one filter. Each is compared with every event that is looked at, and is looked up in the index by
/// itself.
pub const FILTER_ALTERNATIVES_MAX: usize = 256;
/// Bytes of an event's payload, metadata and tags together.
pub const EVENT_BYTES_MAX: usize = 16 * MIB;
/// Bytes of all events of one commit, as they are encoded.
pub const COMMIT_BYTES_MAX: usize = 64 * MIB;
/// Events in one commit.
pub const COMMIT_EVENTS_MAX: usize = 65_536;
/// Streams that one commit appends to or checks.
pub const COMMIT_STREAMS_MAX: usize = 65_536;
/// Conditions of one commit. Each is judged by itself, and waits with the commit.
pub const COMMIT_CONDITIONS_MAX: usize = 256;
/// Bytes of UTF-8 in the name of a consumer, a group or a projection.
pub const CONSUMER_NAME_BYTES_MAX: usize = 256;

/// Bytes of the commits that one frame, and so one `fdatasync`, takes together. A single larger
/// commit has a frame of its own. It bounds how long the first caller of a group waits for what others bring: 17 ms at
/// the 493 MB/s of docs/benchmarks/PROFILE.md.
pub(crate) const GROUP_BYTES_MAX: usize = 8 * MIB;
/// Bytes of the commits that wait for a leader; beyond it, callers wait to join the queue: threads, and tasks without
/// one, in the order in which they came. It bounds memory when the
/// disk is slower than the callers, and has room for two of the largest commits.
pub(crate) const QUEUE_BYTES_MAX: usize = 128 * MIB;
/// Groups that one caller writes, one after the other, before it returns with its own reply: docs/decisions/0014.
pub(crate) const GROUPS_LED_MAX: usize = 8;
/// If at least so many callers wait when a group is done, its leader writes the next one itself; if fewer do, it wakes
/// one of them to lead. 64 writers with one event each: 115,000 commits a second instead of 97,000
/// (docs/decisions/0014).
pub(crate) const GO_ON_WAITING_MIN: usize = 8;
/// Bytes of waiting commits up to which it does: a group that takes long would delay the reply to its own commit.
pub(crate) const GO_ON_BYTES_MAX: usize = 2 * MIB;
#[cfg(feature = "async")]
/// Threads of a store that read, and run the application's code, for tasks: `filmstrip::aio`. They mostly wait for the
/// disk, and commits that wait at the same time are written together, so there are more than processors; each takes a
/// stack. What finds none of them free waits in line.
pub(crate) const POOL_THREADS_MAX: usize = 64;
#[cfg(feature = "async")]
/// How long such a thread waits for something to do until it ends: longer than the gaps of a service under load.
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(5);
#[cfg(feature = "async")]
/// Bytes of frames from which on the first page of a read of everything takes no further one; each later one has twice
/// as many.
pub(crate) const SCAN_PAGE_BYTES_FIRST: usize = 16 * KIB;
#[cfg(feature = "async")]
/// Bytes of frames of the largest such page. To hand one over wakes a thread and a task: with 256 KiB, a stream
/// returned 0.73 of the iterator's events a second.
pub(crate) const SCAN_PAGE_BYTES_MAX: usize = MIB;
#[cfg(feature = "async")]
/// Events of the first page that a stream of events reads on the pool; each later one has twice as many, so that who
/// takes one event does not pay for many.
pub(crate) const STREAM_READ_EVENTS_FIRST: usize = 64;
#[cfg(feature = "async")]
/// Events of the largest such page. To hand a page over takes as long as to read some hundred events.
pub(crate) const STREAM_READ_EVENTS_MAX: usize = 2_048;
#[cfg(feature = "async")]
/// Bytes of payloads from which on such a page takes no further event.
pub(crate) const STREAM_READ_BYTES_MIN: usize = MIB;
/// Bytes of a segment file, once a store has outgrown its first small ones. Longer ones leave more zeros at the end of
/// a store (0.09 bytes per byte of payload at 2 million events: docs/benchmarks/PROFILE.md); shorter ones are more
/// files, and prepared more often.
pub(crate) const SEGMENT_BYTES: u64 = 64 * MIB as u64;
/// Bytes of the first segment; each later one doubles until `SEGMENT_BYTES`. So the smallest store takes a MiB.
pub(crate) const SEGMENT_BYTES_FIRST: u64 = MIB as u64;
/// Bytes that are written into a segment before the next one is prepared, or left in it; half of a shorter one. A
/// process that writes less does not pay for a segment: docs/decisions/0015.
pub(crate) const PREPARE_AFTER_BYTES: u64 = 4 * MIB as u64;
/// Bytes of sealed segments that the index may lack; beyond it, writers wait for the indexer. It is two flush batches:
/// one that is written, and one that gathers meanwhile. A crash leaves so much to be indexed at the next opening.
pub(crate) const UNINDEXED_BYTES_MAX: u64 = 4 * SEGMENT_BYTES;
/// Bytes of sealed segments that are worth a flush batch of the index while writers go on: two long ones, or all of a
/// young store's up to its first long one. A stream's events of both share their key runs: with two segments, 417,000
/// to 435,000 events a second were read by stream (1.5 million events in 75,000 streams), with one 287,000 to 374,000;
/// that was before there were sorted tables. When a young store counted short segments as long ones, its first 200,000
/// events took an eighth longer.
pub(crate) const FLUSH_BATCH_BYTES_MIN: u64 = 2 * SEGMENT_BYTES - SEGMENT_BYTES_FIRST;
/// Events that the index may lack; beyond it, writers wait for the indexer. It bounds the memory of the tail, where
/// each event has an entry, when events are short; with longer ones `UNINDEXED_BYTES_MAX` comes first.
pub(crate) const TAIL_EVENTS_MAX: usize = 4_000_000;
/// Bytes that the tags of events which the index lacks may take in memory; beyond it, writers wait for the indexer,
/// which begins at half of them. One group of commits may exceed it, by what the tags of a group take.
pub(crate) const TAIL_TAGGED_BYTES_MAX: usize = 128 * MIB;
/// Bytes of such tags after which further ones are kept apart: they are dropped together, once the index has them all.
pub(crate) const TAIL_MEMTABLE_BYTES: usize = TAIL_TAGGED_BYTES_MAX / 16;
/// Postings of a tag that a reader looks up at once, at most; a page begins with `POSTINGS_PAGE_FIRST`, and each later
/// one has four times as many.
pub(crate) const POSTINGS_PAGE_MAX: usize = 1_024;
/// Postings of the first such page: most conditions ask for one.
pub(crate) const POSTINGS_PAGE_FIRST: usize = 16;
/// Events that a reader by postings looks ahead: the disk reads so many side by side.
pub(crate) const POSTINGS_AHEAD_MAX: usize = 32;
/// Bytes of the journal that such a reader reads at once, if several of its events are close to each other.
pub(crate) const SPAN_BYTES_MAX: usize = 16 * KIB;
/// Bytes of the journal that such a reader announces to the system at once, all in all.
pub(crate) const ANNOUNCED_BYTES_MAX: usize = POSTINGS_AHEAD_MAX * SPAN_BYTES_MAX;
/// Bytes of the newest frames kept in memory for live readers: a follower that lags no further reads no file.
pub(crate) const TAIL_BODY_BYTES_MAX: usize = 32 * MIB;
/// Bytes of journal that are indexed when writers pause or the store closes; less stays in the tail, which costs the
/// next opening nothing: docs/decisions/0003.
pub(crate) const UNINDEXED_BYTES_IDLE: u64 = MIB as u64;
/// How long writers must pause for the indexer to take what is not yet worth a flush batch beside them, and to compact.
/// It is to be longer than the gaps of a busy writer.
pub(crate) const INDEXER_IDLE: Duration = Duration::from_millis(500);
/// How long a writer that waits for the indexer waits at once, before it looks for progress. Progress of a whole flush
/// batch wakes it sooner.
pub(crate) const INDEXER_LOOK: Duration = Duration::from_millis(100);
/// How often in a row such a writer looks in vain until it gets an error: 10 s, not counting the time in which
/// the process as a whole does not run.
pub(crate) const INDEXER_LOOKS_MAX: u32 = 100;
/// After a failure of the index, how long until it is tried again; twice as long after each further one. Each attempt
/// may read and write as much as the one that failed.
pub(crate) const INDEX_RETRY_MIN: Duration = Duration::from_millis(50);
/// How long at most: so soon after space came back writers go on.
pub(crate) const INDEX_RETRY_MAX: Duration = Duration::from_secs(5);
/// Bytes of what an earlier backup had copied that each further one reads again and checks, and the rest of a segment:
/// a copy that rots is found in turn, and a backup of little that is new stays short.
pub(crate) const BACKUP_CHECK_BYTES: u64 = 64 * MIB as u64;
/// How far the clock may lag behind the last recorded time before that is logged: clocks are corrected by less.
pub(crate) const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(5);
/// Bytes of journal that one flush batch of the index sorts in memory: all that the index may lack while a store runs,
/// so that an indexer that lags makes one large table and not several.
pub(crate) const INDEX_FLUSH_BATCH_BYTES_MAX: u64 = 256 * MIB as u64;
/// Streams that are kept in mind although the index has all their events: what saves a look-up there for
/// each append. An entry is about 200 bytes with its name, so these are some 25 MiB.
pub(crate) const IDLE_STREAMS_MAX: usize = 131_072;
/// Segment files held open for reading: few beside the usual bound of 1,024 files for a process.
pub(crate) const READ_HANDLES_MAX: usize = 64;
/// Bytes that a scan of the journal reads at once; a larger frame is read whole. A scan that goes on for long reads
/// `READ_AHEAD_CHUNK_BYTES`.
pub(crate) const SCAN_CHUNK_BYTES: usize = 256 * KIB;
/// Bytes of frames after which a read of everything has a thread read ahead: what is shorter is read sooner
/// without. A million events of 300 bytes: 7.9 to 10.1 million a second instead of 6.9.
pub(crate) const READ_AHEAD_AFTER_BYTES: usize = 2 * MIB;
/// Target size of a readahead batch: one with as many bytes of frames takes no further frame. A batch is handed over
/// at once, so that the threads meet seldom.
pub(crate) const READ_AHEAD_BATCH_BYTES: usize = 256 * KIB;
/// Bytes that reading ahead reads at once. A disk that is read cold gave 0.9 GB a second in reads of 256 KiB and 1.6 in
/// reads of 1 MiB.
pub(crate) const READ_AHEAD_CHUNK_BYTES: usize = MIB;
/// Batches that are read ahead and wait: a MiB of frames, if none is larger than a batch.
pub(crate) const READ_AHEAD_BATCHES_MAX: usize = 4;
/// Bytes of journal between two entries of the sparse index: what a read by position reads too much, at most, and one
/// small insert into sled for each.
pub(crate) const GLOBAL_STEP_BYTES: u64 = 64 * KIB as u64;
/// Bytes of an event that the index holds a second time; a longer one is a reference into the journal. A stream of such
/// events is read with one more read of the disk for each, and their payloads are on disk once.
pub(crate) const TABLE_INLINE_BYTES_MAX: usize = 4 * KIB;
/// Bytes of events, compressed and decompressed together, after which no further stream begins in an event block of
/// a table. To decompress 4 KiB takes 1.3 µs, 8 KiB 3.5 µs, and 8 KiB are 3 % shorter on disk.
pub(crate) const TABLE_EVENT_BLOCK_BYTES_MIN: usize = 4 * KIB;
/// Bytes of events after which an event block ends even within a stream. So most streams are in one block: streams of
/// 20 are read at 1,850,000 events a second, and were at 1,370,000 when all blocks were of 4 KiB (docs/decisions/0008).
pub(crate) const TABLE_EVENT_BLOCK_BYTES_MAX: usize = 8 * KIB;
/// Target size of an index block of a table: one that has as many bytes takes no further key run. Each is one insert
/// into sled, of 7 to 14 µs, and is read and searched as a whole by a look-up.
pub(crate) const TABLE_INDEX_BLOCK_BYTES: usize = 2 * KIB;
/// Places in which event blocks of tables are noted as they are read, to be recognised when they are read again: the
/// last two in each, at 16 bytes. Enough for a cache of 512 MiB; without a bound, a `cache_bytes` that is as large as
/// can be aborted the process.
pub(crate) const EVENT_BLOCKS_NOTED_MAX: u64 = 65_536;
/// Event types that a table notes, with where its events of each begin and end, so that a condition on a type skips the
/// table. A table with more notes none; its footer, which is held in memory, then takes no more than 300 KiB for them.
pub(crate) const TABLE_EVENT_TYPES_MAX: usize = 1_024;
/// Bytes of a table that are written between two syncs, so that a commit's sync beside it stays short: it waits for the
/// one that is under way.
pub(crate) const TABLE_SYNC_BYTES: usize = 4 * MIB;
/// Neighbouring tables of one level that are compacted at once into one of the next, at most. Each event is written
/// once more for each level: more tables at once are fewer levels, and more tables to ask for a stream until then.
pub(crate) const TABLES_COMPACTED: usize = 8;
/// Tables of one level from which on they are compacted, when nobody writes. With 8, the seven tables of 2 million
/// events stayed, and streams of 20 were read at 385,000 events a second instead of 1,350,000 (docs/decisions/0008).
pub(crate) const TABLES_COMPACTED_IDLE: usize = TABLES_COMPACTED / 2;
/// Tables of one level from which on `TABLES_COMPACTED` are compacted although writers are busy. Compacting took a core
/// and the disk from a busy writer, so it mostly waits for a pause.
pub(crate) const TABLES_COMPACTED_BUSY: usize = 2 * TABLES_COMPACTED;
/// Number of tables from which on compacting them goes before ingesting more: each is a file that is held open. Without
/// this bound a journal of 256 GiB reached the usual 1,024 files of a process while its index was built again.
pub(crate) const TABLES_MAX: usize = 64;
/// Bytes of events that are compacted before the indexer looks whether there is something else to do: closing a store
/// and a writer that waits for room wait for one step at most.
pub(crate) const COMPACT_STEP_BYTES: usize = 4 * MIB;
/// Bytes of any other value in the index; a larger one is cut into pieces of this size. What one write may add to
/// sled's log follows from it (`kv::sync_policy`).
pub(crate) const VALUE_BYTES_MAX: usize = 4 * KIB;
/// Bytes of keys and values that sled may hold unsynced: docs/decisions/0005.
pub(crate) const SLED_UNSYNCED_BYTES_MAX: u64 = 512 * KIB as u64;
/// Bytes of a segment of sled's log. sled keeps a node of its trees that is larger than a quarter
/// of it in a file of its own, which it never syncs; none of ours is. With longer ones the smallest store would grow:
/// docs/decisions/0005.
pub(crate) const SLED_SEGMENT_BYTES: usize = 2 * MIB;
/// Events that one page of a stream read locates at once: what a reader holds in memory, and reads in vain at most if
/// it stops early.
pub(crate) const STREAM_PAGE_EVENTS: usize = 256;
/// Aggregates that one repository caches the state of, unless it is told otherwise. Their size is the application's, so
/// it is a count: with states of 1 KiB, 8 MiB. Commands that use more aggregates in turn than are cached read their
/// streams: placing an order on streams of 300 events went from 6,000 to 1,400 a second.
pub(crate) const CACHED_AGGREGATES_DEFAULT: usize = 8_192;
/// Instances that one process remembers the state of, in the same way. Each of them is asked again for each of its
/// events and effects.
pub(crate) const CACHED_INSTANCES_MAX: usize = 4_096;
/// Lanes of one process, unless its builder says otherwise: docs/decisions/0018. Beside 64 writing threads, 16 lanes
/// got a quarter of what those placed done, and 64 lanes all of it.
pub(crate) const LANES_DEFAULT: usize = 64;
/// Lanes of one process at most; each is a thread.
pub const LANES_MAX: usize = 64;
/// Instances of one process that have something to do, or are tried again; beyond it, nothing more is ingested. It
/// bounds memory when effects are slower than events come.
pub(crate) const INSTANCES_ACTIVE_MAX: usize = 1_024;
/// Events that wait in memory for one instance, whose effects are to be done first; further ones are read again later.
pub(crate) const INSTANCE_WAITING_MAX: usize = 128;
/// Bytes of payloads of the events that wait in memory for all instances of one process; beyond it, an event that has
/// to wait is read again later.
pub(crate) const INSTANCES_WAITING_BYTES_MAX: usize = 16 * MIB;
/// Bytes of events from which on a process's reactions become a commit, though the batch of events is not done. One
/// reaction may be larger.
pub(crate) const REACTIONS_BYTES_MIN: usize = GROUP_BYTES_MAX;
/// Events of reactions from which on they become a commit.
pub(crate) const REACTIONS_EVENTS_MIN: usize = 8_192;
/// Events of one reaction, or of what one effect returns: with what was decided before them, they are still one commit.
pub(crate) const REACTION_EVENTS_MAX: usize = COMMIT_EVENTS_MAX - REACTIONS_EVENTS_MIN;
/// Bytes of the same events, as they are encoded.
pub(crate) const REACTION_BYTES_MAX: usize = COMMIT_BYTES_MAX - REACTIONS_BYTES_MIN;
/// Instances whose records in the journal may lag behind, because having their steps again does no harm; beyond it,
/// they are written.
pub(crate) const INSTANCES_UNWRITTEN_MAX: usize = 512;
/// Deadlines of one process that are held in memory: the nearest ones, some 100 bytes each. When they have passed, all
/// are looked through in the records for the next ones.
pub(crate) const DEADLINES_HELD_MAX: usize = 16_384;
/// Instances and single steps of one process that may be parked together; beyond it, the process stops instead. Each is
/// kept in memory by its name, and in the records with its error. As many events that were skipped are remembered at
/// most, for instances that will read them again.
pub(crate) const PROCESS_PARKED_MAX: usize = 16_384;
/// Bytes of UTF-8 of the error that is kept of a parked step.
pub(crate) const PARKED_ERROR_BYTES_MAX: usize = 1_024;
/// Records that a walk over all with a prefix reads from the index at once.
pub(crate) const RECORDS_PAGE: usize = 1_024;
/// Command ids that one repository remembers, of all its aggregates: about 48 bytes each, 12 MiB in all.
pub(crate) const CACHED_COMMAND_IDS_MAX: usize = 262_144;
/// Aggregates of one repository whose states wait to be written as snapshots; beyond it a snapshot is skipped.
pub(crate) const SNAPSHOTS_WAITING_MAX: usize = 16;
/// Snapshots that are kept of a stream: if the newest cannot be read, or is of a history that was given up, the one
/// before it is used.
pub(crate) const SNAPSHOTS_KEPT: usize = 2;
/// How long a cached state is waited for while another thread clones it; then it is made from the stream. To clone is
/// the application's code, and may ask for the same state.
pub(crate) const CACHED_STATE_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a command waits for its turn on an aggregate while nobody gets it: one that waits for another thread, which
/// waits for its turn, is late, not stuck.
pub(crate) const TURN_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often a command decides again after a conflict, unless its repository says otherwise.
pub(crate) const COMMAND_RETRIES_DEFAULT: u32 = 3;
/// The longest of the random waits before the first such retry; twice as long before each further one.
pub(crate) const COMMAND_RETRY_MIN: Duration = Duration::from_millis(1);
/// The longest of these waits.
pub(crate) const COMMAND_RETRY_MAX: Duration = Duration::from_millis(100);
/// How often an instance of a process is asked again because somebody else has written to its stream. Nobody else is
/// meant to, so as many conflicts in a row are a mistake of the application's.
pub(crate) const REACTION_CONFLICTS_MAX: u32 = 100;
/// Steps that one stored event may take through `upcast`; more are taken for a circle.
pub(crate) const UPCASTS_MAX: usize = 1_024;
/// Arrays and objects within each other in JSON: serde_json reads no more.
pub(crate) const JSON_NESTING_MAX: usize = 127;
/// Events from which on a feed's batch takes no further frame: a view is written, and a thread that feeds is asked
/// whether to stop, after each batch.
pub(crate) const FEED_BATCH_EVENTS_MIN: usize = 512;
/// Bytes of frames from which on a feed's batch takes no further one: what bounds it when events are large.
pub(crate) const FEED_BATCH_BYTES_MIN: usize = MIB;
/// Bytes of the file that says what the views were when they were closed; it is left out if it would be larger.
pub(crate) const VIEWS_NOTE_BYTES_MAX: u64 = MIB as u64;
/// Bytes of UTF-8 in the key of a view's row.
pub const VIEW_KEY_BYTES_MAX: usize = 1_024;
/// Bytes of a view's row.
pub const VIEW_ROW_BYTES_MAX: usize = 16 * MIB;
/// Indexes of a view: each entry of a row is written with the row.
pub const VIEW_INDEXES_MAX: usize = 16;
/// Bytes of UTF-8 in the name of a view's index. It is part of each entry's key.
pub const VIEW_INDEX_NAME_BYTES_MAX: usize = 32;
/// Bytes of an entry in a view's index: the index's name, the secondary key, in which a NUL counts twice, and the
/// row's key. With what holds them apart they are one key of sled's.
pub const VIEW_ENTRY_BYTES_MAX: usize = 1_084;
/// Bytes of all entries of a row, without its key: they are listed beside the row in one value of sled's. The
/// 5 bytes which separate each from the next count too.
pub const VIEW_ENTRIES_BYTES_MAX: usize = 4 * KIB;
/// Bytes of rows, and of what memory they take besides, that folding a view as of an earlier moment may hold, unless
/// its builder says otherwise: about a million short rows.
pub(crate) const PAST_VIEW_BYTES_MAX: usize = 256 * MIB;
/// Streams that are read side by side, for a filter that selects so few of the log's events that the log is not read.
/// Each has a page in memory, of `STREAM_PAGE_EVENTS`.
pub(crate) const SELECTED_STREAMS_MAX: usize = 64;
/// Bytes of changes to a served view from which on they are written at the next end of a commit, and with twice as
/// many within one.
pub(crate) const VIEW_CHANGES_BYTES_MIN: usize = 256 * KIB;
/// How long changes to a served view that lags behind may wait for those of further events.
pub(crate) const VIEW_HELD_MAX: Duration = Duration::from_millis(50);
/// Bytes of changes that a view which is being built again holds until it writes them: a row that changes
/// often is then written once: 758,000 events a second instead of 224,000 (docs/decisions/0009).
pub(crate) const VIEW_BUILD_BYTES_MAX: usize = 32 * MIB;
/// Events after which a view that is being built again is written all the same: what a crash costs.
pub(crate) const VIEW_BUILD_EVENTS_MAX: u64 = 1_000_000;
/// Changes that a view which is being built again writes in one batch of sled's, which others that write wait for.
pub(crate) const VIEW_BUILD_CHANGES_MAX: usize = 4_096;
/// Rows that an iterator over a view reads at once, and holds: nothing is written to the view meanwhile.
pub(crate) const VIEW_PAGE_ROWS_MAX: u64 = 512;
/// Bytes of rows from which on such a page takes no further one.
pub(crate) const VIEW_PAGE_BYTES_MIN: usize = 256 * KIB;
/// Events that a view may be past its written checkpoint if it wanted none of them, and a process
/// past its cursor in the journal if they led to nothing.
pub(crate) const CHECKPOINT_EVENTS_MAX: u64 = 4_096;
/// Events that a rebuilt view may lag behind the log when it takes the place of the old one.
pub(crate) const VIEW_SWAP_EVENTS_MAX: u64 = 64;
/// Parked events that a replay tries between two batches of new ones: the projection must not fall behind for a long
/// replay. A row that many of them change is written once.
pub(crate) const REPLAY_EVENTS_MAX: usize = 16_384;
/// Parked events of one entry in a view: they are removed, or written again, together.
pub(crate) const PARKED_RUN_EVENTS_MAX: usize = 256;
/// Entries of parked events that are read from a view at once, or discarded: up to 8,192 events.
pub(crate) const PARKED_PAGE: usize = 32;
/// How long a replay tries at most between two batches of new events.
pub(crate) const REPLAY_TIME_MAX: Duration = Duration::from_millis(100);
/// How long a change with a waiting caller waits until nobody reads the view.
pub(crate) const VIEW_READERS_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a reader of a view or model lets a change go first that waits for other readers: without it, readers that
/// overlap would keep the change from ever being made. It is a courtesy, and ends by itself.
pub(crate) const CHANGE_COURTESY_MAX: Duration = Duration::from_secs(1);
/// How long a change waits for readers before it looks whether it is still wanted.
pub(crate) const CHANGE_LOOK: Duration = Duration::from_millis(5);
/// How long code that is called by the engine waits for another thread of the engine, which may wait for it: two
/// callbacks that cross get an error.
pub(crate) const CROSSED_WAIT_MAX: Duration = Duration::from_secs(5);
/// Requests that wait for one thread of the engine; beyond it, callers wait to ask.
pub(crate) const REQUESTS_WAITING_MAX: usize = 16;
/// Rows that emptying a view removes before others have a turn.
pub(crate) const VIEW_ROWS_REMOVED_AT_ONCE: usize = 512;
/// The wait after a failure of the store that may pass by itself (a full disk, a time-out), before a projection or
/// process tries again; twice as long after each further one.
pub(crate) const RECOVERY_WAIT_MIN: Duration = Duration::from_millis(100);
/// How long at most: so soon after space came back it goes on.
pub(crate) const RECOVERY_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest wait between two tries of an event that the application's code cannot handle.
pub(crate) const RETRY_WAIT_MAX: Duration = Duration::from_secs(60);
/// Threads of one command bus, unless its builder says otherwise: most of them wait for an `fdatasync`, which they
/// share. Measured by `cargo bench --bench commands`, `bus, by workers`.
pub(crate) const BUS_WORKERS_DEFAULT: usize = 16;
/// Threads of one command bus at most.
pub(crate) const BUS_WORKERS_MAX: usize = 1_024;
/// Commands that may wait for one worker of a bus, unless its builder says otherwise.
pub(crate) const BUS_QUEUE_DEFAULT: usize = 1_024;
/// Commands that may wait for one worker of a bus at most.
pub(crate) const BUS_QUEUE_MAX: usize = 1_048_576;
/// How long something waits for a time without a look at the clock, which may have been set.
pub(crate) const CLOCK_LOOK_MAX: Duration = Duration::from_secs(60);
/// Events that a feed which wants none of them lets pass at most before its follower notes how far it has come: what is
/// read again after a close or a crash, in exchange for a wake-up and a write. It begins with `CHECKPOINT_EVENTS_MAX`,
/// and doubles. For 200 projections beside 64 writers at 109,000 events a second, the notes take a tenth of the rate.
pub(crate) const FEED_ASLEEP_EVENTS_MAX: u64 = 65_536;
/// Events that a relay has sent and that are not confirmed, unless its builder says otherwise. What a broker's group
/// commit takes together; a longer window is more to send again after an outage.
pub(crate) const RELAY_WINDOW_EVENTS_DEFAULT: usize = 1_024;
/// Such events at most: some 16 bytes each.
pub(crate) const RELAY_WINDOW_EVENTS_MAX: usize = 65_536;
/// Bytes of the payloads of such events; one larger event is sent alone. A target may hold as many until they are
/// confirmed.
pub(crate) const RELAY_WINDOW_BYTES_MAX: usize = 2 * EVENT_BYTES_MAX;
/// How long a relay waits for the next confirmation until it opens its target again. That asks the target what it has,
/// so it is of no harm if the confirmation was only slow.
pub(crate) const RELAY_CONFIRM_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a relay that has failed, and now has nothing to send, waits until it looks whether it is at the head.
pub(crate) const RELAY_IDLE_LOOK: Duration = Duration::from_millis(100);
/// Batches that a feed reads ahead of its taker: one is applied, and the next is there when that is done.
pub(crate) const FEED_BATCHES_WAITING_MAX: usize = 2;

/// Events that a subscription reads ahead of its consumer, or that a consumer group holds
/// unfinished, unless its builder says otherwise.
pub(crate) const SUBSCRIPTION_BUFFER_DEFAULT: usize = 1_024;
/// Events that a subscription may read ahead of its consumer, or a consumer group hold unfinished.
pub const SUBSCRIPTION_BUFFER_MAX: usize = 65_536;
/// Events that a subscription which lags reads at once on its consumer's thread, beside what is in its buffer.
pub(crate) const SUBSCRIPTION_STEP_EVENTS_MAX: usize = 256;
/// Bytes of unfinished events' payloads from which on a consumer group reads no further ones.
pub(crate) const GROUP_UNFINISHED_BYTES_MAX: usize = 16 * MIB;
/// Events that a group's cursor may be past its written one if the group wanted none of them.
pub(crate) const GROUP_CURSOR_EVENTS_MAX: u64 = 65_536;
/// Bytes up to which a group's record is always written whole. A longer one stays, and parts beside it say what has
/// changed: 4,096 acknowledgements in a random order write 103 bytes each, in place of up to 20 KB.
pub(crate) const GROUP_WHOLE_BYTES_MAX: usize = 256;
/// Parts that a group's record may have beside the whole one: opening the group reads them all.
pub(crate) const GROUP_PARTS_MAX: u64 = 4_096;
/// Parked events that one commit moves: when the consumers of a large buffer are gone, all of it is parked at once.
pub(crate) const PARKED_MOVED_MAX: usize = 4_096;
/// How long a consumer of a group may take for an event, unless the group's builder says otherwise.
pub(crate) const REDELIVER_AFTER_DEFAULT: Duration = Duration::from_secs(30);
/// How often an event is delivered to a group before it is parked, unless its builder says otherwise.
pub(crate) const DELIVERIES_DEFAULT: u32 = 10;
/// Streams that one page of a listing reads from the index.
pub(crate) const STREAMS_PAGE: usize = 512;
/// Bytes of its cache that sled asks for at least: it refuses to open with fewer.
pub(crate) const SLED_CACHE_BYTES_MIN: u64 = 256;
/// Bytes that an index may keep of what it read, half of them in sled, unless the store's builder says otherwise. The
/// comparison gives every engine as many.
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
/// Bytes of what a copy knows of the streams whose versions are others in it: about two million streams.
pub(crate) const COPY_STREAMS_BYTES_MAX: usize = 256 * MIB;
/// Bytes of the newest state of consumer groups and processes that a copy holds, to translate the positions in it. It
/// holds up to six times as much to know where these have come to.
pub(crate) const COPY_STATE_BYTES_MAX: usize = 32 * MIB;
/// Bytes of journal between two reports of a long walk's progress.
pub(crate) const PROGRESS_BYTES: u64 = MIB as u64;
/// Bytes of journal between two log events of a long walk's progress.
pub(crate) const PROGRESS_LOG_BYTES: u64 = 64 * MIB as u64;
/// How often a follower in another process looks at the durable watermark, unless its builder says otherwise.
pub(crate) const FOLLOWER_POLL: Duration = Duration::from_millis(10);
/// Bytes of frames that a replica takes from its source at once, and syncs together; a single longer frame is taken by
/// itself. Large enough that catching up does not wait for the disk at each commit. The value was not measured.
pub(crate) const REPLICA_BATCH_BYTES: usize = 4 * MIB;
/// How long a replica's thread waits for its source at a time. A store that is closed waits for it.
pub(crate) const REPLICA_WAIT: Duration = Duration::from_millis(100);
/// The first pause of a replica whose source cannot be read. Each further one is twice as long.
pub(crate) const REPLICA_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest of these pauses.
pub(crate) const REPLICA_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Segments without a frame that a replica begins for one frame. Its source has one where a frame found no room on a
/// full disk, and the next frame was longer. More are a sign that the frame is not what it says.
pub(crate) const EMPTY_SEGMENTS_SHIPPED_MAX: u64 = 16;
/// Bytes of index blocks and event blocks that a follower keeps of the store's index.
pub(crate) const FOLLOWER_CACHE_BYTES: u64 = 16 * MIB as u64;
/// Streams that a follower's listing takes at once from what the store's index lacks. For each such part, that is read
/// once more.
pub(crate) const FOLLOWER_NAMES_MAX: usize = 65_536;
/// How long a follower takes a torn durable watermark, whose bytes stay the same, for one that is just being written.
/// Writing its 60 bytes takes the system a few microseconds.
pub(crate) const TORN_WATERMARK_MAX: Duration = Duration::from_secs(1);
/// How long opening a follower waits before it looks again at a torn durable watermark.
pub(crate) const TORN_WATERMARK_PAUSE: Duration = Duration::from_millis(1);
/// How often what another process or thread may be replacing at the moment (the durable watermark, a row in pieces) is
/// read again until it counts as damaged: each attempt meets another replacement only by chance.
pub(crate) const READ_AGAIN_MAX: u32 = 16;
/// How often a lock is tried again whose file or directory was replaced in between, or another scratch directory is
/// made whose predecessor somebody took for abandoned.
pub(crate) const LOCK_ATTEMPTS: u32 = 16;
/// How long to wait at once for sled's own threads to let go of a database that was closed.
pub(crate) const SLED_RELEASE_WAIT: Duration = Duration::from_millis(100);
/// How many such waits in a row are in vain at most: 10 s, not counting the time in which the process as a whole
/// does not run.
pub(crate) const SLED_RELEASE_WAITS_MAX: u32 = 100;
/// How long a tested process may take to come to rest.
pub(crate) const TESTED_PROCESS_WAIT_MAX: Duration = Duration::from_secs(60);

/// Bytes of the longest segment that there can be: one that holds a single commit of the largest size,
/// with room to spare. A header that claims more is damaged.
pub(crate) const SEGMENT_LENGTH_MAX: u64 = 4 * SEGMENT_BYTES;
/// Copies of torn writes that are kept; each is as long as a frame.
pub(crate) const TORN_COPIES_MAX: usize = 16;
/// Bytes of an index's checkpoint, of any version.
pub(crate) const CHECKPOINT_BYTES_MAX: u64 = 64 * KIB as u64;
/// Bytes of a manifest, of any version.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 * KIB as u64;
/// Bytes that a file may be longer than what it occupies, whatever it occupies: no length is believed that a sparse
/// file claims.
pub(crate) const HOLES_BYTES_MAX: u64 = 256 * MIB as u64;
/// How many times longer than what it occupies a file may be beyond that: a filesystem may compress it.
pub(crate) const HOLES_TIMES_MAX: u64 = 64;
/// Bytes of the note of where a backup's next check begins.
pub(crate) const BACKUP_NOTE_BYTES_MAX: u64 = 4 * KIB as u64;
/// Bytes that a lenient scan reads in one segment to tell frames from what only looks like them: a payload full of
/// headers must not take the square of its length.
pub(crate) const DOUBT_BYTES_MAX: u64 = 4 * SEGMENT_LENGTH_MAX;
/// Bytes that a lenient scan gives up together where the disk does not read: a page.
pub(crate) const UNREADABLE_BYTES: usize = 4 * KIB;
/// Bytes of a record of the engine's own when it is decoded: nothing of ours is larger than the largest event's
/// metadata.
pub(crate) const RECORD_BYTES_MAX: usize = 2 * EVENT_BYTES_MAX;
/// Damaged indexes or views that are kept beside the store, for a look at what was wrong.
pub(crate) const QUARANTINE_KEPT: usize = 2;
/// Earlier damaged indexes or views that are looked at again when another one is quarantined.
pub(crate) const QUARANTINE_REMOVED_MAX: usize = 16;
/// Events that a search for causes reads in each of its two directions: some tenths of a second, so that a page that
/// shows an event's causes answers.
pub(crate) const CAUSATION_EVENTS_READ_MAX: u64 = 1_000_000;
/// Causes and effects that such a search returns: some MiB, for each has the name of its stream.
pub(crate) const CAUSATION_EVENTS_MAX: usize = 10_000;
/// How far from the time in its id an event is looked for before everything is read: clocks of the machines that make
/// ids differ by less, and an event is recorded soon after it is made.
pub(crate) const CAUSATION_CLOCK_SLACK: Duration = Duration::from_secs(60);
/// Traces that the span of one batch of a projection is linked to. OpenTelemetry allows 128 links of a span.
pub(crate) const TRACE_LINKS_MAX: usize = 32;
#[cfg(feature = "erasure")]
/// Bytes of UTF-8 in the name of a data subject.
pub const SUBJECT_BYTES_MAX: usize = 256;
#[cfg(feature = "erasure")]
/// Keys that are asked for at once to be destroyed when a store is opened.
pub(crate) const FORGOTTEN_PAGE: usize = 1_024;
#[cfg(feature = "erasure")]
/// Bytes of the list of forgotten keys that a follower reads at once.
pub(crate) const FORGOTTEN_READ_BYTES: usize = 20 << 12;
#[cfg(feature = "erasure")]
/// Keys of which the store remembers whether their subjects were forgotten. Each takes some 40 bytes of memory; for
/// another one it looks among the journal's records.
pub(crate) const KEYS_REMEMBERED_MAX: usize = 16_384;
#[cfg(feature = "erasure")]
/// Keys that a data subject may have at a time: the current one, and those that it had before a rotation. All slots of
/// a subject are on one way through a bucket of the key ring, which others share.
pub const SUBJECT_KEYS_MAX: usize = 64;
#[cfg(feature = "erasure")]
/// Keys of a key ring in memory, by their ids, and as many current ones by their subjects: some 10 MiB together. One
/// that is not there is read from its bucket, in some microseconds.
pub(crate) const KEYS_CACHED_MAX: usize = 16_384;
#[cfg(feature = "erasure")]
/// Levels of a bucket of the key ring, each with twice as many pages as the one before it: a bucket has 64 MiB at most,
/// and its ring room for some hundred million subjects.
pub(crate) const KEY_LEVELS_MAX: u32 = 14;

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
// A leader goes on only where callers wait.
const _: () = assert!(GO_ON_WAITING_MIN > 0);
const _: () = assert!(SEGMENT_BYTES_FIRST <= SEGMENT_BYTES);
// A single event may be as long as any.
const _: () = assert!(EVENT_BYTES_MAX < REACTION_BYTES_MAX);
const _: () = assert!(LANES_DEFAULT <= LANES_MAX);
const _: () = assert!(GROUP_BYTES_MAX as u64 * 4 <= SEGMENT_BYTES);
// Frame lengths and offsets in a frame are 32-bit.
const _: () = assert!(COMMIT_BYTES_MAX + GROUP_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(EVENT_TYPE_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(STREAM_NAME_BYTES_MAX <= u16::MAX as usize);
