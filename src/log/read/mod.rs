//! Reads the log: the global sequence, or one stream.
//!
//! Readers take the tail first and the index second; what is in neither does not exist.

pub(crate) mod all;
#[cfg(feature = "async")]
pub(crate) mod all_pages;
pub(crate) mod event_cursor;
pub(crate) mod frame_cursor;
pub(crate) mod frame_events;
pub(crate) mod lag;
pub(crate) mod located;
pub(crate) mod options;
pub(crate) mod posted;
pub(crate) mod postings;
pub(crate) mod readahead;
pub(crate) mod selected;
pub(crate) mod skip;
pub(crate) mod stream;
pub(crate) mod stream_info;
pub(crate) mod tagged;
