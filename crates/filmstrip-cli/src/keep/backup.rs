//! `backup`: into a directory of its own, incrementally.

use crate::fault::Fault;
use crate::out::Out;
use crate::progress::Progress;
use crate::stores;
use crate::text::{counted, size};
use clap::Args;
use filmstrip::Store;
use filmstrip::repair::BackupOptions;
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop backup backups/shop            again into the same directory: only what is new is copied
  filmstrip -d shop backup backups/shop --check-all

It works beside the program that has the store open. What is copied is read back and checked, and a part of the older
copies is checked again each time.
With --json: position, head (its hash, to be kept elsewhere), bytes_copied, segments_copied, segments_reused,
segments_checked, bytes_checked, segments_replaced.")]
pub(crate) struct Options {
    /// The directory of the backup: absent, empty, or an earlier backup of this store
    #[arg(value_name = "DIRECTORY")]
    to: PathBuf,

    /// Check all that earlier backups have copied
    #[arg(long)]
    check_all: bool,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let progress = Progress::journal("backing up");
    let report = progress.reporter();
    let how = BackupOptions::new().report(&report);
    let how = if options.check_all { how.check_all() } else { how };
    // Opening would create a store where there is none.
    let follower = stores::follow(store)?;
    // A replica is not opened as a store.
    let is_replica = follower.is_replica()?;
    let alone = match is_replica {
        true => None,
        false => stores::unless_open_elsewhere(Store::open(store))?,
    };
    let is_beside = alone.is_none() && !is_replica;
    let backup = match alone {
        Some(store) => {
            let backup = store.backup_with(&options.to, how)?;
            store.close()?;
            backup
        }
        None => follower.backup_with(&options.to, how)?,
    };
    drop(report);
    drop(progress);
    if out.json {
        return out.document(&backup);
    }
    let (events, copied) = (counted(backup.position.get(), "event"), size(backup.bytes_copied));
    let reused = counted(backup.segments_reused, "segment");
    out.line(format!("{events}: {copied} copied, {reused} of earlier backups kept"))?;
    if backup.segments_replaced > 0 {
        out.line(format!(
            "{} were damaged and copied again",
            counted(backup.segments_replaced, "segment")
        ))?;
    }
    if is_beside {
        out.line("taken beside the process that has the store open")?;
    }
    out.line(format!("head hash {}", backup.head))
}
