//! The engine's synchronisation under schedules that a checker (shuttle) chooses: the commit queue's hand-over
//! (`log::commit::queue`), the wake-up of subscriptions (`log::tail::head`), and the signals between indexer and
//! writers (`log::indexer::signal`).
//!
//! The files are the engine's own. This crate defines the few other items that they need besides locks. A lost
//! wake-up is a deadlock here, which the checker finds.

#![cfg(test)]
#![allow(dead_code, reason = "the models use a part of each file")]

#[path = "../../../src/value"]
mod value {
    pub(crate) mod error;
    pub(crate) mod failpoint;
    pub(crate) mod limits;

    pub(crate) mod clock {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct Micros(pub(crate) i64);
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
        pub(crate) mod queue;
    }
    pub(crate) mod indexer {
        pub(crate) mod signal;
    }
    pub(crate) mod tail {
        pub(crate) mod head;
    }
}

mod head;
mod indexer;
mod queue;

/// How many schedules each model runs under, in each of the checker's two modes.
const SCHEDULES: usize = 2_000;

/// Runs `model` under random schedules, and under schedules with a few unlikely switches.
fn check(model: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(model.clone(), SCHEDULES);
    shuttle::check_pct(model, SCHEDULES, 3);
    let name = std::thread::current().name().unwrap_or("model").replace("::", ", ");
    println!("figures: {name}: {} schedules", 2 * SCHEDULES);
}
