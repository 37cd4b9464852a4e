//! Decodes arbitrary bytes as a frame.

use crate::codec::entry;
use crate::codec::frame::{self, Frame, Header};
use crate::fuzz::mend;
use crate::log::read::located::each_located;
use crate::value::corruption::Corruption;
use bytes::Bytes;

/// The first byte says whether to repair the checksums; the rest is a frame. The entries of a valid frame must follow
/// each other without a gap up to its end, and the reader of damaged frames must find the same entries.
pub fn frame(input: &[u8]) -> bool {
    let Some((mode, bytes)) = input.split_first() else { return false };
    let mut bytes = bytes.to_vec();
    if mend::is_wanted(*mode) {
        mend::frames(&mut bytes, &[0; 32]);
    }
    let bytes = Bytes::from(bytes);
    let Some(header) = Header::parse(&bytes) else { return false };
    assert!(header.padded_length() >= frame::HEADER_BYTES as u64, "{header:?}");
    assert!(header.next_position() >= header.first_position, "{header:?}");
    let Ok(frame) = Frame::verify(header, bytes) else { return false };
    let entries: Result<Vec<_>, Corruption> = frame.entries().collect();
    let chain = frame.chain_after(&[0; 32]);
    assert_eq!(entries.is_err(), chain.is_err(), "the chain sees other entries");
    let Ok(entries) = entries else { return true };
    let mut at = frame::HEADER_BYTES;
    let body = frame.bytes().slice(at..);
    let salvaged = entry::salvage(&body);
    assert!(
        salvaged.whole && salvaged.entries.len() == entries.len(),
        "other entries are salvaged"
    );
    for ((offset, length, entry), salvaged) in entries.iter().zip(&salvaged.entries) {
        assert_eq!(*offset as usize, at, "a gap between entries");
        if let (_, _, Some(salvaged)) = salvaged {
            assert_eq!(entry, salvaged, "another entry is salvaged");
        }
        at += *length as usize;
    }
    assert_eq!(at, frame.bytes().len(), "bytes after the last entry");
    // The reader of a frame has checked that the frame is at the location that it names.
    let location = frame::Location { segment: 1, offset: 4_096 };
    let mut events = 0;
    let count = |located| {
        events += u32::from(matches!(located, crate::log::read::located::Located::Event(_)));
    };
    if each_located(location, &frame, count).is_ok() {
        assert_eq!(events, frame.header.events, "a frame holds other events than it says");
    }
    true
}
