//! A run of the index, of any bytes.

use crate::codec::keys;
use crate::codec::run::{self, Builder, IndexedEvent};
use crate::fuzz::mend;
use crate::limits::RUN_BYTES_MAX;
use crate::stream::StreamId;
use bytes::Bytes;

const STREAM: &str = "Customer-1";

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
    check_packed_again(&key, &events);
    true
}

fn check_packed_again(key: &[u8], events: &[IndexedEvent]) {
    let [first, rest @ ..] = events else { panic!("a run without an event") };
    let bytes = |event: &IndexedEvent| match &event.body {
        run::Body::Inline(envelope) => envelope.len(),
        run::Body::At(_) => 0,
    };
    // What a forger packs need not fit as ours does, nor be in order; then there is nothing to compare.
    if events.iter().map(bytes).sum::<usize>() > RUN_BYTES_MAX / 2 {
        return;
    }
    let mut builder = Builder::begin(first);
    if rest.iter().all(|event| builder.push(event)) {
        let again = run::decode(key, first.version, &builder.finish(key).into());
        assert_eq!(again.as_deref(), Ok(events), "it came back changed");
    }
}
