//! One service follows the other's store, and ingests each event exactly once.

use filmstrip::follow::Stopper;
use filmstrip::{
    Commit, ExpectedVersion, Filter, HandlerError, NewEvent, RecordedEvent, Store, StreamId,
};
use std::thread::JoinHandle;

/// What an event of another store leads to in this one.
pub(crate) struct Taken {
    pub(crate) stream: StreamId,
    pub(crate) expected: ExpectedVersion,
    pub(crate) events: Vec<NewEvent>,
}

/// A thread that follows a store. It ends with this.
pub(crate) struct Follower {
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

/// Follows the category `of` in `from`. What an event leads to, and how far `from` is ingested, are one commit in `to`:
/// after a crash it continues right after that, and nothing is ingested twice.
pub(crate) fn follow(
    from: &Store,
    of: &str,
    to: &Store,
    take_in: impl Fn(&RecordedEvent) -> Result<Option<Taken>, HandlerError> + Send + 'static,
) -> filmstrip::Result<Follower> {
    let consumer = format!("{of} events");
    let start = to.tracked(&consumer)?;
    let events = from.subscribe().after(start).filter(Filter::category(of)).start()?;
    let (stopper, to) = (events.stopper(), to.clone());
    let thread = std::thread::spawn(move || {
        for event in events {
            let taken = event.map_err(HandlerError::from).and_then(|event| {
                let Some(Taken { stream, expected, events }) = take_in(&event)? else {
                    return Ok(());
                };
                let commit = Commit::new().append(stream, expected, events);
                to.commit(commit.tracking(&consumer, event.position))?;
                Ok(())
            });
            if let Err(error) = taken {
                panic!("following {consumer}: {error}");
            }
        }
    });
    Ok(Follower { stopper, thread: Some(thread) })
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in there has been told where it happened.
            let _ = thread.join();
        }
    }
}
