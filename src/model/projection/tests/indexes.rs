//! Views with indexes that other versions of filmstrip have written to.

use super::*;
use crate::codec::projection::{ViewCheckpoint, encode};
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
        let count = view.get::<u64>(event.stream.as_str())?.unwrap_or(0) + 1;
        let keys = [("count", &count.to_be_bytes()[..])];
        Ok(view.put_indexed(event.stream.as_str(), &count, &keys)?)
    }
}

/// A version without indexes goes on with a view that has some: its rows are right, its entries are not.
#[test]
fn a_view_whose_rows_were_changed_without_their_indexes_is_rebuilt() {
    let store = Store::temporary().unwrap();
    append_to(&store, 3);
    let builder = store.project(Listed);
    let projections = Arc::clone(&builder.projections);
    let handle = builder.start().unwrap();
    handle.wait_for(store.head(), LONG).unwrap();
    handle.stop().unwrap();
    append_to(&store, 2);
    let views = projections.open_views(|| ()).unwrap();
    let blind = views.tree("projection/listed/1").unwrap();
    let position = store.head().get();
    let checkpoint = encode(&ViewCheckpoint { version: 1, position });
    blind
        .write(vec![
            Change::Row("Counted-0".to_owned(), Some(Row::plain("4"))),
            Change::Row("Counted-1".to_owned(), Some(Row::plain("4"))),
            Change::State(CHECKPOINT.to_vec(), Some(checkpoint)),
        ])
        .unwrap();

    let handle = store.project(Listed).start().unwrap();
    handle.wait_for(store.head(), LONG).unwrap();
    let listed = handle.view().index("count").collect::<u64>().unwrap();
    let listed: Vec<_> = listed.into_iter().map(|row| (row.row, row.key)).collect();
    let expected = [(2, "Counted-2"), (4, "Counted-0"), (4, "Counted-1")];
    assert_eq!(listed, expected.map(|(count, key)| (count, key.to_owned())));
    assert!(
        handle
            .view()
            .index("count")
            .collect::<u64>()
            .unwrap()
            .iter()
            .all(|row| row.by == row.row.to_be_bytes())
    );
}
