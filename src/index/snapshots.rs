//! Snapshots of aggregates. A snapshot may vanish at any time, and a damaged one is not an error to a reader.

use crate::codec::keys;
use crate::codec::overflow::Content;
use crate::codec::snapshot;
use crate::index::core::Index;
use crate::kv::overflow;
use crate::value::error::Result;
use crate::value::limits::SNAPSHOTS_KEPT;
use crate::value::stream::StreamId;
use bytes::Bytes;

impl Index {
    /// Stores `bytes` as the stream's snapshot at `version`, if it is one of the newest two. The next sync makes it
    /// durable.
    pub(crate) fn put_snapshot(&self, stream: &StreamId, version: u64, bytes: &[u8]) -> Result<()> {
        let kept = self.snapshot_keys(stream, u64::MAX)?;
        let newer = kept.iter().filter(|key| keys::version_of(key) > Some(version)).count();
        if newer >= SNAPSHOTS_KEPT {
            return Ok(());
        }
        let key = keys::snapshot_key(stream, version);
        let content = Content::of(bytes);
        if let Content::Overflow(_) = content {
            // Write the pieces before the value that refers to them.
            self.put_overflow(&keys::snapshot_pieces(&key), bytes)?;
        }
        self.db.insert(&self.trees.snapshots, &key, snapshot::encode(&key, &content))?;
        for old in self.snapshot_keys(stream, u64::MAX)?.iter().skip(SNAPSHOTS_KEPT) {
            if let Some(version) = keys::version_of(old) {
                self.remove_snapshot(stream, version)?;
            }
        }
        Ok(())
    }

    /// Removes the stream's snapshot at `version`, if there is one.
    pub(crate) fn remove_snapshot(&self, stream: &StreamId, version: u64) -> Result<()> {
        let key = keys::snapshot_key(stream, version);
        self.db.remove(&self.trees.snapshots, &key)?;
        overflow::remove(&self.db, &self.trees.pieces, &keys::snapshot_pieces(&key))
    }

    /// The stream's readable snapshots at versions up to `at_most`, newest first.
    pub(crate) fn snapshots(&self, stream: &StreamId, at_most: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        self.read_snapshots(self.snapshot_keys(stream, at_most)?)
    }

    /// The stream's readable snapshots at versions past `version`, newest first.
    pub(crate) fn snapshots_past(
        &self,
        stream: &StreamId,
        version: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut keys = self.snapshot_keys(stream, u64::MAX)?;
        keys.retain(|key| keys::version_of(key) > Some(version));
        self.read_snapshots(keys)
    }

    fn read_snapshots(&self, keys: Vec<Bytes>) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut snapshots = Vec::new();
        for key in keys {
            if let (Some(version), Some(bytes)) = (keys::version_of(&key), self.snapshot(&key)?) {
                snapshots.push((version, bytes));
            }
        }
        Ok(snapshots)
    }

    fn snapshot(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(value) = self.db.get(&self.trees.snapshots, key)? else { return Ok(None) };
        self.snapshot_content(key, &value)
    }

    /// Decodes the snapshot stored as `value` under `key`; `None` if it cannot be read.
    pub(crate) fn snapshot_content(&self, key: &[u8], value: &Bytes) -> Result<Option<Vec<u8>>> {
        match snapshot::decode(key, value) {
            Some(content) => self.whole(&content, &keys::snapshot_pieces(key)),
            None => Ok(None),
        }
    }

    /// Writes an overflow value in pieces whose keys begin with `prefix`.
    pub(super) fn put_overflow(&self, prefix: &[u8], value: &[u8]) -> Result<()> {
        let key = |number| keys::piece_key(prefix, number);
        overflow::put(&self.db, &self.trees.pieces, key, value)
    }

    /// The whole value. Its pieces, if it has any, have keys that begin with `prefix`. `None` if they are not what
    /// was written.
    pub(super) fn whole(&self, content: &Content, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = |number| keys::piece_key(prefix, number);
        match content {
            Content::Inline(value) => Ok(Some(value.to_vec())),
            Content::Overflow(of) => overflow::get(&self.db, &self.trees.pieces, key, *of),
        }
    }

    /// The keys of the stream's snapshots at versions up to `at_most`, newest first.
    fn snapshot_keys(&self, stream: &StreamId, at_most: u64) -> Result<Vec<Bytes>> {
        let range = keys::stream_prefix(stream)..=keys::snapshot_key(stream, at_most);
        let mut entries = self.db.range(&self.trees.snapshots, range);
        let mut keys = Vec::new();
        while let Some((key, _)) = entries.next_back()? {
            keys.push(key);
        }
        Ok(keys)
    }
}
