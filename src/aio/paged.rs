//! A stream over what an iterator reads, page by page, on the pool.
//!
//! * The iterator is on the pool while a page is read, and here between two pages. A page is read ahead while the one
//!   before is taken, once more than the first one was wanted.
//! * Nothing is read before the first poll. Dropped, it reads no further page.

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

/// What a stream takes from: an iterator that may block.
type Items<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// A page, and the iterator, unless that was its last one.
type Page<T> = (VecDeque<Result<T>>, Option<Items<T>>);

/// A [`Stream`] of what is read page by page, on threads of the store; see [`aio`](crate::aio).
///
/// It reads nothing before it is polled, holds at most two pages, keeps the store open, and ends after an error. Drop
/// it at any time: that releases what it has read. It is [`Unpin`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct Paged<T> {
    open: LogHandle,
    page: VecDeque<Result<T>>,
    next: Next<T>,
    /// How many items the next page may have, and every page.
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
    /// The items that `begin` begins to read; `bytes` says how much memory one takes.
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

    /// Items that are pages themselves: one at a time is read.
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

    /// Has the next page read, unless it is, or there is none.
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

/// Nothing of it is pinned.
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
    /// Takes the page that is being read, when it is there.
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
                // Asks for it; the task comes for it when it has taken this one.
                let _ = self.poll_page(context);
            }
        }
    }
}
