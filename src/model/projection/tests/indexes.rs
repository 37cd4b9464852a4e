//! Views with indexes that other versions of filmstrip have written to.

use super::*;
use crate::codec::projection::{ViewCheckpoint, encode};
use crate::model::policy::OnError;
use crate::views::changes::Row;

/// Lists streams by how many events each has.
struct Listed;

impl Projection for Listed {
    const NAME: &'static str = "listed";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["count"];

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if event.event_type == "Bad" {
            return Err("bad".into());
        }
        let count = view.get::<u64>(event.stream.as_str())?.unwrap_or(0) + 1;
        let keys = [("count", &count.to_be_bytes()[..])];
        Ok(view.put_indexed(event.stream.as_str(), &count, &keys)?)
    }
}

fn listed(handle: &ProjectionHandle) -> Vec<(u64, String)> {
    let listed = handle.view().index("count").collect::<u64>().unwrap();
    assert!(listed.iter().all(|row| row.by == row.row.to_be_bytes()), "{listed:?}");
    listed.into_iter().map(|row| (row.row, row.key)).collect()
}

fn start_listed(store: &Store) -> (ProjectionHandle, Arc<Views>) {
    let builder = store.project(Listed);
    let projections = Arc::clone(&builder.projections);
    let at_once = OnError::default().retries(0).then(ErrorAction::ParkEvent);
    let handle = builder.on_error(at_once).start().unwrap();
    handle.wait_for(store.head(), LONG).unwrap();
    (handle, projections.open_views(|| ()).unwrap())
}

fn row(key: &str, row: &'static str) -> Change {
    Change::Row(key.to_owned(), Some(Row::plain(row)))
}

/// A version without indexes goes on with a view that has some: its rows are right, its entries are not.
#[test]
fn a_view_whose_rows_were_changed_without_their_indexes_is_rebuilt() {
    let store = Store::temporary().unwrap();
    append_to(&store, 3);
    let bad = NewEvent::bytes("Bad", "");
    store.append("Counted-0", ExpectedVersion::Any, [bad]).unwrap();
    let named = |counts: [(u64, &str); 3]| counts.map(|(count, key)| (count, key.to_owned()));
    for restart in 0..3 {
        let (handle, views) = start_listed(&store);
        let expected = named([(2, "Counted-0"), (2, "Counted-1"), (2, "Counted-2")]);
        assert_eq!(listed(&handle), expected);
        assert_eq!(handle.status().parked, 1);
        handle.stop().unwrap();
        assert!(views.existing("projection/listed/2").unwrap().is_none(), "rebuilt: {restart}");
    }

    // It applies later events.
    append_to(&store, 2);
    let (handle, views) = start_listed(&store);
    handle.stop().unwrap();
    let blind = views.tree("projection/listed/1").unwrap();
    append_to(&store, 1);
    let position = store.head().get();
    let checkpoint =
        Change::State(CHECKPOINT.to_vec(), Some(encode(&ViewCheckpoint { version: 1, position })));
    blind.write(vec![row("Counted-0", "6"), checkpoint]).unwrap();
    let (handle, views) = start_listed(&store);
    let expected = named([(2, "Counted-2"), (4, "Counted-1"), (6, "Counted-0")]);
    assert_eq!(listed(&handle), expected);
    handle.stop().unwrap();

    // It applies a parked event, which leaves the checkpoint where it is.
    let blind = views.tree("projection/listed/2").unwrap();
    let parked = blind.states_with_prefix(b"parked/").unwrap();
    let [(name, _)] = &parked[..] else { panic!("{parked:?}") };
    blind.write(vec![row("Counted-0", "7"), Change::State(name.clone(), None)]).unwrap();
    let (handle, _) = start_listed(&store);
    assert_eq!(listed(&handle), expected, "the view of the version without indexes");
    assert_eq!(handle.status().parked, 1);
}
