//! What is read to fold a projection again.

use super::*;
use crate::log::read::selected::SelectedEvents;
use crate::value::limits::SELECTED_STREAMS_MAX;

/// Positions of the events that `filter` selects up to `last`, and whether the log was read for them.
fn selected(log: &Arc<crate::log::core::Log>, filter: &Filter, last: u64) -> (Vec<u64>, bool) {
    let events = SelectedEvents::new(log, filter, Position::new(last)).unwrap();
    let reads_log = matches!(events, SelectedEvents::Log(_));
    (events.map(|event| event.unwrap().position.get()).collect(), reads_log)
}

/// A filter of one stream read all of the log, and so did one of a small category.
#[test]
fn what_a_filter_selects_is_read_from_its_streams_if_they_are_few() {
    const MANY: u64 = 8 * SELECTED_STREAMS_MAX as u64;
    let store = Store::temporary().unwrap();
    let log = Arc::clone(store.project(Counts).log.log());
    let append = |stream: String, event_type: &str| {
        let event = NewEvent::bytes(event_type, vec![b'x'; 3_000]);
        store.append(stream, ExpectedVersion::Any, [event]).unwrap();
    };
    for n in 0..3_000_u64 {
        append(format!("Many-{}", n % MANY), "Counted");
        if n % 100 < 2 {
            let event_type = if n % 200 < 100 { "Opened" } else { "Shut" };
            append(format!("Door-{}", n % 7), event_type);
            append(format!("Doorbell-{}", n % 90), "Rung");
        }
    }
    // Some of it is in the index by now, and some in memory.
    let head = store.head().get();
    let by_log = |filter: &Filter, last: u64| -> Vec<u64> {
        let read = store.read_all().filter(filter.clone()).until(Position::new(last));
        read.collect().unwrap().iter().map(|event| event.position.get()).collect()
    };
    let stream = |name: &str| crate::value::stream::StreamId::new(name).unwrap();
    let few = [
        Filter::stream(stream("Door-1")),
        Filter::stream(stream("Door-3")).and_stream(stream("Many-7")).and_event_type("Counted"),
        Filter::stream(stream("Nothing-1")),
        Filter::category("Door"),
        Filter::category("Door").and_event_type("Shut"),
        Filter::category("Door").and_category("Nothing"),
    ];
    for filter in few {
        for last in [head, head - 1, head / 2 + 1] {
            let expected = by_log(&filter, last);
            assert_eq!(selected(&log, &filter, last), (expected, false), "{filter:?} to {last}");
        }
    }
    let many = [
        Filter::all(),
        Filter::event_type("Shut"),
        Filter::category("Many"),
        // More streams than are read side by side.
        Filter::category("Doorbell").and_category("Many"),
    ];
    for filter in many {
        let expected = by_log(&filter, head);
        assert_eq!(selected(&log, &filter, head), (expected, true), "{filter:?}");
    }
    // Of a log of a few events, its streams are no small part.
    let door = Filter::category("Door");
    assert_eq!(selected(&log, &door, 40), (by_log(&door, 40), true));
}
