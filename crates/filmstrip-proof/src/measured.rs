//! What `benches/sealing.rs` measures: sealing and opening by themselves.

use crate::codec::envelope;
use crate::codec::private_part::{self, PrivateMetadata};
use crate::sealing::event::{self, ROOM_AFTER_BYTES, ROOM_BYTES};
use crate::sealing::key::{KeyId, SubjectKey};
use crate::value::event::NewEvent;

const STREAM: &str = "Customer-4711";

/// An event with a private payload, and the key that it is sealed under.
pub struct PrivateEvent {
    key: SubjectKey,
    clear: Vec<u8>,
    payload: Vec<u8>,
}

impl PrivateEvent {
    /// With a payload of so many bytes.
    pub fn new(payload_bytes: usize) -> PrivateEvent {
        let key = SubjectKey::new(KeyId::new([1; 16]), &[7; 32]);
        let mut clear = Vec::new();
        envelope::encode(&NewEvent::bytes("AddressGiven", &b""[..]), &mut clear);
        PrivateEvent { key, clear, payload: vec![b'x'; payload_bytes] }
    }

    /// Encodes and seals it into `buffer`, which is emptied before.
    pub fn seal(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.clear);
        buffer.resize(self.clear.len() + ROOM_BYTES, 0);
        private_part::encode(&PrivateMetadata::default(), &self.payload, buffer);
        buffer.resize(buffer.len() + ROOM_AFTER_BYTES, 0);
        event::seal(&self.key, STREAM, buffer, self.clear.len());
    }

    /// Opens it and takes it apart. Returns the length of the payload.
    pub fn open(&self, sealed: &[u8]) -> usize {
        let plaintext = event::open(&self.key, STREAM, sealed, self.clear.len());
        let plaintext = plaintext.expect("it is as it was sealed").into();
        private_part::decode(&plaintext).expect("it was encoded").1.len()
    }
}
