//! The integration tests, in one binary: each module is a topic, and says at its head what it shows.
//!
//! `cargo test --test it views::` runs one topic. What cannot share its process with others (it changes the
//! working directory, counts memory, is killed) runs in a process of its own: see [`common::child`].

mod common;

mod append;
mod architecture;
mod backup;
mod bus;
mod callbacks;
mod causation;
mod clock;
mod closing;
mod compatibility;
mod concurrency;
mod conditions;
mod copy;
mod damage;
mod decisions;
mod directory;
#[cfg(feature = "erasure")]
mod erasure;
mod faults;
mod follower;
mod follower_streams;
mod follower_upkeep;
mod git_history;
mod group;
mod health;
mod indexes;
mod kill;
mod linearizability;
#[cfg(feature = "metrics")]
mod metrics_page;
mod model;
mod order_payment;
mod past;
#[cfg(feature = "__internal")]
mod plant;
mod planted;
mod process;
mod projection;
mod read;
mod read_ahead;
mod read_model;
mod relay;
mod repair;
mod replica;
mod repository;
mod rows;
mod spans;
mod subscription;
mod tags;
mod testing;
mod tidy;
mod transaction;
mod verify;
mod views;
