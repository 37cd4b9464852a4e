//! The async face of a store (feature `async`): the same nouns and methods, for tasks instead of threads.
//!
//! [`Store::aio`](crate::Store::aio) gives an [`aio::Store`](Store), and back it goes by [`sync`](Store::sync). What
//! the synchronous API returns has an `aio` method where a method of it blocks: a repository, a bus, the handles of
//! projections, processes and read models, a consumer group. Builders are the same ones: those of reads end in `stream`
//! instead of `iter`, those of subscriptions and consumers in `into_stream` instead of `start`.
//!
//! It is made of [`Future`](std::future::Future) and `Stream` of the crate `futures-core`, and works under every
//! runtime. None of it needs a timer: for a timeout, wrap the future in your runtime's, and let that drop it.
//!
//! * **A commit takes no thread.** It is encoded on the task that makes it, queued with those of other tasks and
//!   threads, and answered through a waker. The first one starts a thread of the store, which writes when no caller
//!   does.
//! * **Reading, and your code that may be slow** (`decide`, `evolve`, the closure of a transaction, decoding) run on a
//!   pool of the store, of at most 64 threads; reads go page by page. A panic there is
//!   [`Panicked`](crate::ErrorKind::Panicked). What finds no free thread waits, in the order in which it came.
//! * **Waiting takes no thread**: not for a new event, nor for a delivery, nor in `wait_for`.
//!
//! # What dropping a future does
//!
//! | dropped | what has happened |
//! | --- | --- |
//! | before the first poll | nothing |
//! | [`append`](Store::append), [`commit`](Store::commit) | the commit is there whole or not at all |
//! | [`execute`](Repository::execute), [`transact`](Store::transact) | it has not begun, and does not; or it is done as
//! a whole, as if it had been awaited |
//! | a load, a read of a view, any other question | nothing; what is under way is finished and dropped |
//! | a stream of events | it reads no further; a subscription can be continued from its position |
//! | a delivery, or its [`ack`](Delivery::ack) | the delivery comes again, unless the `ack` had begun |
//! | `wait_for` | nobody waits any more |
//! | `pause`, `stop`, `rebuild` and the like | it has not been asked, or it is done as a whole |
//! | [`close`](Store::close) | the store is closed all the same |
//!
//! The store goes on in every case, and holds nothing of what was dropped.
//!
//! # What blocks
//!
//! The methods of the synchronous API block the thread that calls them, as their documentation says, also when a task
//! calls them. Dropping the last handle of a store closes it, and blocks; [`close`](Store::close) does not.

mod bus;
mod committing;
mod consumer;
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
pub use events::Events;
pub use handles::{ProcessHandle, ProjectionHandle, ReadModelHandle, View};
pub use paged::Paged;
pub use repository::Repository;
pub use store::Store;
pub use subscription::Subscription;
