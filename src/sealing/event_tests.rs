//! Sealed events: their golden bytes, and everything that must be refused.

use super::*;
use crate::codec::envelope;
use crate::codec::private_part::{self, PrivateMetadata};
use crate::sealing::cipher::OVERHEAD_BYTES;
use crate::sealing::key::KeyId;
use crate::value::event::NewEvent;
use crate::value::random::{Random, first_seed, rounds};
use std::collections::HashSet;
use uuid::Uuid;

const STREAM: &str = "Customer-1";

fn key(byte: u8) -> SubjectKey {
    SubjectKey::new(KeyId::new([1; 16]), &[byte; 32])
}

/// An event without its payload, as its envelope stays in clear.
fn event() -> NewEvent {
    NewEvent::bytes("Moved", &b""[..])
        .id(Uuid::from_u128(0x0102))
        .schema_version(2)
        .occurred_at("2024-05-01T12:00:00Z".parse().unwrap())
        .tag("city:1")
}

/// The sealed envelope of `event` with this private payload, and where the payload begins.
fn sealed(key: &SubjectKey, stream: &str, event: &NewEvent, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    envelope::encode(event, &mut bytes);
    let at = bytes.len();
    bytes.resize(at + ROOM_BYTES, 0xee);
    private_part::encode(&PrivateMetadata::default(), payload, &mut bytes);
    bytes.resize(bytes.len() + ROOM_AFTER_BYTES, 0xee);
    seal(key, stream, &mut bytes, at);
    (bytes, at)
}

fn plaintext(payload: &[u8]) -> Vec<u8> {
    let mut plaintext = Vec::new();
    private_part::encode(&PrivateMetadata::default(), payload, &mut plaintext);
    plaintext
}

/// Computed by another program, with libsodium and the reference implementation of BLAKE3, from the description at the
/// heads of `event` and `cipher`.
#[test]
fn a_sealed_event_has_its_golden_bytes() {
    let (bytes, at) = sealed(&key(7), STREAM, &event(), b"abc");
    let hex: String = bytes[at..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "ef4be00653d941a4d8008f8e421ac69c16afcbbc39cf523ec17a0df3150e824ec6d77f747c7d5f5426c9cf0e9cfe0f11"
    );
    assert_eq!(bytes.len(), at + plaintext(b"abc").len() + OVERHEAD_BYTES);
}

#[test]
fn what_was_sealed_comes_back_at_every_length() {
    for length in (0..200).chain([300, 1_023, 1_024, 1_025, 70_000]) {
        let payload = vec![b'x'; length];
        let (bytes, at) = sealed(&key(7), STREAM, &event(), &payload);
        assert_eq!(open(&key(7), STREAM, &bytes, at), Ok(plaintext(&payload)), "{length} bytes");
    }
}

#[test]
fn the_same_event_is_sealed_to_the_same_bytes_and_any_other_to_others() {
    let one = sealed(&key(7), STREAM, &event(), b"abc");
    assert_eq!(sealed(&key(7), STREAM, &event(), b"abc"), one);
    let (bytes, at) = one;
    let nonce = &bytes[at..at + ROOM_BYTES];
    let another_id = event().id(Uuid::from_u128(0x0103));
    for (bytes, at) in [
        sealed(&key(7), STREAM, &event(), b"abd"),
        sealed(&key(7), STREAM, &event(), b"abc\0"),
        sealed(&key(7), STREAM, &another_id, b"abc"),
        sealed(&key(7), "Customer-2", &event(), b"abc"),
        sealed(&key(8), STREAM, &event(), b"abc"),
    ] {
        assert_ne!(&bytes[at..at + ROOM_BYTES], nonce, "a nonce is used twice");
    }
}

/// What precedes the payload is in clear, and part of what is authenticated.
#[test]
fn every_flipped_bit_of_a_sealed_event_is_refused() {
    let (mut bytes, at) = sealed(&key(7), STREAM, &event(), b"Anna, 9 River St");
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&key(7), STREAM, &bytes, at), Err(Refused), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(open(&key(7), STREAM, &bytes, at).is_ok());
}

#[test]
fn a_sealed_event_that_is_cut_or_lengthened_is_refused() {
    let (bytes, at) = sealed(&key(7), STREAM, &event(), b"Anna");
    for end in 0..bytes.len() {
        assert_eq!(open(&key(7), STREAM, &bytes[..end], at), Err(Refused), "cut at {end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(open(&key(7), STREAM, &longer, at), Err(Refused));
    assert_eq!(open(&key(7), STREAM, &bytes, bytes.len() + 1), Err(Refused));
    // A payload that begins elsewhere.
    for at in [0, at - 1, at + 1] {
        assert_eq!(open(&key(7), STREAM, &bytes, at), Err(Refused), "from {at}");
    }
}

/// Who can write to the store might move what is about one person into an event about another.
#[test]
fn a_sealed_payload_opens_as_no_other_event() {
    let (bytes, at) = sealed(&key(7), STREAM, &event(), b"Anna");
    let payload = &bytes[at..];
    let as_event = |event: &NewEvent, stream: &str, key: &SubjectKey| {
        let mut bytes = Vec::new();
        envelope::encode(event, &mut bytes);
        let at = bytes.len();
        bytes.extend_from_slice(payload);
        open(key, stream, &bytes, at)
    };
    assert!(as_event(&event(), STREAM, &key(7)).is_ok());
    let renamed = NewEvent::bytes("Left", &b""[..])
        .id(Uuid::from_u128(0x0102))
        .schema_version(2)
        .occurred_at("2024-05-01T12:00:00Z".parse().unwrap())
        .tag("city:1");
    for (what, refused) in [
        ("id", as_event(&event().id(Uuid::from_u128(0x0103)), STREAM, &key(7))),
        ("type", as_event(&renamed, STREAM, &key(7))),
        ("schema version", as_event(&event().schema_version(3), STREAM, &key(7))),
        (
            "time",
            as_event(
                &event().occurred_at("2024-05-01T12:00:01Z".parse().unwrap()),
                STREAM,
                &key(7),
            ),
        ),
        ("tag", as_event(&event().tag("city:2"), STREAM, &key(7))),
        ("stream", as_event(&event(), "Customer-2", &key(7))),
        ("stream without a name", as_event(&event(), "", &key(7))),
        ("key", as_event(&event(), STREAM, &key(8))),
    ] {
        assert_eq!(refused, Err(Refused), "another {what}");
    }
}

/// Without a length before the name, bytes could move from the name to the envelope.
#[test]
fn no_byte_of_the_streams_name_passes_for_one_of_the_envelope() {
    let mut one = b"bc".to_vec();
    one.resize(2 + ROOM_BYTES + 5 + ROOM_AFTER_BYTES, 0);
    seal(&key(7), "a", &mut one, 2);
    let other = [&b"c"[..], &one[2..]].concat();
    assert!(open(&key(7), "a", &one, 2).is_ok());
    assert_eq!(open(&key(7), "ab", &other, 1), Err(Refused));
}

/// One nonce for two contents would give away how they differ.
#[test]
fn no_nonce_is_used_for_two_contents() {
    let mut nonces = HashSet::new();
    let mut contents = HashSet::new();
    let random = &mut Random::new(first_seed());
    let rounds = 5_000 * rounds(1);
    for _ in 0..rounds {
        let content: Vec<u8> = (0..1 + random.below(3)).map(|_| random.next() as u8).collect();
        let (bytes, at) = sealed(&key(7), STREAM, &event(), &content);
        contents.insert(content);
        nonces.insert(bytes[at..at + ROOM_BYTES].to_vec());
    }
    assert_eq!(nonces.len(), contents.len());
    assert!(contents.len() as u64 > rounds / 2, "only {} contents", contents.len());
}
