//! A run of the index, of any bytes.

use crate::codec::frame::EntryLocation;
use crate::codec::keys;
use crate::codec::run::{self, Body, IndexedEvent, Packer};
use crate::fuzz::mend;
use crate::limits::RUN_BYTES_MAX;
use crate::stream::StreamId;
use bytes::Bytes;

const STREAM: &str = "Customer-1";
const NOWHERE: EntryLocation = EntryLocation { segment: 0, offset: 0, length: 0 };

/// The key of the run of the stream that inputs are of.
pub(super) fn key(first_version: u64) -> Vec<u8> {
    keys::event_key(&StreamId::new(STREAM).expect("a name"), first_version)
}

/// The first byte says whether the checksum is mended, the next four are the version in the key, and the
/// rest is the run. What is decoded has its events one after another; packed again it is the same.
pub fn run(input: &[u8]) -> bool {
    let Some((head, value)) = input.split_at_checked(5) else { return false };
    let first = u64::from(u32::from_le_bytes(head[1..].try_into().expect("four bytes")));
    let (key, mut value) = (key(first), value.to_vec());
    if mend::is_wanted(head[0]) {
        mend::run(&key, &mut value);
    }
    let Ok(events) = run::decode(&key, first, &Bytes::from(value)) else { return false };
    for (event, version) in events.iter().zip(first..) {
        assert_eq!(event.version, version, "a version is missing");
    }
    check_packed_again(&events);
    true
}

fn check_packed_again(events: &[IndexedEvent]) {
    // What a forger packs may be longer than what we index, or not in order.
    let fits = |event: &IndexedEvent| match &event.body {
        Body::Inline(envelope) => {
            matches!(run::body_of(envelope.clone(), NOWHERE), Body::Inline(_))
        }
        Body::At(_) => true,
    };
    let mut packer = Packer::default();
    if !events.iter().all(|event| fits(event) && packer.push(event)) {
        return;
    }
    let mut again = Vec::new();
    let mut version = events[0].version;
    let put = |key: Vec<u8>, value: Vec<u8>| {
        assert!(value.len() <= RUN_BYTES_MAX, "a run of {} bytes", value.len());
        let run = run::decode(&key, version, &value.into())?;
        version += run.len() as u64;
        again.extend(run);
        Ok::<(), String>(())
    };
    packer.finish(key, put).expect("what we pack can be read");
    assert_eq!(again, events, "it came back changed");
}
