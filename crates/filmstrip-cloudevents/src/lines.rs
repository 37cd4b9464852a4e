//! A file of JSON Lines as a relay's target.
//!
//! The last whole line says where to go on. A line that a crash cut short is cut off: its event is sent again.

use crate::cloud_event::{CloudEvent, Sent};
use filmstrip::relay::{LastEvent, Receipts, RelayError, RelaySource, RelayTarget};
use filmstrip::{Position, RecordedEvent};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the longest line that is looked for: an event of 16 MiB in base64, and its attributes.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the file's end that are read at once.
const STEP_BYTES: u64 = 64 << 10;
/// How the first line begins.
const BEGINNING: &[u8] = br#"{"specversion":"1.0","id":""#;

/// A file that gets a store's events, each as a [`CloudEvent`] on a line of its own.
///
/// Lines are appended, and confirmed once they are synced, many by one `fdatasync`. When it is opened again it goes on
/// after the last whole line; a line that was cut short is removed. A process that writes the file holds a lock on it.
///
/// The file does not note the relay's filter: begin another file for another filter.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// use filmstrip_cloudevents::JsonLines;
/// use std::time::Duration;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("orders.jsonl");
/// let store = Store::temporary()?;
/// let relay = store.relay(JsonLines::append_to(&path).source("https://shop.example")).start()?;
/// let placed = NewEvent::json("Placed", &3)?;
/// let done = store.append("Order-7", ExpectedVersion::NoStream, [placed])?;
/// relay.wait_for(done.position, Duration::from_secs(5))?;
/// assert!(std::fs::read_to_string(&path)?.contains(r#""subject":"Order-7""#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JsonLines {
    path: PathBuf,
    source: String,
    open: Option<Open>,
    /// Bytes that are known to be durable, after a failed sync: what a read shows beyond them need not be.
    synced: Option<u64>,
    lines: Vec<u8>,
    last: Position,
}

struct Open {
    file: File,
    receipts: Receipts,
    bytes: u64,
}

impl JsonLines {
    /// Appends to the file at `path`, which is made if it does not exist.
    #[must_use]
    pub fn append_to(path: impl Into<PathBuf>) -> JsonLines {
        let (path, source) = (path.into(), "filmstrip".to_owned());
        JsonLines {
            path,
            source,
            open: None,
            synced: None,
            lines: Vec::new(),
            last: Position::START,
        }
    }

    /// Sets the attribute `source` of the CloudEvents, a URI reference; the default is `filmstrip`.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> JsonLines {
        self.source = source.into();
        self
    }

    /// The file, locked, and its last event.
    fn open_file(&self) -> Result<(File, u64, Option<Sent>), RelayError> {
        let failed = |action| move |error| outage(action, &self.path, &error);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(&self.path);
        let file = file.map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is written by another process", self.path.display());
                return Err(RelayError::outage(message));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        if let Some(synced) = self.synced {
            file.set_len(synced).map_err(failed("truncate"))?;
        }
        let length = file.metadata().map_err(failed("look at"))?.len();
        let (bytes, sent) = self.last_line(&file, length)?;
        if bytes < length {
            file.set_len(bytes).map_err(failed("truncate"))?;
        }
        file.sync_all().map_err(failed("sync"))?;
        if length == 0 {
            let above = self.path.parent().filter(|above| *above != Path::new(""));
            let directory = File::open(above.unwrap_or(Path::new(".")));
            directory.and_then(|directory| directory.sync_all()).map_err(failed("sync"))?;
        }
        Ok((file, bytes, sent))
    }

    /// The bytes up to the end of the last whole line, and what that line is.
    fn last_line(&self, file: &File, length: u64) -> Result<(u64, Option<Sent>), RelayError> {
        let foreign = |what: &str| {
            let path = self.path.display();
            RelayError::refused(format!("{path} {what}; a file of this relay's own is needed"))
        };
        let (mut from, mut end) = (length, Vec::new());
        loop {
            let feeds = end.iter().rev().filter(|byte| **byte == b'\n').count();
            if from == 0 || feeds >= 2 {
                break;
            }
            if length - from > 2 * LINE_BYTES_MAX {
                return Err(foreign("ends with a line of more than 64 MiB"));
            }
            let step = STEP_BYTES.max(length - from).min(from);
            let mut part = vec![0; step as usize];
            file.read_exact_at(&mut part, from - step)
                .map_err(|error| outage("read", &self.path, &error))?;
            part.extend_from_slice(&end);
            (from, end) = (from - step, part);
        }
        let Some(feed) = end.iter().rposition(|byte| *byte == b'\n') else {
            // Not even the first line is whole.
            let is_ours = end.starts_with(BEGINNING) || BEGINNING.starts_with(&end);
            return if is_ours { Ok((0, None)) } else { Err(foreign("holds something else")) };
        };
        let begin = end[..feed].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let sent = Sent::parse(&end[begin..feed]);
        let sent = sent.ok_or_else(|| foreign("ends with a line that is no event of a relay"))?;
        Ok((from + feed as u64 + 1, Some(sent)))
    }
}

impl RelayTarget for JsonLines {
    fn name(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn open(
        &mut self,
        _: &RelaySource,
        receipts: Receipts,
    ) -> Result<Option<LastEvent>, RelayError> {
        // Its lock goes with it.
        self.open = None;
        self.lines.clear();
        let (file, bytes, sent) = self.open_file()?;
        (self.open, self.synced) = (Some(Open { file, receipts, bytes }), None);
        Ok(sent.map(LastEvent::from))
    }

    fn send(&mut self, events: &[RecordedEvent]) -> Result<(), RelayError> {
        for event in events {
            CloudEvent::of(event, &self.source).write(&mut self.lines);
            self.lines.push(b'\n');
            self.last = event.position;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RelayError> {
        let Some(open) = &mut self.open else {
            return Err(RelayError::outage(format!("{} is not open", self.path.display())));
        };
        let written = open.file.write_all(&self.lines);
        if let Err(error) = written.and_then(|()| open.file.sync_data()) {
            self.synced = Some(open.bytes);
            return Err(outage("write", &self.path, &error));
        }
        open.bytes += self.lines.len() as u64;
        open.receipts.confirm(self.last);
        self.lines.clear();
        Ok(())
    }
}

fn outage(action: &str, path: &Path, error: &std::io::Error) -> RelayError {
    RelayError::outage(format!("cannot {action} {}: {error}", path.display()))
}
