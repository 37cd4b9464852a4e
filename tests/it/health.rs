//! What a store tells an operator: its health and its figures.

use filmstrip::group::{GroupState, Nack};
use filmstrip::health::{FollowerKind, FollowerState, Stats, Writes};
use filmstrip::process::{Effects, ProcessState, Trigger};
use filmstrip::projection::ProjectionState;
use filmstrip::testing::ManualClock;
use filmstrip::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(60);

pub(crate) fn event(event_type: &str) -> NewEvent {
    NewEvent::json(event_type, &()).expect("JSON")
}

/// Counts events; fails at those of type "Bad".
pub(crate) struct Counts;

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;
    fn filter(&self) -> Filter {
        Filter::category("Door")
    }
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if event.event_type.as_str() == "Bad" {
            return Err("a bad event".into());
        }
        Ok(view.put(event.stream.as_str(), &event.version)?)
    }
}

#[derive(Default)]
pub(crate) struct Model(u64);

impl ReadModel for Model {
    fn filter() -> Filter {
        Filter::category("Door")
    }
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
        self.0 += 1;
        if event.event_type.as_str() == "Bad" { Err("a bad event".into()) } else { Ok(()) }
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Asked {
    Asked,
}

impl Event for Asked {}

/// Waits for an answer that does not come.
#[derive(Default, Clone)]
pub(crate) struct Waits(bool);

impl ProcessManager for Waits {
    const NAME: &'static str = "Waits";
    type Event = Asked;
    fn filter() -> Filter {
        Filter::category("Door")
    }
    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }
    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<Asked>, HandlerError> {
        match trigger {
            Trigger::Event(_) if !self.0 => Ok(vec![Asked::Asked]),
            _ => Ok(Vec::new()),
        }
    }
    fn evolve(&mut self, _: &Asked) {
        self.0 = true;
    }
    fn effect(&self, _: &Asked, _: &mut Effects<'_>) -> Result<Vec<Asked>, HandlerError> {
        Ok(Vec::new())
    }
}

fn follower(stats: &Stats, kind: FollowerKind) -> &health::FollowerStats {
    stats.followers.iter().find(|follower| follower.kind == kind).expect("it runs")
}

#[test]
fn figures_say_what_was_done() -> Result<()> {
    let store = Store::temporary()?;
    let before = store.stats()?;
    store.append("Door-1", ExpectedVersion::NoStream, [event("Opened"), event("Closed")])?;
    let conflict = store.append("Door-1", ExpectedVersion::NoStream, [event("Opened")]);
    assert!(conflict.is_err());
    let reading = store.read_all().iter()?;
    let subscription = store.subscribe().start()?;
    let stats = store.stats()?;
    let (was, is) = (before.commits, stats.commits);
    assert_eq!((is.commits - was.commits, is.events - was.events), (1, 2));
    assert_eq!((is.groups - was.groups, is.conflicts - was.conflicts), (1, 1));
    assert!(is.bytes > was.bytes && is.waiting == 0 && !stats.read_only);
    assert_eq!((before.open_readers, stats.open_readers), (0, 1));
    assert_eq!((stats.subscriptions.open, stats.subscriptions.lag), (1, 2));
    assert!(stats.subscriptions.lag_seconds >= 0.0);
    assert_eq!(stats.index.unindexed_events, 2);
    assert!(stats.index.unindexed_bytes > 0);
    drop((reading, subscription));
    let stats = store.stats()?;
    assert_eq!((stats.open_readers, stats.subscriptions.open), (0, 0));
    assert_eq!(stats.subscriptions.lag, 0);
    Ok(())
}

#[test]
fn bytes_on_disk_are_those_of_the_files() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path())?;
    let counts = store.project(Counts).start()?;
    let done = store.append("Door-1", ExpectedVersion::Any, [event("Opened")])?;
    counts.wait_for(done.position, WAIT)?;
    let disk = store.stats()?.disk;
    let [journal, tables, index, views, other] = disk.by_kind().map(|(_, bytes)| bytes);
    assert!(journal > 0 && index > 0 && views > 0 && other > 0 && tables == 0, "{disk:?}");
    let segments = std::fs::read_dir(directory.path().join("journal")).expect("a journal");
    let bytes = segments.map(|file| file.and_then(|file| file.metadata()).expect("a file").len());
    assert_eq!(bytes.sum::<u64>(), journal);
    Ok(())
}

/// What the files of the journal say of themselves is what is in them, here and beside the process that writes.
#[test]
fn the_files_of_the_journal_say_how_it_grew() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new("2026-03-02T09:00:00Z".parse().expect("a time"));
    let store = Store::builder().clock(clock.clone()).open(directory.path())?;
    let follower = Follower::open(directory.path())?;
    let none = store.segments()?;
    assert_eq!(
        (none.len(), none[0].first_position, none[0].begun_after),
        (1, Position::new(1), None)
    );
    assert_eq!(none[0].bytes, 4_096, "a header");
    for _ in 0..9 {
        let event = NewEvent::bytes("Written", vec![7; 400_000]);
        store.append("Door-1", ExpectedVersion::Any, [event])?;
        clock.advance(Duration::from_secs(3_600));
    }
    let segments = store.segments()?;
    assert!(segments.len() >= 3, "{segments:?}");
    assert_eq!(follower.segments()?, segments);
    let events = store.read_all().collect()?;
    for segment in &segments[1..] {
        let before = &events[segment.first_position.get() as usize - 2];
        assert_eq!(segment.begun_after, Some(before.recorded_at));
    }
    for (number, segment) in segments.iter().enumerate() {
        let file = directory.path().join(format!("journal/{:020}", number + 1));
        let bytes = std::fs::metadata(file).expect("a segment").len();
        let is_last = number + 1 == segments.len();
        assert!(
            if is_last { segment.bytes < bytes } else { segment.bytes == bytes },
            "{segment:?}"
        );
    }
    assert_eq!(segments[0].first_position, Position::new(1));
    assert!(segments.iter().map(|it| it.bytes).sum::<u64>() > 9 * 400_000);
    let copy = store.clone();
    store.close()?;
    assert_eq!(copy.segments().expect_err("it is closed").kind(), ErrorKind::Closed);
    let sealed = segments.len() - 1;
    assert_eq!(follower.segments()?[..sealed], segments[..sealed]);
    Ok(())
}

#[test]
fn what_follows_is_listed_with_its_state_and_lag() -> Result<()> {
    let store = Store::temporary()?;
    let counts = store.project(Counts).start()?;
    let waits = store.process::<Waits>().start()?;
    let model = store.read_model::<Model>()?;
    let mut consumer = store.subscribe().category("Door").group("mailer").attempts(5).start()?;
    counts.pause();
    store.append("Door-1", ExpectedVersion::Any, [event("Opened"), event("Closed")])?;
    waits.wait_for(Position::new(2), WAIT)?;
    model.wait_for(store.head(), WAIT)?;
    let first = consumer.next().expect("an event")?;
    first.nack(Nack::Retry(Duration::ZERO))?;
    let again = consumer.next().expect("an event")?;
    again.nack(Nack::Park)?;

    let health = store.health()?;
    assert!(health.is_healthy() && matches!(health.writes, Writes::Accepting));
    assert!(matches!(health.projections["counts"].state, ProjectionState::Paused));
    assert!(matches!(health.processes["Waits"].state, ProcessState::Running));
    assert!(matches!(health.groups["mailer"].state, GroupState::Running));
    assert_eq!((health.groups["mailer"].parked, health.groups["mailer"].unfinished), (1, 1));
    assert_eq!(health.read_models.len(), 1);
    assert!(health.read_models[0].name.ends_with("Model"));

    let stats = store.stats()?;
    let paused = follower(&stats, FollowerKind::Projection);
    assert_eq!((paused.state, paused.lag), (FollowerState::Paused, store.head().get()));
    assert!(paused.lag_seconds >= 0.0);
    let group = follower(&stats, FollowerKind::Group);
    assert_eq!((group.parked, group.retries, group.faults), (1, 1, 0));
    assert!(group.lag >= 1);
    let read_model = follower(&stats, FollowerKind::ReadModel);
    assert_eq!((read_model.lag, read_model.lag_seconds), (0, 0.0));
    assert_eq!(follower(&stats, FollowerKind::Process).deadlines, 0);
    Ok(())
}

#[test]
fn a_fault_is_a_fault_of_the_store_and_names_its_cause() -> Result<()> {
    let store = Store::temporary()?;
    let on_error = projection::OnError::default().retries(1).first_delay(Duration::ZERO);
    let counts = store.project(Counts).on_error(on_error).start()?;
    let model = store.read_model::<Model>()?;
    let done = store.append("Door-1", ExpectedVersion::Any, [event("Bad")])?;
    assert!(counts.wait_for(done.position, WAIT).is_err());
    assert!(model.wait_for(done.position, WAIT).is_err());
    let health = store.health()?;
    assert!(!health.is_healthy() && matches!(health.writes, Writes::Accepting));
    let faults = health.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[0].0, "projection counts");
    assert!(faults[0].1.to_string().contains("a bad event"));
    let shown = serde_json::to_value(&health).expect("it can be shown");
    assert_eq!(shown["projections"]["counts"]["state"]["name"], "faulted");
    let stats = store.stats()?;
    let projection = follower(&stats, FollowerKind::Projection);
    assert_eq!((projection.retries, projection.faults), (1, 1));
    assert_eq!(follower(&stats, FollowerKind::ReadModel).faults, 1);
    counts.resume();
    assert!(counts.wait_for(done.position, WAIT).is_err());
    assert_eq!(follower(&store.stats()?, FollowerKind::Projection).faults, 2);
    Ok(())
}

/// How long a follower lags is read in the frame that it has not passed. When it had stopped at that frame's damage,
/// there were no figures at all, and so no alarm.
#[test]
fn a_follower_that_stopped_at_damage_is_among_the_figures() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path())?;
    let marked = NewEvent::json("Opened", &"a mark in the payload")?;
    store.append("Door-1", ExpectedVersion::Any, [marked])?;
    // Until the first event is in the index, so that it is read from the disk.
    let large = vec![0; 256 << 10];
    while store.stats()?.index.unindexed_events >= store.head().get() {
        let large = NewEvent::bytes("Filled", large.clone());
        store.append("Door-2", ExpectedVersion::Any, [large])?;
    }
    store.close()?;
    let store = Store::open(directory.path())?;
    let segment = directory.path().join("journal/00000000000000000001");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let mark = bytes.windows(6).position(|at| at == b"a mark").expect("the payload");
    bytes[mark] ^= 1;
    std::fs::write(&segment, bytes).expect("it is written");

    let counts = store.project(Counts).start()?;
    let faulted = counts.wait_for(Position::new(1), WAIT).expect_err("it meets the damage");
    assert_eq!(faulted.kind(), ErrorKind::Corrupt);
    assert!(!store.health()?.is_healthy());
    let stats = store.stats().expect("figures, in spite of the damage");
    let counts = follower(&stats, FollowerKind::Projection);
    assert_eq!((counts.state, counts.faults), (FollowerState::Faulted, 1));
    assert_eq!(counts.lag, store.head().get());
    assert!(counts.lag_seconds.is_nan());
    Ok(())
}

#[test]
fn a_closed_store_says_so_and_has_no_figures() -> Result<()> {
    let store = Store::temporary()?;
    let counts = store.project(Counts).start()?;
    store.clone().close()?;
    let health = store.health()?;
    assert!(matches!(health.writes, Writes::Closed) && !health.is_healthy());
    assert!(health.faults().is_empty());
    assert_eq!(store.stats().unwrap_err().kind(), ErrorKind::Closed);
    drop(counts);
    Ok(())
}

#[test]
fn backups_and_verifications_are_counted() -> Result<()> {
    let (store, directory) = (Store::temporary()?, tempfile::tempdir().expect("a directory"));
    assert_eq!(store.stats()?.upkeep.last_backup, None);
    store.backup(directory.path().join("backups"))?;
    store.verify()?;
    std::fs::write(directory.path().join("file"), "no directory").expect("a file");
    assert!(store.backup(directory.path().join("file")).is_err());
    let upkeep = store.stats()?.upkeep;
    assert_eq!((upkeep.backups, upkeep.backup_failures), (1, 1));
    assert_eq!((upkeep.verifications, upkeep.verification_failures), (1, 0));
    assert!(upkeep.last_backup.is_some());
    Ok(())
}
