//! What reading and writing a view costs: entries of sled that are read, and writes.

use super::*;
use crate::model::projection::merged::Changes;
use crate::model::projection::rows::RowSource;
use crate::model::readable::Readable;
use crate::value::fork::Owner;
use crate::value::limits::FEED_BATCH_EVENTS_MIN;
use crate::views::changes::Row;

const ROWS: u64 = 20_000;

fn key(n: u64) -> String {
    format!("n/{n:06}")
}

/// A view of `ROWS` rows, 1 to `ROWS`.
fn filled(store: &Store) -> (Arc<Views>, Arc<ViewTree>) {
    let (_, views) = start(store);
    let tree = views.tree("filled").unwrap();
    let row = |n: u64| Change::Row(key(n), Some(Row::plain(n.to_string())));
    tree.write((1..=ROWS).map(row).collect()).unwrap();
    (views, Arc::new(tree))
}

/// Expects that `read` reads at most `most` entries.
#[track_caller]
fn check_reads(views: &Views, what: &str, most: u64, read: impl FnOnce()) {
    let (before, _) = views.reads_and_writes();
    read();
    let entries = views.reads_and_writes().0 - before;
    assert!(entries <= most, "{what} reads {entries} entries, at most {most}");
}

/// The story: all rows that began with the prefix were read, for a page of any size, and what `apply` read of a
/// prefix was copied as a whole.
#[test]
fn a_page_reads_its_own_rows_however_many_there_are() {
    let store = Store::temporary().unwrap();
    let (views, tree) = filled(&store);
    let view = View::new(Arc::new(Readable::new(Arc::clone(&tree))), Owner::this_process());
    for middle in [0, 1, ROWS / 2, ROWS, ROWS + 1] {
        check_reads(&views, "a page", 21, || {
            let rows = view.rows().prefix("n/").after(&key(middle)).limit(20);
            let page: Vec<(String, u64)> = rows.collect().unwrap();
            assert_eq!(page.len() as u64, ROWS.saturating_sub(middle).min(20));
        });
        check_reads(&views, "a page backwards", 21, || {
            let rows = view.rows().prefix("n/").before(&key(middle)).backwards().limit(20);
            let page: Vec<(String, u64)> = rows.collect().unwrap();
            assert_eq!(page.len() as u64, middle.saturating_sub(1).min(20));
        });
    }
    check_reads(&views, "the last row", 1, || {
        assert_eq!(view.rows().backwards().first().unwrap(), Some((key(ROWS), ROWS)));
    });
    check_reads(&views, "no row", 0, || {
        assert!(view.rows().range("b".."a").limit(20).collect::<u64>().unwrap().is_empty());
        assert!(view.rows().limit(0).iter::<u64>().next().is_none());
    });
    check_reads(&views, "the beginning of a walk", 16, || {
        assert_eq!(view.rows().iter::<u64>().next().unwrap().unwrap(), (key(1), 1));
    });
    check_reads(&views, "a walk that is left", 256, || {
        assert_eq!(view.rows().iter::<u64>().nth(99).unwrap().unwrap().1, 100);
    });
    check_reads(&views, "a walk", ROWS + 1, || {
        assert_eq!(view.rows().iter::<u64>().count() as u64, ROWS);
    });
}

#[test]
fn apply_reads_the_rows_of_its_page_and_those_that_were_deleted_in_it() {
    let store = Store::temporary().unwrap();
    let (views, tree) = filled(&store);
    let view: &dyn RowSource = &*tree;
    let nothing = Changes::new();
    let mut writer = ViewWriter::new(view, &[], &nothing);
    for n in (1..=ROWS).step_by(2) {
        writer.put(&key(n), &0).unwrap();
    }
    for n in 101..=110 {
        writer.delete(&key(n));
    }
    let earlier = writer.finish().0;
    let mut writer = ViewWriter::new(view, &[], &earlier);
    writer.put(&format!("{}/new", key(100)), &1).unwrap();
    check_reads(&views, "a page", 31, || {
        let page: Vec<(String, u64)> = writer.rows().after(&key(99)).limit(20).collect().unwrap();
        assert_eq!((page[0].1, page[1].1, page[2].1, page[3].1), (100, 1, 0, 112));
        assert_eq!(page.len(), 20);
    });
    check_reads(&views, "a page backwards", 31, || {
        let rows = writer.rows().prefix("n/").before(&key(113)).backwards().limit(20);
        let page: Vec<(String, u64)> = rows.collect().unwrap();
        assert_eq!((page[0].1, page[1].1, page[2].1, page[3].1), (112, 0, 1, 100));
        assert_eq!(page.len(), 20);
    });
}

/// Counts by the rest of the position; waits until it may begin.
struct Hot(Receiver<()>);

const HOT_ROWS: u64 = 1_000;

impl Projection for Hot {
    const NAME: &'static str = "hot";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Hot")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let _ = self.0.recv();
        let key = key(event.position.get() % HOT_ROWS);
        let count: u64 = view.get(&key)?.unwrap_or(0);
        Ok(view.put(&key, &(count + 1))?)
    }
}

/// A projection that lagged behind wrote its rows after each batch, and had no time for more events.
#[test]
fn a_view_that_lags_behind_is_not_written_for_each_batch() {
    const BATCHES: u64 = 60;
    let store = Store::temporary().unwrap();
    for _ in 0..BATCHES {
        let events = (0..FEED_BATCH_EVENTS_MIN).map(|_| NewEvent::bytes("Counted", ""));
        store.append("Hot-1", ExpectedVersion::Any, events).unwrap();
    }
    let (open, gate) = bounded(0);
    let builder = store.project(Hot(gate));
    let projections = Arc::clone(&builder.projections);
    let handle = builder.start().unwrap();
    let views = projections.open_views(|| ()).unwrap();
    let (_, before) = views.reads_and_writes();
    drop(open);
    handle.wait_for(store.head(), LONG).unwrap();
    let writes = views.reads_and_writes().1 - before;
    assert!(writes < BATCHES * 3 / 4, "{writes} writes for {BATCHES} batches");
    let rows: Vec<(String, u64)> = handle.view().prefix("").unwrap();
    let events: u64 = rows.iter().map(|(_, count)| count).sum();
    assert_eq!((rows.len() as u64, events), (HOT_ROWS, store.head().get()));
}
