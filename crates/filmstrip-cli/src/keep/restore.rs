//! `restore`: a store from a backup.
//!
//! The copy is made beside its place, and renamed into it when it is whole: what is at the place is all of it or none.

use crate::fault::Fault;
use crate::out::Out;
use crate::progress::Progress;
use crate::stores::needs_it_alone;
use crate::text::{count, counted, size};
use clap::Args;
use filmstrip::repair::{Repair, Verification};
use filmstrip::{Follower, Store};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop-restored restore backups/shop

The backup is verified, copied, and the copy is verified. The backup stays as it is, and takes further backups: open
the copy, not the backup. With --json: events, bytes, head_hash.")]
pub(crate) struct Options {
    /// The directory of the backup
    #[arg(value_name = "BACKUP")]
    from: PathBuf,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let backup = options.from.as_path();
    refuse_taken(store)?;
    // Held until the end: nobody backs up into it, or opens it, meanwhile.
    let held = Store::repair(backup).map_err(|error| needs_it_alone(&error, "restore"))?;
    refuse_damaged(&verified(&held, "verifying the backup")?, backup)?;
    refuse_replica(backup)?;
    let above = match store.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    let copy = tempfile::Builder::new().prefix(".filmstrip-restore-").tempdir_in(above);
    let copy = copy.map_err(|e| Fault::io("create a directory in", above, &e))?;
    let bytes = copy_store(backup, copy.path())?;
    let copied = Store::repair(copy.path())?;
    refuse_damaged(&verified(&copied, "verifying the copy")?, copy.path())?;
    drop(copied);
    put_in_place(copy, store, above)?;
    drop(held);

    let head = Follower::open(store)?.head_hash()?;
    if out.json {
        let (events, head_hash) = (head.position, head.to_string());
        return out.document(
            &serde_json::json!({ "events": events, "bytes": bytes, "head_hash": head_hash }),
        );
    }
    out.line(format!("{} restored, {}", counted(head.position.get(), "event"), size(bytes)))?;
    out.line(format!("head hash {head}"))
}

fn verified(store: &Repair, what: &'static str) -> Result<Verification, Fault> {
    let progress = Progress::journal(what);
    Ok(store.verify_with(progress.reporter())?)
}

/// Refuses a place where something is.
fn refuse_taken(store: &Path) -> Result<(), Fault> {
    let is_free = match fs::read_dir(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(Fault::io("list", store, &error)),
        Ok(mut entries) => entries.next().is_none(),
    };
    match is_free {
        true => Ok(()),
        false => {
            let message = format!(
                "{} is not empty; a store is restored into an absent or empty directory",
                store.display()
            );
            Err(Fault::bad(message))
        }
    }
}

fn refuse_damaged(verified: &Verification, path: &Path) -> Result<(), Fault> {
    match verified.findings.first() {
        None => Ok(()),
        Some(first) => {
            let findings = verified.findings.len() as u64 + verified.more_findings;
            let (path, findings) = (path.display(), count(findings));
            let message = format!(
                "{path} is damaged ({findings} findings, the first one: {first}); nothing was restored"
            );
            Err(Fault::bad(message))
        }
    }
}

/// Refuses a replica: a copy of it would be one, too, and not a store.
fn refuse_replica(backup: &Path) -> Result<(), Fault> {
    if !Follower::open(backup)?.is_replica()? {
        return Ok(());
    }
    let path = backup.display();
    let message =
        format!("{path} is a replica and not a backup; `filmstrip backup` makes one of it");
    Err(Fault::bad(message))
}

/// Copies what makes a store, and nothing that is derived from it.
fn copy_store(from: &Path, to: &Path) -> Result<u64, Fault> {
    let (journal, there) = (from.join("journal"), to.join("journal"));
    fs::create_dir(&there).map_err(|e| Fault::io("create", &there, &e))?;
    let names = fs::read_dir(&journal).map_err(|e| Fault::io("list", &journal, &e))?;
    let mut files = Vec::new();
    for entry in names {
        let name = entry.map_err(|e| Fault::io("list", &journal, &e))?.file_name();
        files.push((journal.join(&name), there.join(&name)));
    }
    files.sort();
    files.push((from.join("MANIFEST"), to.join("MANIFEST")));
    let total = files.iter().map(|(from, _)| fs::metadata(from).map_or(0, |it| it.len())).sum();
    let (mut progress, mut bytes) = (Progress::bytes("copying", total), 0);
    for (from, to) in &files {
        bytes += fs::copy(from, to).map_err(|e| Fault::io("copy", from, &e))?;
        sync(to)?;
        progress.reached(bytes);
    }
    sync(&there)?;
    sync(to)?;
    Ok(bytes)
}

/// Makes a file, or the names in a directory, durable.
fn sync(path: &Path) -> Result<(), Fault> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|e| Fault::io("sync", path, &e))
}

fn put_in_place(copy: tempfile::TempDir, store: &Path, above: &Path) -> Result<(), Fault> {
    // The directory of a temporary copy is its owner's alone; a directory that was there keeps its permissions.
    if let Ok(there) = fs::metadata(store) {
        fs::set_permissions(copy.path(), there.permissions())
            .map_err(|e| Fault::io("prepare", copy.path(), &e))?;
    }
    // What is renamed takes the place of an empty directory, and of nothing else.
    fs::rename(copy.path(), store).map_err(|e| Fault::io("rename the copy to", store, &e))?;
    // It is not at its temporary place any more.
    let _ = copy.keep();
    sync(above)
}
