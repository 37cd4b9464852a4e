//! The global sequence as a stream.

use crate::aio::paged::Paged;
use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::log::read::all_pages::{AllPage, AllPages};
use crate::store::ReadAll;
use crate::store::reads::KeepOpen;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A [`Stream`] of the events of the global sequence; see [`ReadAll::stream`].
///
/// The pool of the store reads pages of frames, each of about 1 MiB or one longer frame, with one page read ahead; the
/// task decodes the events. The stream reads nothing before the first poll, keeps the store open, and ends after an
/// error. You can drop it at any time, which releases the pages that it has read. It is [`Unpin`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct Events {
    log: Arc<Log>,
    pages: Paged<AllPage>,
    page: Option<AllPage>,
    filter: Filter,
    limit: u64,
}

impl ReadAll {
    /// Returns the events as a stream that reads on the pool of the store, for tasks, instead of
    /// [`iter`](ReadAll::iter). An error of starting the read is the first item. Events that become durable after the
    /// first poll are not included.
    pub fn stream(self) -> Events {
        let log: LogHandle = self.log().clone();
        let (filter, limit) = self.selection();
        let its_log = Arc::clone(log.log());
        let pages = Paged::one_by_one(log, move || {
            let range = self.range()?;
            Ok(KeepOpen::new(AllPages::new(its_log, range), self.log().clone()))
        });
        let log = Arc::clone(pages.log());
        Events { log, pages, page: None, filter, limit }
    }
}

impl Stream for Events {
    type Item = Result<RecordedEvent>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Events { log, pages, page, filter, limit } = self.get_mut();
        loop {
            if *limit == 0 {
                return Poll::Ready(None);
            }
            if let Some(events) = page {
                // Not taken apart, so that it is built in its place.
                let event = events.next(&log.journal, filter);
                if event.is_some() {
                    let has_failed = matches!(event, Some(Err(_)));
                    *limit = if has_failed { 0 } else { *limit - 1 };
                    return Poll::Ready(event);
                }
                *page = None;
            }
            match ready!(Pin::new(&mut *pages).poll_next(context)) {
                Some(Ok(next)) => *page = Some(next),
                Some(Err(error)) => {
                    *limit = 0;
                    return Poll::Ready(Some(Err(error)));
                }
                None => *limit = 0,
            }
        }
    }
}
