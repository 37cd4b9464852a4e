//! The async API of a store (feature `async`): the same types and methods, for tasks instead of threads.
//!
//! [`Store::aio`](crate::Store::aio) returns an [`aio::Store`](Store), and [`sync`](Store::sync) the synchronous one
//! again. The handles of the synchronous API that have methods which block also have an `aio` method: repositories,
//! buses, consumer groups, and the handles of projections, processes and read models. The builders are the same: those
//! of reads end in `stream` instead of `iter`, those of subscriptions and consumers in `into_stream` instead of
//! `start`.
//!
//! The API consists of [`Future`](std::future::Future)s and of `Stream`s of the crate `futures-core`, and works under
//! every runtime. It uses no timers: for a timeout, wrap the future in your runtime's, which drops it.
//!
//! * **A commit needs no thread.** It is encoded on the task that makes it, queued with those of other tasks and
//!   threads, and its reply wakes the task. The first commit of a task starts a thread of the store, which writes if no
//!   caller does.
//! * **Reads, and your code that may be slow** (`decide`, `evolve`, the closure of a transaction, decoding), run on a
//!   pool of the store, of at most 64 threads; reads go page by page. A panic there is returned as
//!   [`Panicked`](crate::ErrorKind::Panicked). If no thread is free, work waits in order of arrival.
//! * **Waiting needs no thread**: for a new event, for a delivery, or in `wait_for`.
//!
//! # What dropping a future does
//!
//! | dropped | result |
//! | --- | --- |
//! | before the first poll | nothing has happened |
//! | [`append`](Store::append), [`commit`](Store::commit) | the commit is recorded as a whole or not at all |
//! | [`execute`](Repository::execute), [`transact`](Store::transact), [`decide`](Store::decide) | it has not begun, and does not; or it is completed, as if it had been awaited |
//! | a load, a read of a view, any other query | nothing has changed; a read in progress ends, and its result is dropped |
//! | a stream of events | it reads no further; a subscription can be continued from its position |
//! | a delivery, or its [`ack`](Delivery::ack) | the event is delivered again, unless the `ack` had begun |
//! | `wait_for` | the wait ends |
//! | `pause`, `stop`, `rebuild` and the like | it has not begun, and does not; or it is completed |
//! | [`close`](Store::close) | the store is closed all the same |
//!
//! The store goes on in each of these cases, and keeps nothing of a dropped request.
//!
//! # What blocks
//!
//! The methods of the synchronous API block the calling thread, as their documentation says, also when a task calls
//! them. Dropping the last handle of a store closes it, and blocks; [`close`](Store::close) does not.

mod bus;
mod committing;
mod consumer;
mod decision;
mod events;
mod handles;
mod paged;
mod reads;
mod repository;
mod store;
mod subscription;

pub use bus::{Bus, Ticket};
pub use committing::{Appending, Committing};
pub use consumer::{Consumer, Delivery, Group};
pub use decision::DecisionBuilder;
pub use events::Events;
pub use handles::{ProcessHandle, ProjectionHandle, ReadModelHandle, View};
pub use paged::Paged;
pub use repository::Repository;
pub use store::Store;
pub use subscription::Subscription;
