//! Read models and durable projections: how fast they catch up, and how soon a view has an event.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filmstrip::{
    ExpectedVersion, Filter, HandlerError, NewEvent, Projection, ReadModel, RecordedEvent, Store,
    ViewWriter,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const EVENTS: u64 = 100_000;
const STREAMS: u64 = 1_000;
const APPENDS: usize = 2_000;
const LONG: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Model(HashMap<String, u64>);

impl ReadModel for Model {
    fn filter() -> Filter {
        Filter::category("Counted")
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
        let amount: u64 = event.json()?;
        match self.0.get_mut(event.stream.as_str()) {
            Some(sum) => *sum += amount,
            None => drop(self.0.insert(event.stream.to_string(), amount)),
        }
        Ok(())
    }
}

struct View;

impl Projection for View {
    const NAME: &'static str = "measured";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Counted")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let sum: u64 = view.get(event.stream.as_str())?.unwrap_or(0);
        Ok(view.put(event.stream.as_str(), &(sum + event.json::<u64>()?))?)
    }
}

/// 100 events in a commit, of 1,000 streams in turn.
fn filled() -> Store {
    let store = Store::temporary().expect("a store");
    for n in 0..EVENTS / 100 {
        let events = (0..100).map(|n| NewEvent::json("Counted", &n).expect("JSON"));
        let stream = format!("Counted-{}", n % STREAMS);
        store.append(stream, ExpectedVersion::Any, events).expect("appended");
    }
    store
}

fn catching_up(criterion: &mut Criterion) {
    let store = filled();
    let mut group = criterion.benchmark_group("catching up");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(300));
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("read model in memory", |b| {
        b.iter(|| {
            let model = store.read_model::<Model>().expect("a model");
            model.wait_for(store.head(), LONG).expect("in time");
        });
    });
    let view = store.project(View).start().expect("a projection");
    view.wait_for(store.head(), LONG).expect("in time");
    group.bench_function("durable projection", |b| {
        b.iter(|| {
            view.rebuild().expect("begun");
            view.wait_for(store.head(), LONG).expect("in time");
        });
    });
    group.finish();
}

/// From before an append until its event can be read: percentiles, which criterion does not show.
fn append_to_view(_: &mut Criterion) {
    let store = Store::temporary().expect("a store");
    let model = store.read_model::<Model>().expect("a model");
    let view = store.project(View).start().expect("a projection");
    println!("append to view, {APPENDS} appends of one event, one after the other (µs)");
    println!("{:<28} {:>9} {:>9} {:>9}", "", "p50", "p99", "most");
    let append = |n: usize| {
        let event = NewEvent::json("Counted", &1_u64).expect("JSON");
        let stream = format!("Counted-{}", n as u64 % STREAMS);
        store.append(stream, ExpectedVersion::Any, [event]).expect("appended").position
    };
    report("append alone", |n| {
        append(n);
    });
    report("append to read model", |n| model.wait_for(append(n), LONG).expect("in time"));
    report("append to durable view", |n| view.wait_for(append(n), LONG).expect("in time"));
    println!();
}

fn report(what: &str, mut once: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..APPENDS)
        .map(|n| {
            let began = Instant::now();
            once(n);
            began.elapsed()
        })
        .collect();
    times.sort();
    let micros = |at: usize| times[at].as_secs_f64() * 1e6;
    let (half, most) = (micros(APPENDS / 2), micros(APPENDS - 1));
    println!("{what:<28} {half:>9.0} {:>9.0} {most:>9.0}", micros(APPENDS * 99 / 100));
}

criterion_group!(benches, catching_up, append_to_view);
criterion_main!(benches);
