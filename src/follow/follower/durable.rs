//! What is durable of a followed store, for those who copy or check all of it.

use crate::codec::frame::{Chain, Location};
use crate::follow::follower::Follower;
use crate::index::read_only::ReadOnlyIndex;
use crate::journal::read::Journal;
use crate::value::error::{Error, Result};
use std::sync::Arc;

/// A followed store up to some moment.
pub(crate) struct Durable {
    pub(crate) journal: Arc<Journal>,
    /// The last durable position, the place after its frame, and the chain there.
    pub(crate) position: u64,
    pub(crate) end: Location,
    pub(crate) chain: Chain,
}

impl Follower {
    /// What is durable now: at least what the writer has acknowledged when this is called.
    pub(crate) fn durable(&self) -> Result<Durable> {
        let known = self.shared.look_until_whole()?.ok_or_else(|| {
            let path = self.path().display();
            Error::invalid(format!(
                "{path} is a store that no process has opened yet: it has no durable watermark"
            ))
        })?;
        let (position, end) = (known.watermark.position, known.end());
        let chain = known.head_hash()?.hash;
        Ok(Durable { journal: known.journal, position, end, chain })
    }

    /// The index as it is now, if it can be read.
    pub(crate) fn index(&self) -> Option<Arc<ReadOnlyIndex>> {
        self.shared.index.open()
    }
}
