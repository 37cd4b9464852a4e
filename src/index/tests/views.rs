use super::*;
use crate::views::Views;
use crate::views::changes::Change;
use crate::views::range::RowRange;
use std::ops::ControlFlow;

/// Writes a view whose rows and checkpoint all hold the number `n`.
fn write(views: &std::sync::Arc<Views>, n: u64) -> Result<()> {
    let tree = views.tree("projection/all/1")?;
    let value = n.to_string();
    let row = |key: u64| Change::Row(format!("row {key}"), Some(value.clone().into()));
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
