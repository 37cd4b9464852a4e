//! The page that documents metrics, and what a store that does everything hands to a recorder, are the same.

use crate::common::wait_until;
use crate::health::{Counts, Model, Waits, event};
use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata as Of,
    Recorder, SharedString, Unit,
};
use filmstrip::group::Nack;
use filmstrip::replica::StoreDirectory;
use filmstrip::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(60);
const PAGE: &str = include_str!("../../docs/METRICS.md");

/// What a recorder knows of one metric with its labels.
#[derive(Debug, Clone, Default)]
struct Series {
    kind: &'static str,
    value: f64,
    samples: Vec<f64>,
}

type Labels = BTreeMap<String, String>;

/// Collects what it is given, and panics if it is told to.
#[derive(Clone, Default)]
struct Collects(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    series: BTreeMap<(String, Labels), Series>,
    described: BTreeMap<String, (&'static str, Option<Unit>)>,
    panics: bool,
}

/// One of its metrics.
struct Handle(Collects, (String, Labels));

impl Handle {
    fn change(&self, change: impl FnOnce(&mut Series)) {
        let state = &mut *self.0.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(!state.panics, "the recorder panics");
        change(state.series.get_mut(&self.1).expect("it was registered"));
    }
}

impl CounterFn for Handle {
    fn increment(&self, more: u64) {
        self.change(|series| series.value += more as f64);
    }
    fn absolute(&self, value: u64) {
        self.change(|series| series.value = series.value.max(value as f64));
    }
}

impl GaugeFn for Handle {
    fn increment(&self, more: f64) {
        self.change(|series| series.value += more);
    }
    fn decrement(&self, less: f64) {
        self.change(|series| series.value -= less);
    }
    fn set(&self, value: f64) {
        self.change(|series| series.value = value);
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.change(|series| series.samples.push(value));
    }
}

impl Collects {
    fn register(&self, kind: &'static str, key: &Key) -> Arc<Handle> {
        let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
        let id = (key.name().to_owned(), labels.collect());
        let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let series = state.series.entry(id.clone()).or_default();
        assert!(series.kind.is_empty() || series.kind == kind, "{id:?} is two kinds of metric");
        series.kind = kind;
        Arc::new(Handle(self.clone(), id))
    }

    fn describe(&self, kind: &'static str, name: &KeyName, unit: Option<Unit>) {
        let mut state = self.0.lock().expect("nothing has panicked");
        state.described.insert(name.as_str().to_owned(), (kind, unit));
    }

    fn series(&self) -> BTreeMap<(String, Labels), Series> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).series.clone()
    }

    /// The value of a metric, with these labels besides that of the store.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has =
            |met: &Labels| labels.iter().all(|(k, v)| met.get(*k).is_some_and(|met| met == v));
        let series = self.series();
        let found: Vec<_> = series.iter().filter(|((of, met), _)| of == name && has(met)).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].1.value
    }
}

impl Recorder for Collects {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("counter", &name, unit);
    }
    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("gauge", &name, unit);
    }
    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("histogram", &name, unit);
    }
    fn register_counter(&self, key: &Key, _: &Of<'_>) -> Counter {
        Counter::from_arc(self.register("counter", key))
    }
    fn register_gauge(&self, key: &Key, _: &Of<'_>) -> Gauge {
        Gauge::from_arc(self.register("gauge", key))
    }
    fn register_histogram(&self, key: &Key, _: &Of<'_>) -> Histogram {
        Histogram::from_arc(self.register("histogram", key))
    }
}

/// Name, kind and labels of each metric that `page` documents.
fn documented(page: &str) -> BTreeSet<(String, String, BTreeSet<String>)> {
    let rows = page.lines().filter(|line| line.starts_with("| `filmstrip_"));
    let ticked = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let documented = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "a row of five cells: {row}");
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), ticked(cells[4]))
    });
    documented.collect()
}

/// The same of each metric that was handed over.
fn handed_over(
    series: &BTreeMap<(String, Labels), Series>,
) -> BTreeSet<(String, String, BTreeSet<String>)> {
    let of = |((name, labels), series): (&(String, Labels), &Series)| {
        (name.clone(), series.kind.to_owned(), labels.keys().cloned().collect())
    };
    series.iter().map(of).collect()
}

#[test]
fn the_page_and_a_store_that_does_everything_agree() -> Result<()> {
    let (recorder, directory) = (Collects::default(), tempfile::tempdir().expect("a directory"));
    ::metrics::with_local_recorder(&recorder, || -> Result<()> {
        let path = directory.path().join("orders");
        let store = Store::open(&path)?;
        store.record_metrics()?;
        let counts = store.project(Counts).start()?;
        let waits = store.process::<Waits>().start()?;
        let _model = store.read_model::<Model>()?;
        let _subscription = store.subscribe().start()?;
        let mut consumer = store.subscribe().category("Door").group("mailer").start()?;
        store.append("Door-1", ExpectedVersion::NoStream, [event("Opened"), event("Closed")])?;
        assert!(store.append("Door-1", ExpectedVersion::NoStream, [event("Opened")]).is_err());
        consumer.next().expect("a delivery")?.nack(Nack::Park)?;
        counts.wait_for(Position::new(2), WAIT)?;
        waits.wait_for(Position::new(2), WAIT)?;
        store.backup(directory.path().join("backups"))?;
        store.verify()?;
        store.record_metrics()?;
        let mut handed = handed_over(&recorder.series());
        handed.extend(handed_over(&of_replica(&path, store.head())?));
        assert_eq!(documented(PAGE), handed);
        assert_eq!(recorder.value("filmstrip_replica", &[]), 0.0);

        let stats = store.stats()?;
        assert_eq!(recorder.value("filmstrip_commits_total", &[]), stats.commits.commits as f64);
        assert_eq!(recorder.value("filmstrip_conflicts_total", &[]), 1.0);
        let group = [("kind", "group"), ("name", "mailer")];
        assert_eq!(recorder.value("filmstrip_follower_parked", &group), 1.0);
        let journal = recorder.value("filmstrip_disk_bytes", &[("kind", "journal")]);
        assert_eq!(journal, stats.disk.journal as f64);
        assert_eq!(recorder.value("filmstrip_backups_total", &[("outcome", "done")]), 1.0);
        for ((name, labels), series) in recorder.series() {
            assert_eq!(labels["store"], "orders", "{name}");
            assert!(labels.values().all(|value| !value.contains("Door")), "{name} {labels:?}");
            assert!(series.value.is_finite() && series.value >= 0.0, "{name} {labels:?}");
        }
        let samples = |name: &str| {
            let series = recorder.series().into_iter().find(|((of, _), _)| of == name);
            series.expect("it was registered").1.samples
        };
        let groups = stats.commits.groups;
        assert_eq!(samples("filmstrip_commit_group_commits").len() as u64, groups);
        assert_eq!(samples("filmstrip_fdatasync_seconds").len() as u64, groups);
        assert!(samples("filmstrip_commit_seconds").len() as u64 > groups, "the conflict's, too");
        assert!(samples("filmstrip_commit_seconds").iter().all(|taken| *taken > 0.0));

        counts.stop()?;
        store.record_metrics()?;
        let counts = [("kind", "projection"), ("name", "counts")];
        assert_eq!(recorder.value("filmstrip_follower_running", &counts), 0.0);
        Ok(())
    })
}

/// What a replica of the store in `source` hands over once it is at `head`, and after it was promoted.
fn of_replica(source: &Path, head: Position) -> Result<BTreeMap<(String, Labels), Series>> {
    let (recorder, directory) = (Collects::default(), tempfile::tempdir().expect("a directory"));
    ::metrics::with_local_recorder(&recorder, || -> Result<_> {
        let replica =
            Store::builder().replica(StoreDirectory::at(source)).open(directory.path())?;
        replica.wait_for(head, WAIT)?;
        wait_until(WAIT, "no lag", || {
            let following = replica.stats().expect("statistics").replication.expect("a replica");
            following.following && following.lag_seconds.is_finite()
        });
        replica.record_metrics()?;
        let value = |name: &str| recorder.value(name, &[]);
        assert_eq!(value("filmstrip_replica"), 1.0);
        assert_eq!(value("filmstrip_replica_following"), 1.0);
        assert_eq!(value("filmstrip_replica_stopped"), 0.0);
        assert_eq!(value("filmstrip_replica_lag_events"), 0.0);
        assert!(value("filmstrip_replica_lag_seconds") < WAIT.as_secs_f64());
        let frames = value("filmstrip_replica_frames_total");
        assert!(frames >= 1.0 && frames <= value("filmstrip_commits_total"), "{frames} frames");
        let series = recorder.series();
        replica.promote()?;
        replica.record_metrics()?;
        assert_eq!(value("filmstrip_replica"), 0.0);
        Ok(series)
    })
}

#[test]
fn each_metric_is_described_with_its_unit() -> Result<()> {
    let recorder = Collects::default();
    ::metrics::with_local_recorder(&recorder, || {
        Store::builder().metrics_name("a").temporary()?.record_metrics()
    })?;
    let described = recorder.0.lock().expect("nothing has panicked").described.clone();
    let page: BTreeMap<_, _> =
        documented(PAGE).into_iter().map(|(name, kind, _)| (name, kind)).collect();
    assert_eq!(described.keys().collect::<Vec<_>>(), page.keys().collect::<Vec<_>>());
    for (name, (kind, unit)) in described {
        assert_eq!(kind, page[&name], "{name}");
        let of_name = match name.trim_end_matches("_total") {
            name if name.ends_with("_seconds") => Unit::Seconds,
            name if name.ends_with("_bytes") => Unit::Bytes,
            _ => Unit::Count,
        };
        assert_eq!(unit, Some(of_name), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
    }
    Ok(())
}

/// A counter was handed over as it was, which recorders take for the larger of two values: after the store was opened
/// again, it stood still until there was more than before.
#[test]
fn counters_go_on_when_a_store_is_opened_again() -> Result<()> {
    let (recorder, directory) = (Collects::default(), tempfile::tempdir().expect("a directory"));
    ::metrics::with_local_recorder(&recorder, || -> Result<()> {
        let mut commits = 0.0;
        for opening in 1..=3 {
            let store = Store::open(directory.path().join("orders"))?;
            store.record_metrics()?;
            for _ in 0..4 - opening {
                store.append("Door-1", ExpectedVersion::Any, [event("Opened")])?;
                store.record_metrics()?;
            }
            store.record_metrics()?;
            commits += store.stats()?.commits.commits as f64;
            assert_eq!(recorder.value("filmstrip_commits_total", &[]), commits, "{opening}");
            store.close()?;
        }
        Ok(())
    })
}

/// A store that hands its times to `recorder`.
fn opened(recorder: &Collects) -> Result<Store> {
    let store = Store::temporary()?;
    ::metrics::with_local_recorder(recorder, || store.record_metrics())?;
    Ok(store)
}

#[test]
fn a_recorder_that_panics_makes_no_commit_fail() -> Result<()> {
    let recorder = Collects::default();
    let store = opened(&recorder)?;
    recorder.0.lock().expect("nothing has panicked").panics = true;
    store.append("Door-1", ExpectedVersion::Any, [event("Opened")])?;
    store.append("Door-1", ExpectedVersion::Any, [event("Closed")])?;
    assert!(store.health()?.is_healthy());
    Ok(())
}

#[test]
fn what_the_index_does_is_timed() -> Result<()> {
    let recorder = Collects::default();
    let store = opened(&recorder)?;
    let body = vec![0_u8; 2 << 20];
    store.append("Door-1", ExpectedVersion::Any, [NewEvent::bytes("Opened", body)])?;
    wait_until(WAIT, "a flush batch", || store.stats().is_ok_and(|stats| stats.index.flushes > 0));
    wait_until(WAIT, "its time", || {
        let series = recorder.series().into_iter();
        let mut flushes = series.filter(|((name, _), _)| name == "filmstrip_index_flush_seconds");
        flushes.any(|(_, series)| !series.samples.is_empty())
    });
    Ok(())
}
