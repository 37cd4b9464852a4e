//! The files of the journal: how the store grew.

use crate::journal::extent::SegmentInfo;
use crate::store::Store;
use crate::value::error::Result;

impl Store {
    /// Returns the files of the journal, the oldest first: how the store grew, in events and in bytes.
    ///
    /// A file of a large store has 64 MiB, so it says when each 64 MiB were full. Nothing is read: what the files say
    /// of themselves is in memory while a store is open.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::temporary()?;
    /// for _ in 0..3 {
    ///     let event = NewEvent::bytes("Written", vec![7; 700_000]);
    ///     store.append("Door-1", ExpectedVersion::Any, [event])?;
    /// }
    /// let segments = store.segments()?;
    /// assert_eq!(segments.iter().map(|it| it.first_position.get()).collect::<Vec<_>>(), [1, 2]);
    /// assert!(segments[0].begun_after.is_none() && segments[1].begun_after.is_some());
    /// assert!(segments.iter().map(|it| it.bytes).sum::<u64>() > 2_100_000);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        Ok(log.journal.extents(log.head.visible().1))
    }
}
