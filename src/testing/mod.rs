//! Building blocks for tests of an application.
//!
//! An aggregate is tested without a store: given some events, when it gets a command, then it decides certain events,
//! or rejects the command.
//!
//! ```
//! use filmstrip::testing::given;
//! # use filmstrip::{Aggregate, Event};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! # enum DoorEvent { Opened, Closed }
//! # impl Event for DoorEvent {}
//! # #[derive(Debug)]
//! # enum DoorCommand { Open, Close }
//! # #[derive(Debug, PartialEq)]
//! # struct AlreadyOpen;
//! # impl std::fmt::Display for AlreadyOpen {
//! #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("open") }
//! # }
//! # impl std::error::Error for AlreadyOpen {}
//! # #[derive(Debug, Default, Clone, PartialEq)]
//! # struct Door { open: bool }
//! # impl Aggregate for Door {
//! #     const CATEGORY: &'static str = "Door";
//! #     type Command = DoorCommand;
//! #     type Event = DoorEvent;
//! #     type Error = AlreadyOpen;
//! #     fn decide(&self, command: &DoorCommand) -> Result<Vec<DoorEvent>, AlreadyOpen> {
//! #         match command {
//! #             DoorCommand::Open if self.open => Err(AlreadyOpen),
//! #             DoorCommand::Open => Ok(vec![DoorEvent::Opened]),
//! #             DoorCommand::Close if self.open => Ok(vec![DoorEvent::Closed]),
//! #             DoorCommand::Close => Ok(vec![]),
//! #         }
//! #     }
//! #     fn evolve(&mut self, event: &DoorEvent) { self.open = *event == DoorEvent::Opened; }
//! # }
//! given::<Door>([DoorEvent::Opened]).when(&DoorCommand::Close).then([DoorEvent::Closed]);
//! given::<Door>([DoorEvent::Opened]).when(&DoorCommand::Open).then_rejected(AlreadyOpen);
//! given::<Door>([]).when(&DoorCommand::Close).then([]).then_state(Door { open: false });
//! ```
//!
//! A decision across streams is tested without a store too ([`given_all`]): given some events of any streams, when it
//! is made, then it decides certain events, or rejects.
//!
//! A projection is tested without a store as well ([`projecting`]): given some events, its view has certain rows. A
//! process manager is tested on a temporary store ([`process`]): given some events, when others happen or time passes,
//! then it records certain events of its own, and its commands lead to certain events.
//!
//! A failure shows a diff of the expected and the actual values, at the line of the test.

mod boundary;
mod clock;
mod decision;
mod diff;
#[cfg(feature = "erasure")]
mod erasure;
mod events;
mod process;
mod recording;
mod view;

pub use boundary::{DecidedAll, GivenAll, given_all};
pub use clock::ManualClock;
pub use decision::{Decided, Given, given};
#[cfg(feature = "erasure")]
pub use erasure::survives_erasure;
pub use events::round_trips;
pub use process::{Process, process};
pub use view::{Projecting, projecting};
