use super::*;

fn at(position: u64) -> Position {
    Position::new(position)
}

fn id(id: &str) -> Id {
    id.into()
}

/// The instance `a`, which has reacted to the event at 5 with the own events 1 and 2.
fn with_effects() -> (Schedule<u64>, Id) {
    let (mut schedule, a) = (Schedule::with_room(2), id("a"));
    schedule.activate(&a, at(4));
    schedule.wait(&a, at(5), 10, 5);
    assert_eq!(schedule.next(&a), Next::Event(at(5)));
    schedule.recorded(&a, 1, 2);
    schedule.ingested(&a);
    (schedule, a)
}

#[test]
fn an_event_waits_for_the_effects_of_the_one_before() {
    let (mut schedule, a) = with_effects();
    schedule.wait(&a, at(8), 10, 8);
    assert_eq!((schedule.next(&a), schedule.waits_from(&a)), (Next::Effects, Some(at(8))));
    assert_eq!(schedule.floor(), Some(at(4)), "its event is not done with");
    schedule.effects_done(&a, 1);
    assert_eq!(schedule.next(&a), Next::Effects);
    schedule.effects_done(&a, 1);
    assert_eq!(schedule.next(&a), Next::Event(at(8)));
    assert_eq!((schedule.floor(), schedule.first(&a)), (Some(at(7)), Some(&8)));
    schedule.ingested(&a);
    assert_eq!((schedule.next(&a), schedule.waits_from(&a)), (Next::Nothing, None));
    schedule.retire(&a);
    assert_eq!((schedule.floor(), schedule.busy(), schedule.waiting_bytes), (None, 0, 0));
}

#[test]
fn an_instance_is_with_one_lane_at_a_time() {
    let (mut schedule, a) = with_effects();
    schedule.make_ready(&a);
    schedule.make_ready(&a);
    let (given, effects) = schedule.give_to_lane().unwrap();
    assert_eq!((given, effects.ranges()), (Arc::clone(&a), vec![(1, 2)]));
    schedule.make_ready(&a);
    assert!(schedule.give_to_lane().is_none(), "it is with two");
    assert!(schedule.all_busy().is_empty());
    schedule.back_from_lane(&a);
    assert_eq!(schedule.all_busy(), [a]);
}

#[test]
fn what_finds_no_room_is_read_again_from_where_it_lacks() {
    let (mut schedule, a) = with_effects();
    for position in [6, 8, 9, 10] {
        schedule.wait(&a, at(position), 10, position);
    }
    assert_eq!(schedule.waiting(), 2, "there is room for two");
    assert_eq!(schedule.to_reread(), None, "it has something to do");
    schedule.effects_done(&a, 2);
    for position in [6, 8] {
        assert_eq!(schedule.next(&a), Next::Event(at(position)));
        schedule.ingested(&a);
    }
    assert_eq!((schedule.next(&a), schedule.waits_from(&a)), (Next::Reread, Some(at(9))));
    assert_eq!((schedule.to_reread(), schedule.floor()), (Some(at(8)), Some(at(8))));
    // What is read again from further back, for another instance say, is known already.
    assert!(schedule.wait_again(&a, at(8), 10, 8));
    assert!(schedule.wait_again(&a, at(9), 10, 9) && schedule.wait_again(&a, at(10), 10, 10));
    assert_eq!(schedule.waiting(), 2);
    assert!(!schedule.wait_again(&a, at(11), 10, 11), "there is room for two");
    assert_eq!(schedule.read_again(at(10), true), [Arc::clone(&a)]);
    assert_eq!((schedule.next(&a), schedule.to_reread()), (Next::Event(at(9)), None));
    schedule.wait(&a, at(12), 10, 12);
    assert_eq!(schedule.waits_from(&a), Some(at(9)));
}

#[test]
fn a_parked_instance_holds_up_nothing_and_goes_on_from_where_it_waits() {
    let (mut schedule, a) = with_effects();
    schedule.wait(&a, at(7), 10, 7);
    schedule.park(&a);
    assert_eq!((schedule.floor(), schedule.busy(), schedule.waiting()), (None, 0, 0));
    schedule.wait(&a, at(9), 10, 9);
    assert_eq!((schedule.waits_from(&a), schedule.to_reread()), (Some(at(7)), None));
    schedule.unpark(&a);
    assert_eq!((schedule.next(&a), schedule.busy()), (Next::Effects, 1));
    schedule.effects_done(&a, 2);
    schedule.give_up(&a, at(7));
    assert_eq!((schedule.next(&a), schedule.to_reread()), (Next::Reread, Some(at(7))));
    // Parked when nothing waits for it, it waits from the first event on that comes.
    let b = id("b");
    schedule.activate(&b, at(9));
    schedule.park(&b);
    assert_eq!(schedule.waits_from(&b), None);
    schedule.wait(&b, at(12), 10, 12);
    assert_eq!(schedule.waits_from(&b), Some(at(12)));
}

#[test]
fn after_a_restart_nothing_is_claimed_before_the_effects_that_were_left() {
    let (mut schedule, a) = (Schedule::<u64>::new(), id("a"));
    schedule.restore(&a, Pending::of([(3, 4)]), Some(at(9)), at(2));
    schedule.restore(&id("b"), Pending::default(), Some(at(6)), at(2));
    assert_eq!((schedule.floor(), schedule.next(&a)), (Some(at(2)), Next::Effects));
    assert_eq!(schedule.next("b"), Next::Reread);
    assert_eq!(schedule.to_reread(), Some(at(5)), "the earliest");
    schedule.effects_done(&a, 2);
    assert_eq!((schedule.next(&a), schedule.floor()), (Next::Reread, Some(at(5))));
}

/// To find out that nothing is to be read again, all instances were looked at in each round.
#[test]
fn nothing_is_read_again_once_nobody_waits_for_it() {
    let mut schedule = Schedule::<u64>::new();
    for ended in ["parked", "retired", "read"] {
        for id in [id("a"), id("b")] {
            schedule.restore(&id, Pending::default(), Some(at(6)), at(2));
        }
        assert_eq!((schedule.next("a"), schedule.next("a")), (Next::Reread, Next::Reread));
        assert_eq!((schedule.rereading, schedule.to_reread()), (1, Some(at(5))));
        match ended {
            "parked" => schedule.park("a"),
            "retired" => schedule.retire("a"),
            _ => assert_eq!(schedule.read_again(at(9), true), [id("a")]),
        }
        assert_eq!((schedule.rereading, schedule.to_reread()), (0, None), "{ended}");
        ["a", "b"].iter().for_each(|id| schedule.retire(id));
        assert_eq!(schedule.rereading, 0);
    }
}

#[test]
fn bytes_bound_what_waits_too_and_a_lone_event_always_finds_room() {
    let (mut schedule, a) = with_effects();
    schedule.wait(&a, at(6), INSTANCES_WAITING_BYTES_MAX, 6);
    schedule.wait(&a, at(7), 1, 7);
    assert_eq!((schedule.waiting(), schedule.waits_from(&a)), (1, Some(at(6))));
    let b = id("b");
    schedule.activate(&b, at(7));
    schedule.wait(&b, at(8), INSTANCES_WAITING_BYTES_MAX, 8);
    assert_eq!(schedule.next(&b), Next::Event(at(8)));
}
