//! Reading: the whole sequence, backwards, filtered, and streams from index and tail.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filmstrip::{ExpectedVersion, NewEvent, Store, Version};
use std::hint::black_box;

const STREAMS: u64 = 5_000;
const EACH: u64 = 20;
const EVENTS: u64 = STREAMS * EACH;

/// 20 events of 300 bytes in each of 5,000 streams, in turn, 100 streams to a commit; all but the
/// last segment in the index.
fn filled() -> Store {
    let store = Store::temporary().expect("a store");
    for _ in 0..EACH {
        for first in (0..STREAMS).step_by(100) {
            let mut commit = filmstrip::Commit::new();
            for n in first..first + 100 {
                let event = NewEvent::bytes("Measured", vec![b'x'; 300]);
                commit = commit.append(format!("Stream-{n}"), ExpectedVersion::Any, [event]);
            }
            store.commit(commit).expect("committed");
        }
    }
    store
}

fn whole(criterion: &mut Criterion) {
    let store = filled();
    let mut group = criterion.benchmark_group("read all");
    group.sample_size(20);
    group.throughput(Throughput::Elements(EVENTS));
    let count = |read: filmstrip::read::ReadAll| {
        let events = read.iter().expect("open");
        let bytes: usize = events.map(|event| event.expect("whole").payload.len()).sum();
        assert!(bytes > 0);
        bytes
    };
    group.bench_function("forwards", |b| b.iter(|| black_box(count(store.read_all()))));
    group.bench_function("backwards", |b| {
        b.iter(|| black_box(count(store.read_all().backwards())));
    });
    group.bench_function("one stream in a hundred", |b| {
        b.iter(|| {
            let filter = (0..50).fold(filmstrip::Filter::all(), |filter, n| {
                let stream = format!("Stream-{}", n * 100).try_into().expect("a name");
                filter.and_stream(stream)
            });
            black_box(count(store.read_all().filter(filter)))
        });
    });
    group.finish();
}

fn streams(criterion: &mut Criterion) {
    let store = filled();
    let mut group = criterion.benchmark_group("read a stream of 20");
    group.throughput(Throughput::Elements(EACH));
    let mut n = 0;
    group.bench_function("warm", |b| {
        b.iter(|| {
            n = (n + 7_919) % STREAMS;
            let events = store.read_stream(format!("Stream-{n}")).collect().expect("whole");
            assert_eq!(events.len() as u64, EACH);
            black_box(events)
        });
    });
    group.bench_function("its last event", |b| {
        b.iter(|| {
            n = (n + 7_919) % STREAMS;
            let read = store.read_stream(format!("Stream-{n}")).backwards().limit(1);
            let events = read.collect().expect("whole");
            assert_eq!(events[0].version, Version::new(EACH));
            black_box(events)
        });
    });
    group.finish();
}

criterion_group!(benches, whole, streams);
criterion_main!(benches);
