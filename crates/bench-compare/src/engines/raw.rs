//! The limit: a zero-filled file, the payload and the bytes that filmstrip adds, one `fdatasync`.

use crate::engine::{Engine, Item, Opened};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

/// What filmstrip's frame, entry and envelope add to a single event of the workload.
const FRAME_BYTES: usize = 104;
const EVENT_BYTES: usize = 67;
const CHUNK_BYTES: u64 = 64 << 20;
const FILL_BYTES: usize = 16 << 10;

pub struct Raw;

impl Engine for Raw {
    fn name(&self) -> &'static str {
        "raw file"
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn durability(&self) -> &'static str {
        "one `fdatasync` for each commit, into space that was filled with zeros before"
    }

    fn cache(&self) -> &'static str {
        "none"
    }

    fn reads(&self) -> bool {
        false
    }

    fn open(&self, directory: &Path) -> Box<dyn Opened> {
        std::fs::create_dir_all(directory).expect("a directory");
        let file = File::create(directory.join("raw")).expect("a file");
        let raw = Open { file, end: Mutex::new((0, 0)) };
        raw.fill(&mut raw.end.lock().expect("nobody panicked").1);
        Box::new(raw)
    }
}

struct Open {
    file: File,
    /// Where the next write goes, and how far the file is filled.
    end: Mutex<(u64, u64)>,
}

impl Open {
    fn fill(&self, filled: &mut u64) {
        // In short writes, as filmstrip does: Linux is slower at writing into the long folios of long ones.
        for at in (*filled..*filled + CHUNK_BYTES).step_by(FILL_BYTES) {
            self.file.write_all_at(&[0; FILL_BYTES], at).expect("space");
        }
        self.file.sync_all().expect("a sync");
        *filled += CHUNK_BYTES;
    }
}

impl Opened for Open {
    fn append(&self, items: &[Item<'_>]) {
        let mut bytes = vec![7; FRAME_BYTES];
        for item in items {
            bytes.extend_from_slice(&[7; EVENT_BYTES]);
            bytes.extend_from_slice(item.payload);
        }
        let (end, filled) = &mut *self.end.lock().expect("nobody panicked");
        if *end + bytes.len() as u64 > *filled {
            self.fill(filled);
        }
        self.file.write_all_at(&bytes, *end).expect("a write");
        *end += bytes.len() as u64;
        self.file.sync_data().expect("a sync");
    }

    fn read_all(&self, _: &mut dyn FnMut(&[u8])) {
        unreachable!("it says that it does not read");
    }

    fn read_stream(&self, _: u64, _: &mut dyn FnMut(&[u8])) {
        unreachable!("it says that it does not read");
    }

    fn close(self: Box<Self>) {}
}
