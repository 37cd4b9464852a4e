//! A store as a replica: how it does, and how it becomes one that accepts commits.

#[cfg(test)]
mod tests;

use crate::journal::manifest::{self, Manifest, Role};
use crate::log::replica::failed::not_a_replica;
use crate::log::replica::status::Replication;
use crate::store::Store;
use crate::value::callback;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use std::time::Duration;

impl Store {
    /// Waits until the store has everything up to `position`: so a replica shows what was written to its source, if the
    /// writer passes on the position that its commit returned. On a store that is not a replica, it waits for the
    /// commits of other threads.
    ///
    /// A projection or read model may still lag behind; it can be waited for by its own handle.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout); [`Closed`](ErrorKind::Closed);
    /// [`WouldDeadlock`](ErrorKind::WouldDeadlock) within a clock or a listener of `tracing`.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        callback::refuse_if_commits_wait("Store::wait_for")?;
        if log.head.wait_for(position.get(), deadline_after(timeout)) {
            return Ok(());
        }
        log.refuse_if_closed()?;
        let head = self.head();
        let message =
            format!("position {position} has not come within {timeout:?}; the head is {head}");
        Err(Error::new(ErrorKind::Timeout, message))
    }

    /// Returns how this store follows its source; `None` if it is not a replica, or was promoted.
    #[must_use]
    pub fn replication(&self) -> Option<Replication> {
        self.log.engine().replica()?.replication(self.log.log())
    }

    /// Makes a replica a store that accepts commits, and returns its head. Its history goes on from there.
    ///
    /// All handles stay as they are: what follows this store goes on. From now on it takes nothing from its source, and
    /// it is opened without [`StoreBuilder::replica`](crate::StoreBuilder::replica).
    ///
    /// Nobody tells the source. What it has recorded and the replica had not taken, [`Replication::lag`] events at
    /// least, is not in this store. What it records afterwards is not either: the two have different histories from
    /// then on. So stop the source before, and keep it from being opened again. If that was missed, neither store is
    /// damaged, and they cannot be mixed up unnoticed: a replica of one refuses the other's frames as
    /// [`Diverged`](ErrorKind::Diverged). Another replica of the source can follow this store, if it has no more than
    /// this one had when it was promoted.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is not a replica; [`ReadOnly`](ErrorKind::ReadOnly) after a
    /// write that failed; errors of writing, after which it can be called again;
    /// [`WouldDeadlock`](ErrorKind::WouldDeadlock) within a clock or a listener of `tracing`.
    pub fn promote(&self) -> Result<Position> {
        let (log, engine) = (self.log.log(), self.log.engine());
        log.refuse_if_closed()?;
        callback::refuse_if_commits_wait("Store::promote")?;
        let replica = engine.replica().ok_or_else(not_a_replica)?;
        let position = replica.promote(log, engine.group_commit(), || self.become_store())?;
        tracing::info!(%position, "the replica was promoted and accepts commits");
        Ok(position)
    }

    /// Gives the directory the manifest of a store that accepts commits.
    fn become_store(&self) -> Result<()> {
        if failpoint!("replica::promote_in_memory_only") {
            return Ok(());
        }
        let (disk, path) = (&**self.log.log().journal.disk(), self.path());
        let manifest = manifest::read(disk, path)?
            .ok_or_else(|| Error::corrupt(&manifest::path(path), 0, None, "it is missing"))?;
        manifest::write(disk, path, &Manifest { role: Role::Store, ..manifest })
    }
}

#[cfg(all(test, feature = "erasure"))]
mod private_tests;
