//! `head-hash` and `check-hash`: proof that nothing was changed.

use crate::fault::Fault;
use crate::out::{Out, Style};
use crate::progress::Progress;
use crate::stores;
use clap::Args;
use filmstrip::repair::{HashCheck, HeadHash};
use serde_json::json;
use std::io::Read;
use std::path::Path;

pub(crate) const HEAD_EXAMPLES: &str = "\
Examples:
  filmstrip -d shop head-hash >> /mnt/elsewhere/shop.hashes

Keep the hash where nobody who can write to the store can change it. It covers everything up to the last durable
event. The command works beside the process that writes the store.
With --json: head_hash.";

/// Bytes of a hash that is read from standard input.
const INPUT_BYTES_MAX: u64 = 1_024;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop check-hash 4711:0f3c…
  tail -n 1 noted | filmstrip -d shop check-hash -

The chain is computed again from the first event up to the noted position, which takes as long as reading the log. It
works beside the process that writes the store. The exit code is 1 if the history differs or ends earlier.
With --json: answer, one of same, changed and shorter.")]
pub(crate) struct CheckOptions {
    /// The hash that `head-hash` printed earlier; - reads it from standard input
    #[arg(value_name = "HASH")]
    noted: String,
}

pub(crate) fn head(store: &Path, out: &mut Out) -> Result<(), Fault> {
    let hash = stores::follow(store)?.head_hash()?;
    match out.json {
        true => out.document(&json!({ "head_hash": hash })),
        false => out.line(hash.to_string()),
    }
}

pub(crate) fn check(store: &Path, options: &CheckOptions, out: &mut Out) -> Result<(), Fault> {
    let mut noted = options.noted.clone();
    if noted == "-" {
        noted.clear();
        let read = std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut noted);
        read.map_err(|error| Fault::bad(format!("cannot read standard input: {error}")))?;
    }
    let noted: HeadHash = noted.trim().parse()?;
    let follower = stores::follow(store)?;
    let progress = Progress::events("computing the chain", noted.position.get());
    let answer = follower.check_hash_with(&noted, progress.reporter())?;
    drop(progress);
    match (out.json, answer) {
        (true, answer) => out.document(&json!({ "answer": answer }))?,
        (false, HashCheck::Same) => {
            let position = noted.position;
            out.line(format!(
                "{}: nothing up to position {position} was changed",
                out.styled(Style::Good, "same")
            ))?;
        }
        (false, HashCheck::Changed) => {
            out.line(format!(
                "{}: the history up to there is a different one",
                out.styled(Style::Bad, "changed")
            ))?;
        }
        (false, _) => {
            let head = follower.head()?;
            let shorter = out.styled(Style::Bad, "shorter");
            out.line(format!("{shorter}: the log ends at position {head}, before the noted one"))?;
        }
    }
    if answer == HashCheck::Same { Ok(()) } else { Err(Fault::No) }
}
