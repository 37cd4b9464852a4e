//! Following the log: what was recorded, then what is, on one delivery path.

pub(crate) mod feed;
pub(crate) mod follower;
pub(crate) mod group;
pub(crate) mod parked;
pub(crate) mod stopper;
pub(crate) mod subscription;
