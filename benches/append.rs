//! Appending, beside what the disk can do: the same bytes into a zero-filled file, one `fdatasync`
//! for each commit.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use filmstrip::{ExpectedVersion, NewEvent, Store};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAYLOAD_BYTES: usize = 300;
/// What the engine puts around each event, and around each group.
const EVENT_BYTES: usize = PAYLOAD_BYTES + 74;
const GROUP_BYTES: usize = 104;
const RAW_FILE_BYTES: u64 = 64 << 20;

/// A zero-filled, synced file that is written from its beginning again when it is full.
struct RawFile {
    file: File,
    offset: u64,
    _directory: TempDir,
}

impl RawFile {
    fn new() -> RawFile {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(directory.path().join("raw")).expect("a file");
        file.write_all_at(&vec![0; RAW_FILE_BYTES as usize], 0).expect("space");
        file.sync_all().expect("a sync");
        RawFile { file, offset: 0, _directory: directory }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.offset + bytes.len() as u64 > RAW_FILE_BYTES {
            self.offset = 0;
        }
        self.file.write_all_at(bytes, self.offset).expect("a write");
        self.file.sync_data().expect("a sync");
        self.offset += bytes.len() as u64;
    }
}

fn events(count: u64) -> Vec<NewEvent> {
    (0..count).map(|_| NewEvent::bytes("Measured", vec![b'x'; PAYLOAD_BYTES])).collect()
}

fn one_writer(criterion: &mut Criterion) {
    for per_commit in [1, 100] {
        let mut group = criterion.benchmark_group(format!("one writer, {per_commit} per commit"));
        group.throughput(Throughput::Elements(per_commit));
        let bytes = vec![b'x'; GROUP_BYTES + EVENT_BYTES * per_commit as usize];
        let mut raw = RawFile::new();
        group.bench_function("raw file", |b| b.iter(|| raw.write(black_box(&bytes))));
        let store = Store::temporary().expect("a store");
        let mut n = 0;
        group.bench_function("filmstrip", |b| {
            b.iter(|| {
                n += 1;
                let stream = format!("Stream-{}", n % 1_000);
                store.append(&stream, ExpectedVersion::Any, events(per_commit)).expect("appended")
            });
        });
        group.finish();
    }
}

fn many_writers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("many writers, 1 per commit");
    group.throughput(Throughput::Elements(1));
    for writers in [4u64, 16, 64] {
        let store = Store::temporary().expect("a store");
        group.bench_function(BenchmarkId::from_parameter(writers), |b| {
            b.iter_custom(|commits| append_from(&store, writers, commits));
        });
    }
    group.finish();
}

fn append_from(store: &Store, writers: u64, commits: u64) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            // The first writers take what does not divide.
            let own = commits / writers + u64::from(writer < commits % writers);
            scope.spawn(move || {
                let stream = format!("Writer-{writer}");
                for _ in 0..own {
                    store.append(&stream, ExpectedVersion::Any, events(1)).expect("appended");
                }
            });
        }
    });
    began.elapsed()
}

criterion_group!(benches, one_writer, many_writers);
criterion_main!(benches);
