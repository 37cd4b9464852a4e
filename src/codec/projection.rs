//! The durable state of a projection besides its rows, as bincode.

pub(crate) use crate::codec::bin::{decode, encode};
use crate::codec::frame::Chain;
use serde::{Deserialize, Serialize};

/// Which of a projection's trees are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Generations {
    /// The tree that queries read.
    pub(crate) current: u64,
    /// The tree that is being built to replace it.
    pub(crate) building: Option<u64>,
}

/// How far a view has ingested the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewCheckpoint {
    /// The `VERSION` of the projection that built the view.
    pub(crate) version: u32,
    /// Every event up to here is in the view, parked, or not wanted by the projection.
    pub(crate) position: u64,
}

/// The history that a view was built from: the store, and its journal's chain at the view's position.
/// Older versions did not write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewOrigin {
    /// The store's id.
    pub(crate) store: [u8; 16],
    /// The position of the view's checkpoint.
    pub(crate) position: u64,
    /// The journal's chain after the frame that holds that position; zeros for position 0.
    pub(crate) chain: Chain,
}

/// The indexes that a view has. A view without any does not have this state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewIndexes {
    /// Their names, in order.
    pub(crate) names: Vec<String>,
    /// The position of the view's checkpoint, and how many events are parked. If either is another one, a version of
    /// filmstrip that knows no indexes has applied events, or parked ones, meanwhile.
    pub(crate) position: u64,
    pub(crate) parked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bin::check;

    #[test]
    fn what_a_projection_remembers_has_its_golden_bytes() {
        check(&Generations { current: 1, building: None }, &[1, 0]);
        check(&Generations { current: 1, building: Some(300) }, &[1, 1, 251, 44, 1]);
        check(&ViewCheckpoint { version: 2, position: 7 }, &[2, 7]);
        let golden = [[9; 16].as_slice(), &[251, 44, 1], &[8; 32]].concat();
        check(&ViewOrigin { store: [9; 16], position: 300, chain: [8; 32] }, &golden);
        let golden = [2, 1, b'a', 2, b'b', b'c', 251, 44, 1, 3];
        let names = vec!["a".into(), "bc".into()];
        check(&ViewIndexes { names, position: 300, parked: 3 }, &golden);
    }
}
