//! What an envelope has besides what every event has: metadata, tags, and the id of an encryption key.
//!
//! A private event has a key id, which is last, and neither user nor entries, which are sealed. Before that, the
//! id is all zeros.

use crate::codec::bin;
use crate::codec::tags::{Tags, put_extras_of_tags};
use crate::value::event::{Metadata, RecordedMetadata};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Bytes of a key id.
pub(crate) const KEY_ID_BYTES: usize = 16;

/// Metadata, tags and key id as they are on disk. New fields need a new flag.
#[derive(Serialize, Deserialize, Default, PartialEq)]
pub(super) struct Extras {
    pub(super) correlation_id: Option<[u8; 16]>,
    pub(super) causation_id: Option<[u8; 16]>,
    pub(super) command_id: Option<[u8; 16]>,
    pub(super) user: Option<String>,
    pub(super) entries: BTreeMap<String, String>,
    pub(super) tags: Vec<String>,
    pub(super) key_id: Option<[u8; KEY_ID_BYTES]>,
}

/// Appends the extras; nothing, if there are none.
#[inline]
pub(super) fn put_extras(metadata: &Metadata, tags: &[String], out: &mut Vec<u8>) {
    match (metadata.is_empty(), tags.is_empty()) {
        (true, true) => {}
        (true, false) => put_extras_of_tags(tags, out),
        (false, _) => out.extend_from_slice(&encode_extras(metadata, tags)),
    }
}

pub(super) fn encode_extras(metadata: &Metadata, tags: &[String]) -> Vec<u8> {
    bin::encode(&extras(metadata, tags))
}

fn extras(metadata: &Metadata, tags: &[String]) -> Extras {
    Extras {
        correlation_id: metadata.correlation_id.map(Uuid::into_bytes),
        causation_id: metadata.causation_id.map(Uuid::into_bytes),
        command_id: metadata.command_id.map(Uuid::into_bytes),
        user: metadata.user.clone(),
        entries: metadata.entries.clone(),
        tags: tags.to_vec(),
        key_id: None,
    }
}

/// Also `None` if there is a key id, which only a private event has, or if the tags are not sorted or one occurs twice:
/// what looks an event up by its tags relies on that.
pub(super) fn decode_extras(bytes: &[u8]) -> Option<RecordedMetadata> {
    if let Some(tags) = Tags::alone_in(bytes) {
        let tags: Vec<String> = tags.map(str::to_owned).collect();
        let is_sound = tags.is_sorted_by(|a, b| a < b);
        return is_sound.then(|| RecordedMetadata::new(Metadata::default(), tags));
    }
    let extras: Extras = bin::decode(bytes).ok()?;
    let is_sound = extras.key_id.is_none() && extras.tags.is_sorted_by(|a, b| a < b);
    is_sound.then(|| {
        let (metadata, tags) = extras.into_parts();
        RecordedMetadata::new(metadata, tags)
    })
}

impl Extras {
    #[inline]
    fn into_parts(self) -> (Metadata, Vec<String>) {
        let metadata = Metadata {
            correlation_id: self.correlation_id.map(Uuid::from_bytes),
            causation_id: self.causation_id.map(Uuid::from_bytes),
            command_id: self.command_id.map(Uuid::from_bytes),
            user: self.user,
            entries: self.entries,
        };
        (metadata, self.tags)
    }
}

/// Appends the extras of a private event.
#[cfg(feature = "erasure")]
pub(super) fn put_private_extras(metadata: &Metadata, tags: &[String], out: &mut Vec<u8>) {
    let extras = Extras {
        user: None,
        entries: BTreeMap::new(),
        key_id: Some([0; KEY_ID_BYTES]),
        ..extras(metadata, tags)
    };
    out.extend_from_slice(&bin::encode(&extras));
}

/// Whether there is a key id in these extras.
pub(super) fn has_key_id(bytes: &[u8]) -> bool {
    bin::decode::<Extras>(bytes).is_ok_and(|extras| extras.key_id.is_some())
}

/// The extras of a private event. `None` also if there is no key id, or if something is in clear that is sealed.
#[cfg(feature = "erasure")]
pub(super) fn decode_private_extras(bytes: &[u8]) -> Option<RecordedMetadata> {
    let extras: Extras = bin::decode(bytes).ok()?;
    let is_clear = extras.user.is_none() && extras.entries.is_empty();
    let is_sound = is_clear && extras.tags.is_sorted_by(|a, b| a < b);
    let key_id = extras.key_id.filter(|_| is_sound)?;
    let (metadata, tags) = extras.into_parts();
    Some(RecordedMetadata::of_private(metadata, tags, key_id))
}
