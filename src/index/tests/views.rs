use super::*;
use crate::codec::view_entry::{self, Entries};
use crate::views::Views;
use crate::views::changes::{Change, Row};
use crate::views::entries::{Entry, EntryRange};
use crate::views::range::RowRange;
use bytes::Bytes;
use std::ops::ControlFlow;

/// Writes a view whose rows and checkpoint all hold the number `n`.
fn write(views: &std::sync::Arc<Views>, n: u64) -> Result<()> {
    let tree = views.tree("projection/all/1")?;
    let value = n.to_string();
    let row = |key: u64| Change::Row(format!("row {key}"), Some(Row::plain(value.clone())));
    let checkpoint = Change::State(b"checkpoint".to_vec(), Some(value.clone().into()));
    tree.write((0..5).map(row).chain([checkpoint]).collect())
}

fn check(directory: &Path, written: u64, case: &str) {
    let views = Views::open(&disk(), directory, CACHE_BYTES).unwrap();
    let tree = views.tree("projection/all/1").unwrap();
    let checkpoint = tree.state(b"checkpoint").unwrap();
    tree.scan(&RowRange::all(), &mut |key, row| {
        assert_eq!(Some(row()?), checkpoint, "{case}: {key} is not of the checkpoint's time");
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    let reached = checkpoint.map_or(0, |n| String::from_utf8_lossy(&n).parse().unwrap());
    assert!((written..=written + 1).contains(&reached), "{case}: {reached}, {written} written");
}

#[test]
fn whenever_the_process_dies_a_view_and_its_checkpoint_agree() {
    for dies_after in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let views = Views::open(&disk(), directory.path(), CACHE_BYTES).unwrap();
        views.tree("projection/all/1").unwrap();
        views.die_after(dies_after);
        let written = (1..).take_while(|n| write(&views, *n).is_ok()).count() as u64;
        drop(views);
        check(directory.path(), written, &format!("death after {dies_after} writes"));
    }
}

// ---- indexes ------------------------------------------------------------------------------------

/// Makes the row of the number `n`, in which each row is indexed by the number that it holds, and takes another one
/// away.
fn write_indexed(views: &std::sync::Arc<Views>, n: u64) -> Result<()> {
    let tree = indexed_tree(views)?;
    let row = |key: u64| {
        let (a, b) = ((n + key).to_be_bytes(), n.to_be_bytes());
        let entries = Entries::new(&[("a", &a), ("b", &b), ("a", b"same")]);
        Change::Row(format!("row {key}"), Some(Row { bytes: n.to_string().into(), entries }))
    };
    let changes = (0..4).map(|key| match key == n % 4 {
        true => Change::Row(format!("row {key}"), None),
        false => row(key),
    });
    tree.write(changes.collect())
}

fn indexed_tree(views: &std::sync::Arc<Views>) -> Result<crate::views::ViewTree> {
    Ok(views.tree("projection/all/1")?.with_indexes(vec!["a".to_owned(), "b".to_owned()]))
}

/// Compares the indexes with the rows, and has the tree compare them as an audit does.
fn check_indexed(directory: &Path, written: u64, case: &str) {
    let views = Views::open(&disk(), directory, CACHE_BYTES).unwrap();
    let tree = indexed_tree(&views).unwrap();
    let mut rows = Vec::new();
    tree.scan(&RowRange::all(), &mut |key, row| {
        rows.push((key, row()?));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    let number = |row: &Bytes| String::from_utf8_lossy(row).parse::<u64>().unwrap();
    let reached = rows.first().map_or(0, |(_, row)| number(row));
    assert!((written..=written + 1).contains(&reached), "{case}: {reached}, {written} written");
    assert_eq!(rows.len(), if reached == 0 { 0 } else { 3 }, "{case}");
    for (index, each) in [("a", 2), ("b", 1)] {
        let mut listed = Vec::new();
        tree.scan_entries(&EntryRange::all(index), &mut |entry, row| {
            listed.push(entry.clone());
            assert_eq!(number(&row()?), reached, "{case}: {entry:?}");
            Ok(ControlFlow::Continue(()))
        })
        .unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(listed.len(), rows.len() * each, "{case}: {listed:?}");
        for (key, _) in &rows {
            let there = listed.iter().filter(|entry| entry.row == *key).count();
            assert_eq!(there, each, "{case}: {key} in {index}");
        }
        let is_old =
            |entry: &&Entry| entry.by != b"same" && entry.by < reached.to_be_bytes().to_vec();
        assert_eq!(listed.iter().find(is_old), None, "{case}: an entry of a row that was replaced");
    }
    tree.each_unreadable(|wrong| panic!("{case}: {wrong}")).unwrap();
}

#[test]
fn whenever_the_process_dies_a_view_and_its_indexes_agree() {
    for dies_after in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let views = Views::open(&disk(), directory.path(), CACHE_BYTES).unwrap();
        views.tree("projection/all/1").unwrap();
        views.die_after(dies_after);
        let written = (1..).take_while(|n| write_indexed(&views, *n).is_ok()).count() as u64;
        drop(views);
        check_indexed(directory.path(), written, &format!("death after {dies_after} writes"));
    }
}

/// What an audit says of an entry that is there alone, and of one that is missing.
#[test]
fn an_audit_names_the_rows_that_their_indexes_do_not_agree_with() {
    let directory = tempfile::tempdir().unwrap();
    let views = Views::open(&disk(), directory.path(), CACHE_BYTES).unwrap();
    let tree = indexed_tree(&views).unwrap();
    let row = |key: &str, by: &[u8]| {
        let row = Row { bytes: "1".into(), entries: Entries::new(&[("a", by)]) };
        Change::Row(key.to_owned(), Some(row))
    };
    tree.write(vec![row("kept", b"1"), row("changed", b"2"), row("gone", b"3")]).unwrap();
    // As a program does that knows no indexes.
    let blind = views.tree("projection/all/1").unwrap();
    blind.write(vec![row("new", b"4"), Change::Row("gone".to_owned(), None)]).unwrap();
    let mut wrong = Vec::new();
    tree.each_unreadable(|what| wrong.push(what)).unwrap();
    assert_eq!(wrong, ["gone: an index has an entry of it that the row does not have"]);
    views.remove_key("projection/all/1", &view_entry::entry_key("a", b"1", "kept"));
    wrong.clear();
    tree.each_unreadable(|what| wrong.push(what)).unwrap();
    assert!(wrong.contains(&"kept: an index lacks an entry of it".to_owned()), "{wrong:?}");
}
