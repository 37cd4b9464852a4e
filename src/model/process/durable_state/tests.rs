use super::*;
use crate::value::limits::PROCESS_PARKED_MAX;

type Plain = Schedule<u64>;

fn kept() -> (DurableState, Plain) {
    (DurableState::new("P", None), Schedule::new())
}

fn id(id: &str) -> Id {
    id.into()
}

fn keys(kept: &DurableState, schedule: &Plain) -> Vec<(String, bool)> {
    let mut records = kept.records(schedule);
    records.sort();
    records.into_iter().map(|(key, value)| (key, value.is_empty())).collect()
}

fn key(key: &str, removed: bool) -> (String, bool) {
    (format!("process/{key}"), removed)
}

#[test]
fn a_commit_writes_what_has_changed_and_what_the_journal_does_not_know() {
    let (mut kept, mut schedule) = kept();
    let (a, cursor) = (id("a"), key("cursor/P", false));
    schedule.activate(&a, Position::START);
    schedule.recorded(&a, 1, 1);
    kept.touch(&a);
    kept.set_alarm(&a, None, Some(Alarm { due: 5, fired: false }));
    kept.pass(Position::new(1));
    let both = [cursor.clone(), key("deadline/P-a", false), key("effects/P-a", false)];
    assert_eq!(keys(&kept, &schedule), both);
    kept.written(&schedule);
    assert_eq!((kept.ahead(), kept.lagging(), kept.deadlines()), (0, 0, 1));
    // An event waits for the effect, and then the effect is done.
    schedule.wait(&a, Position::new(2), 0, 2);
    kept.touch(&a);
    kept.pass(Position::new(2));
    assert_eq!(keys(&kept, &schedule), [cursor.clone(), key("waits/P-a", false)]);
    kept.written(&schedule);
    schedule.effects_done(&a, 1);
    schedule.ingested(&a);
    schedule.retire(&a);
    kept.touch_retired(&a);
    let gone = [cursor.clone(), key("effects/P-a", true), key("waits/P-a", true)];
    assert_eq!(keys(&kept, &schedule), gone);
    kept.written(&schedule);
    assert_eq!(keys(&kept, &schedule), [cursor]);
    // What the journal knows nothing of needs no record when it is over.
    schedule.activate(&a, Position::START);
    schedule.retire(&a);
    kept.touch_retired(&a);
    assert_eq!(kept.lagging(), 0);
}

#[test]
fn a_cursor_past_events_that_wait_says_so() {
    let (mut kept, mut schedule) = kept();
    let a = id("a");
    let cursor = |kept: &DurableState, schedule: &Plain| {
        kept.records(schedule).into_iter().find(|(key, _)| key == "process/cursor/P").unwrap().1
    };
    kept.pass(Position::new(7));
    assert_eq!(cursor(&kept, &schedule), encode_cursor(7, false));
    schedule.activate(&a, Position::START);
    schedule.recorded(&a, 1, 1);
    schedule.wait(&a, Position::new(7), 0, 7);
    kept.touch(&a);
    assert_eq!(cursor(&kept, &schedule), encode_cursor(7, true));
    kept.written(&schedule);
    assert_eq!(cursor(&kept, &schedule), encode_cursor(7, true));
}

#[test]
fn what_is_parked_is_counted_and_found_by_its_instance() {
    let (mut kept, _) = kept();
    let parked = |step| ParkedStep {
        step,
        what: "it".into(),
        error: "no".into(),
        attempts: 1,
        parked_at: 1,
    };
    let (a, b) = (id("a"), id("b"));
    kept.park(&a, &parked(StoredStep::Effect(3)));
    for step in [StoredStep::Deadline(-5), StoredStep::Event(9), StoredStep::Event(4)] {
        kept.set_aside(&b, &parked(step));
    }
    kept.set_aside(&id("ba"), &parked(StoredStep::Event(1)));
    assert_eq!(kept.parked(), 5);
    assert_eq!(kept.parked_at("a"), Some(StoredStep::Effect(3)));
    let of_b = [StoredStep::Event(4), StoredStep::Event(9), StoredStep::Deadline(-5)];
    assert_eq!(kept.aside("b"), of_b);
    kept.take_back(&b, StoredStep::Event(4));
    kept.unpark(&a);
    assert_eq!((kept.parked(), kept.aside("b").len(), kept.parked_at("a")), (3, 2, None));
}

/// Each effect that led to something wrote the list of all that were left: 10,000 effects of one reaction wrote
/// 150 MB of records. What is written for an effect does not grow with their number.
#[test]
fn what_is_written_for_an_effect_does_not_grow_with_their_number() {
    const EFFECTS: u64 = 10_000;
    let (mut kept, mut schedule) = kept();
    let a = id("a");
    schedule.activate(&a, Position::START);
    schedule.recorded(&a, 1, EFFECTS);
    kept.touch(&a);
    let mut written = 0;
    for done in 1..=EFFECTS {
        kept.records(&schedule);
        kept.written(&schedule);
        assert_eq!(schedule.effects(&a).first(), Some(done));
        schedule.effects_done(&a, 1);
        kept.touch(&a);
        let records = kept.records(&schedule);
        written += records.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    }
    assert!(schedule.effects(&a).is_empty());
    assert!(written < EFFECTS as usize * 100, "{written} bytes for {EFFECTS} effects");
}

/// Each event that was skipped was written down and removed again, though nobody would read it a second time; and of
/// those that an instance would read, any number was remembered.
#[test]
fn what_is_skipped_is_remembered_only_for_an_instance_that_waits_from_before_it_on_and_within_bounds()
 {
    let (mut kept, mut schedule) = kept();
    let at = Position::new;
    kept.give_up(vec![at(1), at(7)], &schedule).unwrap();
    assert_eq!(kept.lagging(), 0);
    schedule.restore(&id("a"), Pending::default(), Some(at(5)), Position::START);
    kept.give_up(vec![at(4), at(5), at(7)], &schedule).unwrap();
    let written = [4, 5, 7].map(|position| kept.given_up.contains(&at(position)));
    assert_eq!((written, kept.lagging()), ([false, true, true], 2));
    let further = |some: usize| (0..some as u64).map(|n| at(100 + n)).collect();
    let refused = kept.give_up(further(PROCESS_PARKED_MAX - 1), &schedule).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert_eq!(
        refused.to_string(),
        "what is skipped of process P, and is kept for an instance that waits from before it on, is 16385 events; \
         at most 16384 are allowed"
    );
    assert_eq!(kept.lagging(), 2, "nothing of it is skipped");
    kept.give_up(further(PROCESS_PARKED_MAX - 2), &schedule).unwrap();
    schedule.retire("a");
    kept.forget_given_up(&schedule);
    assert!(kept.given_up.is_empty());
}
