//! The engine's synchronisation under schedules that a checker (shuttle) chooses: the commit queue's hand-over
//! (`log::commit::queue`), the hand-over of queued states between commands on one stream (`log::commit::turns`), the
//! wake-up of followers (`log::tail::head`, `log::tail::sleepers`), how subscriptions join and leave the thread that
//! reads for them (`follow::live`), the signals between indexer and writers (`log::indexer::signal`), and what passes
//! between a process's thread and its lanes (`model::process::lanes`, `model::process::schedule`).
//!
//! The files are the engine's own. This crate defines the few other items that they need besides locks. A lost
//! wake-up is a deadlock here, which the checker finds.

#![cfg(test)]
#![allow(dead_code, reason = "the models use a part of each file")]

#[path = "../../../src/value"]
mod value {
    pub(crate) mod callback;
    pub(crate) mod error;
    pub(crate) mod failpoint;
    pub(crate) mod filter_index;
    pub(crate) mod filter_names;
    pub(crate) mod limits;
    pub(crate) mod shown;
    pub(crate) mod tasks;

    pub(crate) mod position {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
        pub(crate) struct Position(pub(crate) u64);

        impl Position {
            pub(crate) const START: Position = Position(0);

            pub(crate) fn new(position: u64) -> Position {
                Position(position)
            }

            pub(crate) fn get(self) -> u64 {
                self.0
            }
        }
    }

    pub(crate) mod clock {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct Micros(pub(crate) i64);
    }

    pub(crate) mod event {
        #[derive(Debug, Clone)]
        pub(crate) struct RecordedEvent {
            pub(crate) position: super::position::Position,
        }
    }

    pub(crate) mod stream {
        pub(crate) fn category_of(stream: &str) -> &str {
            stream
        }
    }

    pub(crate) mod filter {
        use super::filter_names::{AlternativeNames, FilterNames};

        /// Wants one type, or all.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct Filter(pub(crate) Option<&'static str>);

        impl Filter {
            pub(crate) fn names(&self) -> FilterNames {
                let event_types = self.0.iter().map(ToString::to_string).collect();
                FilterNames(vec![AlternativeNames { event_types, ..AlternativeNames::default() }])
            }

            pub(crate) fn wants(&self, _: &str, event_type: &str) -> bool {
                self.0.is_none_or(|wanted| wanted == event_type)
            }

            pub(crate) fn wants_tagged<'a>(
                &self,
                stream: &str,
                event_type: &str,
                _: impl Iterator<Item = &'a str>,
            ) -> bool {
                self.wants(stream, event_type)
            }
        }
    }
}

mod codec {
    pub(crate) mod frame {
        pub(crate) type Chain = [u8; 32];

        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct Location {
            pub(crate) segment: u64,
            pub(crate) offset: u64,
        }
    }
}

#[path = "../../../src/log"]
mod log {
    pub(crate) mod commit {
        pub(crate) mod promise;
        pub(crate) mod queue;
        pub(crate) mod turns;
    }
    pub(crate) mod indexer {
        pub(crate) mod signal;
    }
    pub(crate) mod tail {
        pub(crate) mod head;
        pub(crate) mod sleepers;
    }

    pub(crate) mod core {
        pub(crate) use crate::live::Log;
    }
}

#[path = "../../../src/follow"]
mod follow {
    pub(crate) mod live {
        pub(crate) mod inbox;
        pub(crate) mod roster;
        pub(crate) mod taking;

        pub(crate) mod reader {
            pub(crate) use crate::live::{Reader, Step};
        }
    }
}

#[path = "../../../src/model"]
mod model {
    pub(crate) mod process {
        pub(crate) mod lanes;
        pub(crate) mod pending;
        pub(crate) mod schedule;
    }
}

mod head;
mod indexer;
mod lanes;
mod live;
mod queue;
mod queue_tasks;
mod sleepers;
mod turns;

/// How many schedules each model runs under, in each of the checker's two modes.
const SCHEDULES: usize = 2_000;

/// Runs `model` under random schedules, and under schedules with a few unlikely switches.
fn check(model: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(model.clone(), SCHEDULES);
    shuttle::check_pct(model, SCHEDULES, 3);
    let name = std::thread::current().name().unwrap_or("model").replace("::", ", ");
    println!("figures: {name}: {} schedules", 2 * SCHEDULES);
}
