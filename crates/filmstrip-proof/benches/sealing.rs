//! Sealing and opening the payload of one private event: `cargo bench -p filmstrip-proof --bench sealing`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filmstrip_proof::measured::PrivateEvent;
use std::hint::black_box;

fn sealing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sealing");
    for bytes in [300, 4_096] {
        let event = PrivateEvent::new(bytes);
        let mut sealed = Vec::new();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("seal-{bytes}"), |bencher| {
            bencher.iter(|| event.seal(black_box(&mut sealed)));
        });
        group.bench_function(format!("open-{bytes}"), |bencher| {
            bencher.iter(|| event.open(black_box(&sealed)));
        });
    }
    group.finish();
}

criterion_group!(benches, sealing);
criterion_main!(benches);
