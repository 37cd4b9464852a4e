//! Following the events of a store as they are recorded: first the recorded ones, then new ones, on one path.
//!
//! A [`Subscription`] follows in the process that writes; a [`Follower`] reads and follows from another process.
//! A subscription can be shared by the consumers of a [group](crate::group).

pub(crate) mod feed;
pub(crate) mod follower;
pub(crate) mod group;
pub(crate) mod live;
pub(crate) mod open_subscriptions;
pub(crate) mod parked;
pub(crate) mod stopper;
pub(crate) mod subscription;

pub use follower::{Follower, FollowerRead, FollowerReadStream, FollowerStreams, Following};
pub use stopper::Stopper;
pub use subscription::{Subscription, SubscriptionBuilder};
