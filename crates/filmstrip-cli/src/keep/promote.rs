//! `promote`: a replica becomes a store that accepts commits.

use crate::fault::Fault;
use crate::out::Out;
use crate::stores::{self, needs_it_alone};
use crate::text::{count, counted};
use clap::Args;
use filmstrip::repair::{HashCheck, HeadHash};
use filmstrip::replica::{FrameSource, Heard, JournalEnd, SourceStore, StoreDirectory};
use filmstrip::{Follower, Store};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d standby stats --source shop
  filmstrip -d standby promote --source shop
  filmstrip -d standby promote

Stop the old store first, and keep it from being opened again: nobody else does, and two stores that both accept commits
have two histories. The replica must not be open either; an application that has it open promotes it by
`Store::promote`. With --source, a replica that lacks something of the old store is refused.
With --json: events, head_hash.")]
pub(crate) struct Options {
    /// The directory of the old store: refuse if the replica lacks something of it
    #[arg(long, value_name = "DIRECTORY")]
    source: Option<PathBuf>,
}

/// What the replica in a directory follows while it is promoted: nothing.
struct Nothing(PathBuf);

impl FrameSource for Nothing {
    fn store(&mut self) -> filmstrip::Result<SourceStore> {
        // It is asked only if the replica has vanished since it was looked at.
        StoreDirectory::at(&self.0).store()
    }

    fn read(&mut self, after: &JournalEnd, wait: Duration) -> filmstrip::Result<Heard> {
        std::thread::sleep(wait);
        Ok(Heard { frames: Vec::new(), head: after.position(), hash: None })
    }
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    // Before it is opened: opening makes a replica of an empty directory or of a backup.
    let follower = stores::follow(store)?;
    if !follower.is_replica()? {
        let path = store.display();
        let message = format!("{path} is not a replica, so there is nothing to promote");
        return Err(Fault::bad(message));
    }
    let replica = Store::builder().replica(Nothing(store.to_owned())).open(store);
    let replica = replica.map_err(|error| needs_it_alone(&error, "promote"))?;
    if let Some(source) = &options.source {
        refuse_unless_level(&Follower::open(source)?, source, &replica.head_hash())?;
    }
    replica.promote()?;
    let head = replica.head_hash();
    replica.close()?;
    if out.json {
        return out.document(&json!({ "events": head.position, "head_hash": head }));
    }
    let events = counted(head.position.get(), "event");
    out.line(format!("promoted: it accepts commits from now on, after {events}"))?;
    out.line(format!("head hash {head}"))
}

/// Refuses to promote a replica that lacks something of its source, or has another history.
fn refuse_unless_level(source: &Follower, path: &Path, replica: &HeadHash) -> Result<(), Fault> {
    let (path, head) = (path.display(), source.head()?);
    let (there, here) = (count(head.get()), count(replica.position.get()));
    let message = match source.check_hash(replica)? {
        HashCheck::Same if head == replica.position => return Ok(()),
        HashCheck::Same => format!(
            "the replica ends at position {here}, and {path} at {there}: open the replica until it has the rest, or \
             leave --source out to lose it"
        ),
        HashCheck::Shorter => {
            format!(
                "the replica ends at position {here}, and {path} before it, at {there}: it is not its source"
            )
        }
        _ => format!(
            "{path} has another history up to position {here}: it is not the replica's source"
        ),
    };
    Err(Fault::bad(message))
}
