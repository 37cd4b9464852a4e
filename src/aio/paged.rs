//! A stream over the items of an iterator, which runs on the pool page by page.
//!
//! * The iterator is on the pool while a page is read, and here between two pages. After the first page, one page is
//!   read ahead while the one before is consumed.
//! * Nothing is read before the first poll. After it is dropped, it reads no further page.

use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::log::pool::Job;
use crate::value::error::Result;
use crate::value::limits::{
    STREAM_READ_BYTES_MIN, STREAM_READ_EVENTS_FIRST, STREAM_READ_EVENTS_MAX,
};
use futures_core::Stream;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The source of a stream: an iterator that may block.
type Items<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// A page, and the iterator, unless that was its last one.
type Page<T> = (VecDeque<Result<T>>, Option<Items<T>>);

/// A [`Stream`] of items that are read page by page, on threads of the store; see [`aio`](crate::aio).
///
/// It reads nothing before the first poll, holds at most two pages, keeps the store open, and ends after an error. You
/// can drop it at any time, which releases the pages that it has read. It is [`Unpin`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct Paged<T> {
    open: LogHandle,
    page: VecDeque<Result<T>>,
    next: Next<T>,
    /// How many items the next page may have, and any page.
    room: usize,
    room_max: usize,
    has_read: bool,
    bytes: fn(&T) -> usize,
}

enum Next<T> {
    Begin(Box<dyn FnOnce() -> Result<Items<T>> + Send>),
    Items(Items<T>),
    Reading(Job<Page<T>>),
    Ended,
}

impl<T: Send + 'static> Paged<T> {
    /// A stream of the items of the iterator that `begin` returns; `bytes` returns an item's size in memory.
    pub(super) fn new<I>(
        open: LogHandle,
        bytes: fn(&T) -> usize,
        begin: impl FnOnce() -> Result<I> + Send + 'static,
    ) -> Paged<T>
    where
        I: Iterator<Item = Result<T>> + Send + 'static,
    {
        let begin = move || begin().map(|items| Box::new(items) as Items<T>);
        let next = Next::Begin(Box::new(begin));
        let (room, room_max) = (STREAM_READ_EVENTS_FIRST, STREAM_READ_EVENTS_MAX);
        Paged { open, page: VecDeque::new(), next, room, room_max, has_read: false, bytes }
    }

    /// A stream of items that are pages themselves: they are read one at a time.
    pub(super) fn one_by_one<I>(
        open: LogHandle,
        begin: impl FnOnce() -> Result<I> + Send + 'static,
    ) -> Paged<T>
    where
        I: Iterator<Item = Result<T>> + Send + 'static,
    {
        Paged { room: 1, room_max: 1, ..Paged::new(open, |_| 0, begin) }
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        self.open.log()
    }

    /// Requests the next page, unless it was requested or there is none.
    fn read_on(&mut self) {
        let (room, bytes) = (self.room, self.bytes);
        let engine = self.open.engine();
        let read = |work: Box<dyn FnOnce() -> Page<T> + Send>| engine.pool.job(engine.log(), work);
        self.next = match std::mem::replace(&mut self.next, Next::Ended) {
            Next::Begin(begin) => Next::Reading(read(Box::new(move || match begin() {
                Ok(items) => page(items, room, bytes),
                Err(error) => (VecDeque::from([Err(error)]), None),
            }))),
            Next::Items(items) => Next::Reading(read(Box::new(move || page(items, room, bytes)))),
            next => next,
        };
    }
}

/// No field is pinned.
impl<T> Unpin for Paged<T> {}

/// Reads a page.
fn page<T>(mut items: Items<T>, room: usize, bytes: fn(&T) -> usize) -> Page<T> {
    let (mut page, mut held) = (VecDeque::new(), 0);
    while page.len() < room && held < STREAM_READ_BYTES_MIN {
        match items.next() {
            Some(Ok(item)) => {
                held += bytes(&item);
                page.push_back(Ok(item));
            }
            Some(Err(error)) => {
                page.push_back(Err(error));
                return (page, None);
            }
            None => return (page, None),
        }
    }
    (page, Some(items))
}

impl<T: Send + 'static> Paged<T> {
    /// Takes the requested page when it has been read.
    fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Next::Reading(reading) = &mut self.next else { return Poll::Ready(()) };
        match ready!(Pin::new(reading).poll(context)) {
            Ok((page, items)) => {
                self.page.extend(page);
                self.next = items.map_or(Next::Ended, Next::Items);
            }
            Err(error) => {
                self.page.push_back(Err(error));
                self.next = Next::Ended;
            }
        }
        Poll::Ready(())
    }
}

impl<T: Send + 'static> Stream for Paged<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            if let Some(item) = self.page.pop_front() {
                return Poll::Ready(Some(item));
            }
            self.read_on();
            if matches!(self.next, Next::Ended) {
                return Poll::Ready(None);
            }
            ready!(self.poll_page(context));
            self.room = (2 * self.room).min(self.room_max);
            if std::mem::replace(&mut self.has_read, true) {
                self.read_on();
                // Requests it; the task polls for it when it has consumed this one.
                let _ = self.poll_page(context);
            }
        }
    }
}
