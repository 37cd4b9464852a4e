//! What a replica does about private events of its source, and about those who are forgotten there.
//!
//! A replica has the events sealed, as its source has, and opens them if it was given keys. What it computed from
//! them goes when the fence of a key arrives. Its journal has no record of its own that could say how far that got,
//! so a note beside the views says that they are to be wiped when the replica is opened the next time.

use crate::codec::entry::Entry;
use crate::codec::frame::Frame;
use crate::codec::record::{Record, forgotten_key_id};
use crate::codec::sealed_envelope::key_id;
use crate::log::core::Log;
use crate::log::privacy::{asked, list};
use crate::sealing::key::KeyId;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::views::forgetting;

/// Prepares for `frame`, which is about to be written: says that there are private events, and that views are to be
/// wiped. Returns the keys whose fences it has.
pub(super) fn prepare(log: &Log, frame: &Frame) -> Result<Vec<KeyId>> {
    let mut fenced = Vec::new();
    let mut is_private = false;
    for (_, _, entry) in frame.entries().flatten() {
        match entry {
            Entry::Event { envelope, .. } => is_private |= key_id(&envelope).is_some(),
            Entry::Record(record) => fenced.extend(fence_in(&record)),
        }
    }
    if (is_private || !fenced.is_empty()) && !failpoint!("replica::leave_format_unmarked") {
        log.privacy.mark()?;
    }
    if !fenced.is_empty() {
        log.privacy.with_directory(forgetting::note)?;
    }
    Ok(fenced)
}

fn fence_in(record: &[u8]) -> Option<KeyId> {
    match Record::decode(record).ok()? {
        Record::State { key, .. } => forgotten_key_id(&key).map(KeyId::new),
        Record::Tracked { .. } => None,
    }
}

/// The fences of these keys are durable here, and shown: drops what was computed from events under them, and destroys
/// the keys, if this replica was given any. What fails is done when the replica is opened the next time.
pub(super) fn forget(log: &Log, fenced: &[KeyId]) {
    let privacy = &log.privacy;
    privacy.fenced(fenced, true);
    let listed = privacy.with_directory(|disk, path| list::add(disk, path, fenced));
    if failpoint!("replica::keep_what_is_forgotten") {
        return;
    }
    privacy.purge_memory();
    let destroyed = match privacy.keys_if_any() {
        Some(keys) => asked(|| keys.destroy(fenced)),
        None => Ok(()),
    };
    let purged = asked(|| privacy.purge_views());
    for error in [listed.err(), destroyed.err(), purged.err()].into_iter().flatten() {
        tracing::error!(%error, "somebody was forgotten; what is left here goes when the replica is opened again");
    }
}
